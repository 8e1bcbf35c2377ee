// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC3009} from "@openzeppelin/contracts/interfaces/draft-IERC3009.sol";
import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {LowLevelCall} from "@openzeppelin/contracts/utils/LowLevelCall.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {RateLimiter} from "@openzeppelin/contracts/utils/RateLimiter.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {Authorization, DepositAddress} from "./DepositAddress.sol";
import {VaultAdministration} from "./VaultAdministration.sol";

/// @notice One payment of a batch, in the batch's token.
struct Payment {
    address to;
    uint256 amount;
    bytes32 withdrawalId;
}

/**
 * @title Custody of the customers' tokens.
 * @notice Tokens come in through deposit addresses, which anyone may sweep, because they can only
 * pay this contract. Tokens go out by a withdrawal: by the withdrawer's key, once per withdrawal id, to
 * the amount a bucket per token allows (it refills with time), or beyond it if an approver's key has
 * agreed to exactly this withdrawal. A stolen withdrawer key therefore takes at most one bucket, and
 * then what trickles in until the guardian pauses. Beside that they can only be moved to one cold address.
 * @dev Who may change what is in `VaultAdministration`. No role moves a token by administration.
 */
contract Vault is VaultAdministration, Pausable, ReentrancyGuardTransient {
    using RateLimiter for RateLimiter.RefillingBucket;
    using SafeERC20 for IERC20;

    /// @notice Gas that one payment of a batch may use. A token that burns all it gets takes this much
    /// and not the others' payments with it; the large issuers' transfers take a quarter of it.
    uint256 public constant PAYMENT_GAS = 250_000;

    /// @notice Gas that must be left before each payment of a batch, so that one that fails has failed by
    /// itself and not for want of gas, and its event can still be written.
    uint256 public constant PAYMENT_GAS_LEFT_MIN = 290_000;

    /// @notice Longest reason of a refused payment that its event repeats; of a longer one it says nothing.
    uint256 public constant REASON_BYTES_MAX = 256;

    /// @notice The code that every deposit address of this vault is a clone of.
    DepositAddress public immutable IMPLEMENTATION = new DepositAddress();

    /// @notice Whether a withdrawal id has been paid. An id pays once, for ever.
    mapping(bytes32 withdrawalId => bool) public paid;

    /// @notice Whether a move to the cold address has been made. An id moves once, for ever.
    mapping(bytes32 moveId => bool) public moved;

    /// @notice All of a deposit address' balance came into custody: `amount` is what arrived here.
    event Swept(IERC20 indexed token, address indexed depositAddress, bytes32 indexed salt, uint256 amount);

    /// @notice A deposit address got its code.
    event DepositAddressCreated(address indexed depositAddress, bytes32 indexed salt);

    /// @notice A holder's signature brought `amount` to the deposit address it names, and so to its customer.
    event DepositReceived(
        IERC20 indexed token,
        address indexed depositAddress,
        bytes32 indexed salt,
        address from,
        uint256 amount,
        bytes32 nonce
    );

    /// @notice A withdrawal was paid: exactly `amount` has left.
    event Withdrawn(bytes32 indexed withdrawalId, IERC20 indexed token, address indexed to, uint256 amount);

    /// @notice A withdrawal went beyond the bucket, by the approver's agreement. `Withdrawn` follows.
    event ApprovalUsed(bytes32 indexed withdrawalId, address indexed approver);

    /**
     * @notice A payment of a batch was refused: nothing of it has moved, and its id is not paid.
     * @param reason What the token or this contract reverted with; empty if it said nothing, or too much.
     */
    event WithdrawalRefused(
        bytes32 indexed withdrawalId, IERC20 indexed token, address indexed to, uint256 amount, bytes reason
    );

    /// @notice A batch named an id that had been paid before, by whatever it said then. Nothing moved now.
    event WithdrawalRepeated(bytes32 indexed withdrawalId, IERC20 indexed token, address indexed to, uint256 amount);

    /// @notice Tokens were moved to the cold address.
    event MovedToCold(
        bytes32 indexed moveId, IERC20 indexed token, address indexed coldAddress, uint256 amount, address by
    );

    /// @notice The withdrawal id has been paid before.
    error WithdrawalAlreadyPaid(bytes32 withdrawalId);

    /// @notice The move has been made before.
    error MoveAlreadyMade(bytes32 moveId);

    /// @notice The receiver is zero, the vault or the token: money sent there would be lost.
    error ReceiverNotPayable(address to);

    /// @notice Nothing to pay or to move.
    error AmountIsZero();

    /// @notice The token took another amount from this contract than it was told to move.
    error TokenTookAnotherAmount(IERC20 token, uint256 amount, uint256 taken);

    /// @notice The token accepted a holder's signature and delivered nothing.
    error NothingReceived(IERC20 token, address from);

    /// @notice A part of a batch was called by somebody else than the batch.
    error CallerNotVault(address caller);

    /// @notice The next payment of the batch needs more gas than is left: nothing of the batch was done.
    error GasTooLow(uint256 left, uint256 needed);

    /**
     * @param delaySeconds How long a change that weakens, and a change of the administrator, takes.
     * @param admin Who grants roles and sets limits.
     */
    constructor(uint48 delaySeconds, address admin) VaultAdministration(delaySeconds, admin) {}

    /// @notice The deposit address of a salt, whether or not it has code yet.
    function depositAddress(bytes32 salt) public view returns (address) {
        return Clones.predictDeterministicAddress(address(IMPLEMENTATION), salt);
    }

    /**
     * @notice Bring the whole balance of `token` from the deposit addresses of `salts` into custody.
     * Addresses without code get it. Open to anyone and while paused: money can only come in.
     */
    function sweep(IERC20 token, bytes32[] calldata salts) external nonReentrant {
        uint256 held = token.balanceOf(address(this));
        for (uint256 i = 0; i < salts.length; i++) {
            held = _sweep(token, salts[i], _withCode(salts[i]), held);
        }
    }

    /**
     * @notice Take a deposit that its holder has signed and somebody else pays the gas for: an EIP-3009
     * ReceiveWithAuthorization whose receiver is the deposit address of `salt`. Open to anyone.
     * @dev The signature names the customer's address, so the caller cannot choose whose deposit it is.
     */
    function depositWithAuthorization(IERC20 token, bytes32 salt, Authorization calldata authorization)
        external
        nonReentrant
    {
        DepositAddress to = _withCode(salt);
        // The difference across the call is the point: it is what came. A token that calls back in between
        // can only falsify its own amount, which it could do by its own balances just as well.
        // slither-disable-start reentrancy-balance
        uint256 before = token.balanceOf(address(to));
        to.receiveWithAuthorization(IERC3009(address(token)), authorization);
        uint256 amount = token.balanceOf(address(to)) - before;
        // slither-disable-end reentrancy-balance
        // A contract that answers every call, as wrapped ether does, would "accept" any signature.
        require(amount > 0, NothingReceived(token, authorization.from));
        emit DepositReceived(token, address(to), salt, authorization.from, amount, authorization.nonce);
        _sweep(token, salt, to, token.balanceOf(address(this)));
    }

    /// @notice Pay `amount` of `token` to `to`, once per `withdrawalId`.
    function withdraw(IERC20 token, address to, uint256 amount, bytes32 withdrawalId)
        external
        onlyRole(WITHDRAWER_ROLE)
        whenNotPaused
        nonReentrant
    {
        _pay(token, to, amount, withdrawalId);
    }

    /**
     * @notice Pay several, each as `withdraw` would. One that is refused (a frozen receiver, the bucket)
     * does not stop the others; the event of each says what became of it.
     * @dev Too little gas reverts the whole, so that no payment is ever refused for want of it.
     */
    function withdrawBatch(IERC20 token, Payment[] calldata payments)
        external
        onlyRole(WITHDRAWER_ROLE)
        whenNotPaused
        nonReentrant
    {
        for (uint256 i = 0; i < payments.length; i++) {
            Payment calldata payment = payments[i];
            (address to, uint256 amount, bytes32 withdrawalId) = (payment.to, payment.amount, payment.withdrawalId);
            if (paid[withdrawalId]) {
                emit WithdrawalRepeated(withdrawalId, token, to, amount);
                continue;
            }
            require(gasleft() >= PAYMENT_GAS_LEFT_MIN, GasTooLow(gasleft(), PAYMENT_GAS_LEFT_MIN));
            // A call of our own, so that what is refused is undone by itself: the id, the bucket, all.
            try this.payInBatch{gas: PAYMENT_GAS}(token, to, amount, withdrawalId) {}
            catch {
                bool readable = LowLevelCall.returnDataSize() <= REASON_BYTES_MAX;
                bytes memory reason = readable ? LowLevelCall.returnData() : bytes("");
                emit WithdrawalRefused(withdrawalId, token, to, amount, reason);
            }
        }
    }

    /// @notice One payment of a batch; for this contract's own use.
    function payInBatch(IERC20 token, address to, uint256 amount, bytes32 withdrawalId) external {
        require(msg.sender == address(this), CallerNotVault(msg.sender));
        _pay(token, to, amount, withdrawalId);
    }

    /**
     * @notice Move `amount` of `token` to the cold address, once per `moveId`: by the withdrawer as routine,
     * by the guardian to bring money out of harm's way, also while paused. No bucket: it can go nowhere else.
     */
    function moveToCold(IERC20 token, uint256 amount, bytes32 moveId) external nonReentrant {
        address by = _msgSender();
        require(
            hasRole(WITHDRAWER_ROLE, by) || hasRole(GUARDIAN_ROLE, by),
            AccessControlUnauthorizedAccount(by, WITHDRAWER_ROLE)
        );
        address to = coldAddress;
        require(amount > 0, AmountIsZero());
        _requirePayable(token, to);
        require(!moved[moveId], MoveAlreadyMade(moveId));
        moved[moveId] = true;
        _release(token, to, amount);
        emit MovedToCold(moveId, token, to, amount, by);
    }

    /**
     * @notice Agree that `amount` of `token` goes to `to` under `withdrawalId`, even beyond the bucket. The
     * withdrawer must still ask for it. Agreement to anything already paid is refused.
     */
    function approveWithdrawal(IERC20 token, address to, uint256 amount, bytes32 withdrawalId)
        external
        onlyRole(APPROVER_ROLE)
    {
        require(amount > 0, AmountIsZero());
        _requirePayable(token, to);
        require(!paid[withdrawalId], WithdrawalAlreadyPaid(withdrawalId));
        _approve(token, to, amount, withdrawalId);
    }

    /// @notice Stop withdrawals.
    function pause() external onlyRole(GUARDIAN_ROLE) {
        _pause();
    }

    /// @notice Let withdrawals go on. Not the guardian's: a stolen guardian key can stop, not resume.
    function unpause() external onlyRole(DEFAULT_ADMIN_ROLE) {
        _unpause();
    }

    /**
     * @dev A withdrawal: from the bucket if it fits, else by agreement, and then the bucket is left alone.
     * The id is remembered before the token is called, and a token that calls back is refused.
     */
    function _pay(IERC20 token, address to, uint256 amount, bytes32 withdrawalId) private {
        require(amount > 0, AmountIsZero());
        _requirePayable(token, to);
        require(!paid[withdrawalId], WithdrawalAlreadyPaid(withdrawalId));
        paid[withdrawalId] = true;
        // A token whose limit was never set has an empty bucket: nothing goes out unlimited.
        if (!_buckets[token].tryConsume(BUCKET, amount)) {
            address approver = _takeApproval(token, to, amount, withdrawalId);
            require(approver != address(0), RateLimiter.RateLimitExceeded());
            emit ApprovalUsed(withdrawalId, approver);
        }
        _release(token, to, amount);
        emit Withdrawn(withdrawalId, token, to, amount);
    }

    /**
     * @dev Move tokens out, and hold the token to it: one that answers false, moves nothing, or takes more
     * than it was told is refused. What it passes on (it may take a fee from it) is between it and `to`.
     */
    function _release(IERC20 token, address to, uint256 amount) private {
        uint256 before = token.balanceOf(address(this));
        token.safeTransfer(to, amount);
        uint256 left = token.balanceOf(address(this));
        uint256 taken = left < before ? before - left : 0;
        // An equality with a balance can be broken by whoever can change the balance in between, and
        // that is the token alone: everybody else sends tokens here before or after, not during.
        // slither-disable-next-line incorrect-equality
        require(taken == amount, TokenTookAnotherAmount(token, amount, taken));
    }

    function _requirePayable(IERC20 token, address to) private view {
        require(to != address(0) && to != address(this) && to != address(token), ReceiverNotPayable(to));
    }

    /// @dev What is held after the sweep of one address, if `held` was held before it.
    function _sweep(IERC20 token, bytes32 salt, DepositAddress from, uint256 held) private returns (uint256 heldAfter) {
        if (from.sweep(token) == 0) return held;
        heldAfter = token.balanceOf(address(this));
        emit Swept(token, address(from), salt, heldAfter - held);
    }

    /// @dev The deposit address of a salt, given its code if it has none.
    function _withCode(bytes32 salt) private returns (DepositAddress) {
        address at = depositAddress(salt);
        if (at.code.length == 0) {
            at = Clones.cloneDeterministic(address(IMPLEMENTATION), salt);
            emit DepositAddressCreated(at, salt);
        }
        return DepositAddress(at);
    }
}
