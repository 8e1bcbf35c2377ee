// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AccessControlDefaultAdminRules} from
    "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Pausable} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Pausable.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";

/**
 * @title A token worth one unit of a currency, issued by its minters.
 * @notice Besides ERC-20: EIP-2612 permits and EIP-3009 transfers by signature, so that holders
 * need no gas. The issuer can mint, burn its own tokens, stop everything and freeze an address, as
 * the issuers of the large stablecoins can; it cannot take a holder's tokens.
 */
contract StableToken is ERC20, ERC20Pausable, ERC20Permit, ERC3009, AccessControlDefaultAdminRules {
    /// @notice May mint, and burn what it holds itself.
    bytes32 public constant MINTER_ROLE = keccak256("MINTER_ROLE");

    /// @notice May stop and resume every movement of the token.
    bytes32 public constant PAUSER_ROLE = keccak256("PAUSER_ROLE");

    /// @notice May freeze and unfreeze addresses.
    bytes32 public constant FREEZER_ROLE = keccak256("FREEZER_ROLE");

    /// @notice Whether an address is frozen: its tokens neither leave nor arrive nor are spent by it.
    mapping(address account => bool) public frozen;

    uint8 private immutable _decimals;

    /// @notice An address was frozen.
    event Frozen(address indexed account, address indexed by);

    /// @notice An address was released.
    event Unfrozen(address indexed account, address indexed by);

    /// @notice A frozen address is a party to the transfer.
    error AccountFrozen(address account);

    /// @notice The zero address stands for minting and burning, so it is never frozen.
    error AccountNotFreezable(address account);

    /**
     * @param decimals_ How many decimals an amount is shown with; never changes.
     * @param adminDelaySeconds How long a change of the administrator takes to come into force.
     * @param admin Who grants the roles.
     */
    constructor(string memory name_, string memory symbol_, uint8 decimals_, uint48 adminDelaySeconds, address admin)
        ERC20(name_, symbol_)
        ERC20Permit(name_)
        AccessControlDefaultAdminRules(adminDelaySeconds, admin)
    {
        _decimals = decimals_;
    }

    /// @inheritdoc ERC20
    function decimals() public view override returns (uint8) {
        return _decimals;
    }

    /// @notice Make `amount` new tokens for `to`.
    function mint(address to, uint256 amount) external onlyRole(MINTER_ROLE) {
        _mint(to, amount);
    }

    /// @notice Destroy `amount` of the caller's own tokens: what was redeemed.
    function burn(uint256 amount) external onlyRole(MINTER_ROLE) {
        _burn(_msgSender(), amount);
    }

    /// @notice Stop every transfer, mint and burn.
    function pause() external onlyRole(PAUSER_ROLE) {
        _pause();
    }

    /// @notice Let the token move again.
    function unpause() external onlyRole(PAUSER_ROLE) {
        _unpause();
    }

    /// @notice Freeze an address. Freezing a frozen one changes nothing and emits nothing.
    function freeze(address account) external onlyRole(FREEZER_ROLE) {
        require(account != address(0), AccountNotFreezable(account));
        if (!frozen[account]) {
            frozen[account] = true;
            emit Frozen(account, _msgSender());
        }
    }

    /// @notice Release an address.
    function unfreeze(address account) external onlyRole(FREEZER_ROLE) {
        if (frozen[account]) {
            frozen[account] = false;
            emit Unfrozen(account, _msgSender());
        }
    }

    /// @dev Every movement, by whichever entry point, passes here.
    function _update(address from, address to, uint256 value) internal override(ERC20, ERC20Pausable) {
        require(!frozen[from], AccountFrozen(from));
        require(!frozen[to], AccountFrozen(to));
        super._update(from, to, value);
    }

    /// @dev A frozen address may not move others' tokens by allowance either.
    function _spendAllowance(address owner, address spender, uint256 value) internal override {
        require(!frozen[spender], AccountFrozen(spender));
        super._spendAllowance(owner, spender, value);
    }
}
