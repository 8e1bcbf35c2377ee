// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/**
 * @title The code behind every customer's deposit address.
 * @notice A deposit address is a minimal clone of this contract. It holds tokens and can do one
 * thing with them: hand all of them to the vault that made it. The destination is part of this
 * code, not of any storage, so nobody (no role, no upgrade, no initialiser) can change it.
 * @dev Callable by anyone, because the outcome is the same whoever calls.
 */
contract DepositAddress {
    using SafeERC20 for IERC20;

    /// @notice The only place where the tokens held here can go: the contract that deployed this code.
    address public immutable VAULT = msg.sender;

    /**
     * @notice Hand the whole balance of `token` to the vault.
     * @return amount What was handed over, in the token's minor units; zero if there was nothing.
     */
    function sweep(IERC20 token) external returns (uint256 amount) {
        amount = token.balanceOf(address(this));
        if (amount > 0) {
            token.safeTransfer(VAULT, amount);
        }
    }
}
