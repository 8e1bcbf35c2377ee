// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ERC20Pausable} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Pausable.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {DelayedAdministration} from "./DelayedAdministration.sol";

/**
 * @title A token worth one unit of a currency, issued by its minters.
 * @notice Besides ERC-20: EIP-2612 permits and EIP-3009 transfers by signature, so that holders
 * need no gas. The roles are those of Circle's FiatToken: a master minter gives each minter an
 * allowance, which minting uses up and burning does not raise; a pauser stops everything; a freezer
 * freezes an address; a rescuer sends on what was sent to this contract by mistake. Nobody can take a
 * holder's tokens.
 */
contract StableToken is ERC20, ERC20Pausable, ERC20Permit, ERC3009, DelayedAdministration {
    using SafeERC20 for IERC20;

    /// @notice May make an account a minter, set its allowance, and end it. A grant waits the delay.
    bytes32 public constant MASTER_MINTER_ROLE = keccak256("MASTER_MINTER_ROLE");

    /// @notice May stop and resume every movement of the token.
    bytes32 public constant PAUSER_ROLE = keccak256("PAUSER_ROLE");

    /// @notice May freeze and unfreeze addresses.
    bytes32 public constant FREEZER_ROLE = keccak256("FREEZER_ROLE");

    /// @notice May send on tokens that lie at this contract, where nobody meant them to be.
    bytes32 public constant RESCUER_ROLE = keccak256("RESCUER_ROLE");

    /// @notice Whether an address is frozen: its tokens neither leave nor arrive nor are spent by it.
    mapping(address account => bool) public frozen;

    /// @notice Whether an account may mint, to its allowance, and burn what it holds itself.
    mapping(address account => bool) public isMinter;

    /// @notice How much an account may still mint.
    mapping(address minter => uint256) public minterAllowance;

    uint8 private immutable _decimals;

    /// @notice An address was frozen.
    event Frozen(address indexed account, address indexed by);

    /// @notice An address was released.
    event Unfrozen(address indexed account, address indexed by);

    /// @notice An account is a minter, and may mint `allowance` from now on, whatever it was before.
    event MinterConfigured(address indexed minter, uint256 allowance, address indexed by);

    /// @notice An account is no minter any more.
    event MinterRemoved(address indexed minter, address indexed by);

    /// @notice New tokens were made.
    event Minted(address indexed minter, address indexed to, uint256 amount);

    /// @notice A minter's own tokens were destroyed.
    event Burned(address indexed minter, uint256 amount);

    /// @notice Tokens that lay at this contract were sent on.
    event Rescued(IERC20 indexed token, address indexed to, uint256 amount, address indexed by);

    /// @notice A frozen address is a party to the movement.
    error AccountFrozen(address account);

    /// @notice The zero address stands for minting and burning, so it is never frozen.
    error AccountNotFreezable(address account);

    /// @notice The account is no minter.
    error AccountNotMinter(address account);

    /// @notice The minter's allowance does not cover the amount.
    error MinterAllowanceExceeded(address minter, uint256 allowance, uint256 amount);

    /**
     * @param decimals_ How many decimals an amount is shown with; never changes.
     * @param adminDelaySeconds How long a change of the administrator, or a new master minter, takes.
     * @param admin Who grants the roles.
     */
    constructor(string memory name_, string memory symbol_, uint8 decimals_, uint48 adminDelaySeconds, address admin)
        ERC20(name_, symbol_)
        ERC20Permit(name_)
        DelayedAdministration(adminDelaySeconds, admin)
    {
        _decimals = decimals_;
    }

    /// @inheritdoc ERC20
    function decimals() public view override returns (uint8) {
        return _decimals;
    }

    /**
     * @notice Make an account a minter that may mint `allowance`; not added to what it had.
     * @dev Refused while paused, as Circle's: what is stopped gets no new makers of money.
     */
    function configureMinter(address minter, uint256 allowance) external onlyRole(MASTER_MINTER_ROLE) whenNotPaused {
        isMinter[minter] = true;
        minterAllowance[minter] = allowance;
        emit MinterConfigured(minter, allowance, _msgSender());
    }

    /// @notice End a minter, and its allowance. Works while paused too.
    function removeMinter(address minter) external onlyRole(MASTER_MINTER_ROLE) {
        require(isMinter[minter], AccountNotMinter(minter));
        isMinter[minter] = false;
        minterAllowance[minter] = 0;
        emit MinterRemoved(minter, _msgSender());
    }

    /// @notice Make `amount` new tokens for `to`; the caller's allowance is less by as much.
    function mint(address to, uint256 amount) external {
        address minter = _requireMinter();
        uint256 allowance_ = minterAllowance[minter];
        require(amount <= allowance_, MinterAllowanceExceeded(minter, allowance_, amount));
        minterAllowance[minter] = allowance_ - amount;
        _mint(to, amount);
        emit Minted(minter, to, amount);
    }

    /// @notice Destroy `amount` of the caller's own tokens: what was redeemed. The allowance stays as it is.
    function burn(uint256 amount) external {
        address minter = _requireMinter();
        _burn(minter, amount);
        emit Burned(minter, amount);
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

    /// @notice Send on `amount` of any token, this one too, that lies at this contract itself.
    function rescue(IERC20 token, address to, uint256 amount) external onlyRole(RESCUER_ROLE) {
        token.safeTransfer(to, amount);
        emit Rescued(token, to, amount, _msgSender());
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

    /// @dev The caller, who is a minter and not frozen.
    function _requireMinter() private view returns (address minter) {
        minter = _msgSender();
        require(isMinter[minter], AccountNotMinter(minter));
        require(!frozen[minter], AccountFrozen(minter));
    }

    /// @dev Who appoints minters makes money; the other roles can only stop it.
    function _grantWeakens(bytes32 role) internal pure override returns (bool) {
        return role == MASTER_MINTER_ROLE;
    }

    /// @dev Every role can be taken away at once.
    function _revocationWeakens(bytes32) internal pure override returns (bool) {
        return false;
    }
}
