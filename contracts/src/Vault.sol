// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AccessControlDefaultAdminRules} from
    "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";
import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {RateLimiter} from "@openzeppelin/contracts/utils/RateLimiter.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {DepositAddress} from "./DepositAddress.sol";

/**
 * @title Custody of the customers' tokens.
 * @notice Tokens come in through deposit addresses, which anyone may sweep, because they can only
 * pay this contract. Tokens go out by one way, `withdraw`: by the withdrawer's key, to the amount a
 * bucket per token allows (it refills with time), and once per withdrawal id. A stolen withdrawer
 * key therefore takes at most one bucket, and then what trickles in until the guardian pauses.
 * @dev The administrator is changed in two steps with a delay and can grant roles and set limits;
 * it cannot move a token by itself.
 */
contract Vault is AccessControlDefaultAdminRules, Pausable, ReentrancyGuardTransient {
    using RateLimiter for RateLimiter.RefillingBucket;
    using SafeERC20 for IERC20;

    /// @notice May withdraw, within the rate limit. Held by the signer's key.
    bytes32 public constant WITHDRAWER_ROLE = keccak256("WITHDRAWER_ROLE");

    /// @notice May stop withdrawals, not resume them. Held where an alarm can reach it quickly.
    bytes32 public constant GUARDIAN_ROLE = keccak256("GUARDIAN_ROLE");

    /// @dev Each token has its own limiter, whose settings differ, so a limiter has one entry only.
    bytes32 private constant BUCKET = bytes32(0);

    /// @notice The code that every deposit address of this vault is a clone of.
    DepositAddress public immutable IMPLEMENTATION = new DepositAddress();

    /// @notice Whether a withdrawal id has been paid. An id pays once, for ever.
    mapping(bytes32 withdrawalId => bool) public paid;

    mapping(IERC20 token => RateLimiter.RefillingBucket) private _buckets;

    /// @notice All of a deposit address' balance came into custody.
    event Swept(IERC20 indexed token, address indexed depositAddress, bytes32 indexed salt, uint256 amount);

    /// @notice A deposit address got its code.
    event DepositAddressCreated(address indexed depositAddress, bytes32 indexed salt);

    /// @notice A withdrawal was paid.
    event Withdrawn(bytes32 indexed withdrawalId, IERC20 indexed token, address indexed to, uint256 amount);

    /// @notice The bucket of a token was given another size or speed.
    event RateLimitSet(IERC20 indexed token, uint208 capacity, uint48 windowSeconds);

    /// @notice The withdrawal id has been paid before.
    error WithdrawalAlreadyPaid(bytes32 withdrawalId);

    /// @notice The receiver is zero, the vault or the token: money sent there would be lost.
    error ReceiverNotPayable(address to);

    /// @notice Nothing to withdraw.
    error AmountIsZero();

    /// @notice A bucket must refill in a positive time.
    error WindowIsZero();

    /**
     * @param adminDelaySeconds How long a change of the administrator takes to come into force.
     * @param admin Who grants roles and sets limits.
     */
    constructor(uint48 adminDelaySeconds, address admin) AccessControlDefaultAdminRules(adminDelaySeconds, admin) {}

    /// @notice The deposit address of a salt, whether or not it has code yet.
    function depositAddress(bytes32 salt) public view returns (address) {
        return Clones.predictDeterministicAddress(address(IMPLEMENTATION), salt);
    }

    /**
     * @notice Bring the whole balance of `token` from the deposit addresses of `salts` into custody.
     * Addresses without code get it. Open to anyone and while paused: money can only come in.
     */
    function sweep(IERC20 token, bytes32[] calldata salts) external nonReentrant {
        for (uint256 i = 0; i < salts.length; i++) {
            bytes32 salt = salts[i];
            address from = depositAddress(salt);
            if (from.code.length == 0) {
                Clones.cloneDeterministic(address(IMPLEMENTATION), salt);
                emit DepositAddressCreated(from, salt);
            }
            uint256 amount = DepositAddress(from).sweep(token);
            if (amount > 0) {
                emit Swept(token, from, salt, amount);
            }
        }
    }

    /**
     * @notice Pay `amount` of `token` to `to`, once per `withdrawalId`.
     * @dev The id is remembered before the token is called, and a token that calls back is refused.
     */
    function withdraw(IERC20 token, address to, uint256 amount, bytes32 withdrawalId)
        external
        onlyRole(WITHDRAWER_ROLE)
        whenNotPaused
        nonReentrant
    {
        require(amount > 0, AmountIsZero());
        require(to != address(0) && to != address(this) && to != address(token), ReceiverNotPayable(to));
        require(!paid[withdrawalId], WithdrawalAlreadyPaid(withdrawalId));
        paid[withdrawalId] = true;
        // A token whose limit was never set has an empty bucket: nothing goes out unlimited.
        _buckets[token].consume(BUCKET, amount);
        token.safeTransfer(to, amount);
        emit Withdrawn(withdrawalId, token, to, amount);
    }

    /**
     * @notice Let at most `capacity` of `token` go out at once, and the same again over `windowSeconds`.
     * What has been used stays used; zero capacity stops the token.
     */
    function setRateLimit(IERC20 token, uint208 capacity, uint48 windowSeconds) external onlyRole(DEFAULT_ADMIN_ROLE) {
        require(windowSeconds > 0, WindowIsZero());
        RateLimiter.RefillingBucket storage bucket = _buckets[token];
        // The refill so far is counted at the old speed before the new one holds.
        bucket.sync(BUCKET);
        bucket.updateSettings(windowSeconds, capacity);
        emit RateLimitSet(token, capacity, windowSeconds);
    }

    /// @notice How much of `token` may be withdrawn at this moment, in minor units.
    function withdrawable(IERC20 token) external view returns (uint256) {
        return _buckets[token].available(BUCKET);
    }

    /// @notice Stop withdrawals.
    function pause() external onlyRole(GUARDIAN_ROLE) {
        _pause();
    }

    /// @notice Let withdrawals go on. Not the guardian's: a stolen guardian key can stop, not resume.
    function unpause() external onlyRole(DEFAULT_ADMIN_ROLE) {
        _unpause();
    }
}
