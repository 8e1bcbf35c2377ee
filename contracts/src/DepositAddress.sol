// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC3009} from "@openzeppelin/contracts/interfaces/draft-IERC3009.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/// @notice A holder's signed consent (EIP-3009, ReceiveWithAuthorization) to be paid out of their tokens
/// by whoever it names as receiver. The receiver is not in here: it is the one who uses it.
struct Authorization {
    address from;
    uint256 value;
    uint256 validAfter;
    uint256 validBefore;
    bytes32 nonce;
    uint8 v;
    bytes32 r;
    bytes32 s;
}

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

    /// @notice Authorizations are used through the vault, so that its event tells of each.
    error CallerNotVault(address caller);

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

    /**
     * @notice Take what a holder has signed for this very address.
     * @dev The holder's signature names the receiver, which must be the caller of the token: nobody can
     * turn it to another customer's address, and nobody else can use it.
     */
    function receiveWithAuthorization(IERC3009 token, Authorization calldata authorization) external {
        require(msg.sender == VAULT, CallerNotVault(msg.sender));
        token.receiveWithAuthorization(
            authorization.from,
            address(this),
            authorization.value,
            authorization.validAfter,
            authorization.validBefore,
            authorization.nonce,
            authorization.v,
            authorization.r,
            authorization.s
        );
    }
}
