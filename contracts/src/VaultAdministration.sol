// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {RateLimiter} from "@openzeppelin/contracts/utils/RateLimiter.sol";
import {DelayedAdministration} from "./DelayedAdministration.sol";

/**
 * @title The vault's roles, limits, cold address and approvals: everything about it but the tokens' way.
 * @notice At once: lowering a limit, taking the withdrawer's or an approver's role, appointing a guardian.
 * After the delay, and unless a guardian takes it back meanwhile: raising a limit, a new withdrawer or
 * approver, another cold address, dismissing a guardian.
 */
abstract contract VaultAdministration is DelayedAdministration {
    using RateLimiter for RateLimiter.RefillingBucket;

    /// @dev An approver's agreement to one withdrawal, to the letter.
    struct Approval {
        address approver;
        uint48 validUntil;
    }

    /// @notice May withdraw, within the rate limit or with an approver. Held by the signer's key.
    bytes32 public constant WITHDRAWER_ROLE = keccak256("WITHDRAWER_ROLE");

    /// @notice May agree to a withdrawal beyond the rate limit, not make it. Held by people, best by a Safe.
    bytes32 public constant APPROVER_ROLE = keccak256("APPROVER_ROLE");

    /// @notice May stop withdrawals, move money to the cold address, and take back what weakens; may not
    /// resume. Held where an alarm can reach it quickly.
    bytes32 public constant GUARDIAN_ROLE = keccak256("GUARDIAN_ROLE");

    /// @notice How many seconds an approval can be used for.
    uint48 public constant APPROVAL_LIFETIME = 7 days;

    /// @dev Each token has its own limiter, whose settings differ, so a limiter has one entry only.
    bytes32 internal constant BUCKET = bytes32(0);

    mapping(IERC20 token => RateLimiter.RefillingBucket) internal _buckets;

    /// @notice Where tokens can be moved without a limit; zero until it is set, then nothing can.
    address public coldAddress;

    mapping(bytes32 digest => Approval) private _approvals;

    /// @notice The bucket of a token was given another size or speed.
    event RateLimitSet(IERC20 indexed token, uint208 capacity, uint48 windowSeconds);

    /// @notice Another address is the cold one.
    event ColdAddressSet(address indexed coldAddress);

    /// @notice An approver agreed to one withdrawal beyond the bucket.
    event WithdrawalApproved(
        bytes32 indexed withdrawalId,
        IERC20 indexed token,
        address indexed to,
        uint256 amount,
        address approver,
        uint48 validUntil
    );

    /// @notice An agreement was taken back before it was used.
    event ApprovalRevoked(
        bytes32 indexed withdrawalId, IERC20 indexed token, address indexed to, uint256 amount, address by
    );

    /// @notice A bucket must refill in a positive time.
    error WindowIsZero();

    /// @notice Whoever pays may not approve, and the other way round: two keys are two.
    error RolesConflict(address account);

    /// @notice Nobody agreed to this withdrawal.
    error ApprovalNotFound(bytes32 withdrawalId);

    /// @notice The vault cannot be its own cold address.
    error ColdAddressIsVault();

    constructor(uint48 delaySeconds, address admin) DelayedAdministration(delaySeconds, admin) {}

    /**
     * @notice Let at most `capacity` of `token` go out at once, and the same again over `windowSeconds`.
     * What has been used stays used; zero capacity stops the token. A larger or faster bucket is announced.
     */
    function setRateLimit(IERC20 token, uint208 capacity, uint48 windowSeconds) external onlyRole(DEFAULT_ADMIN_ROLE) {
        require(windowSeconds > 0, WindowIsZero());
        RateLimiter.RefillingBucket storage bucket = _buckets[token];
        // Both products are below 2^256: a capacity has 208 bits, a window 48.
        bool faster = uint256(capacity) * bucket._window > uint256(bucket._capacity) * windowSeconds;
        if (capacity > bucket._capacity || faster) {
            _takeScheduledChange();
        }
        // The refill so far is counted at the old speed before the new one holds.
        bucket.sync(BUCKET);
        bucket.updateSettings(windowSeconds, capacity);
        emit RateLimitSet(token, capacity, windowSeconds);
    }

    /// @notice Name the one address that tokens can be moved to without a limit; zero for none. Announced.
    function setColdAddress(address coldAddress_) external onlyRole(DEFAULT_ADMIN_ROLE) {
        require(coldAddress_ != address(this), ColdAddressIsVault());
        _takeScheduledChange();
        coldAddress = coldAddress_;
        emit ColdAddressSet(coldAddress_);
    }

    /// @notice Take an agreement back: any approver's, by any approver or guardian.
    function revokeApproval(IERC20 token, address to, uint256 amount, bytes32 withdrawalId) external {
        address by = _msgSender();
        require(
            hasRole(APPROVER_ROLE, by) || hasRole(GUARDIAN_ROLE, by),
            AccessControlUnauthorizedAccount(by, APPROVER_ROLE)
        );
        bytes32 digest = _digest(token, to, amount, withdrawalId);
        require(_approvals[digest].validUntil != 0, ApprovalNotFound(withdrawalId));
        delete _approvals[digest];
        emit ApprovalRevoked(withdrawalId, token, to, amount, by);
    }

    /// @notice Until when an approver's agreement to this withdrawal can be used; zero if it cannot.
    function approvedUntil(IERC20 token, address to, uint256 amount, bytes32 withdrawalId)
        external
        view
        returns (uint48)
    {
        Approval storage approval = _approvals[_digest(token, to, amount, withdrawalId)];
        return _isUsable(approval) ? approval.validUntil : 0;
    }

    /// @notice How much of `token` may be withdrawn at this moment without an approver, in minor units.
    function withdrawable(IERC20 token) external view returns (uint256) {
        return _buckets[token].available(BUCKET);
    }

    /// @notice The size of a token's bucket, and in how many seconds it refills; zeros if it was never set.
    function rateLimit(IERC20 token) external view returns (uint208 capacity, uint48 windowSeconds) {
        return (_buckets[token]._capacity, _buckets[token]._window);
    }

    function _approve(IERC20 token, address to, uint256 amount, bytes32 withdrawalId) internal {
        uint48 validUntil = uint48(block.timestamp) + APPROVAL_LIFETIME;
        _approvals[_digest(token, to, amount, withdrawalId)] = Approval(_msgSender(), validUntil);
        emit WithdrawalApproved(withdrawalId, token, to, amount, _msgSender(), validUntil);
    }

    /// @dev Use up the agreement to exactly this withdrawal; whose it was, or zero if there is none.
    function _takeApproval(IERC20 token, address to, uint256 amount, bytes32 withdrawalId)
        internal
        returns (address approver)
    {
        bytes32 digest = _digest(token, to, amount, withdrawalId);
        Approval storage approval = _approvals[digest];
        if (!_isUsable(approval)) return address(0);
        approver = approval.approver;
        delete _approvals[digest];
    }

    /// @dev Not expired, and by somebody who may still approve: a stolen key's approvals end with its role.
    function _isUsable(Approval storage approval) private view returns (bool) {
        return block.timestamp <= approval.validUntil && hasRole(APPROVER_ROLE, approval.approver);
    }

    function _digest(IERC20 token, address to, uint256 amount, bytes32 withdrawalId) private pure returns (bytes32) {
        return keccak256(abi.encode(token, to, amount, withdrawalId));
    }

    /// @dev Whoever pays does not approve.
    function _grantRole(bytes32 role, address account) internal override returns (bool) {
        if (role == WITHDRAWER_ROLE) require(!hasRole(APPROVER_ROLE, account), RolesConflict(account));
        if (role == APPROVER_ROLE) require(!hasRole(WITHDRAWER_ROLE, account), RolesConflict(account));
        return super._grantRole(role, account);
    }

    function _grantWeakens(bytes32 role) internal pure override returns (bool) {
        return role == WITHDRAWER_ROLE || role == APPROVER_ROLE;
    }

    /// @dev Without guardians nobody stops withdrawals or takes weakening changes back.
    function _revocationWeakens(bytes32 role) internal pure override returns (bool) {
        return role == GUARDIAN_ROLE;
    }

    /**
     * @dev A guardian takes back any weakening change but its own dismissal: else a stolen guardian key
     * could stay for ever.
     */
    function _mayCancel(address account, bytes calldata call) internal view override returns (bool) {
        if (super._mayCancel(account, call)) return true;
        bytes memory dismissal = abi.encodeCall(this.revokeRole, (GUARDIAN_ROLE, account));
        return hasRole(GUARDIAN_ROLE, account) && keccak256(call) != keccak256(dismissal);
    }
}
