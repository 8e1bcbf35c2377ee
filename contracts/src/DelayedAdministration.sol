// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {
    AccessControlDefaultAdminRules
} from "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";

/**
 * @title An administrator who strengthens at once and weakens only after everybody could see it coming.
 * @notice A change that makes the contract safer (a lower limit, a revoked role) is one call. One that
 * makes it weaker is announced first with `scheduleChange`, waits `CHANGE_DELAY` in the open, and is
 * then made by the very call that was announced, within `CHANGE_LIFETIME`, or never.
 * @dev A change is its calldata: what is made is what was announced, to the last byte, and once. Which
 * changes weaken is said by the contracts that inherit this. The delay never changes, so there is no
 * second way to shorten it. The administrator itself changes by OpenZeppelin's own two steps and delay.
 */
abstract contract DelayedAdministration is AccessControlDefaultAdminRules {
    /// @notice How many seconds a change that weakens is announced before it can be made. Zero on a
    /// development chain only: there such a change needs no announcement.
    uint48 public immutable CHANGE_DELAY;

    /// @notice How many seconds an announced change can be made for, once its delay is over. One that
    /// was forgotten does not lie ready for ever.
    uint48 public constant CHANGE_LIFETIME = 14 days;

    mapping(bytes32 changeId => uint48 readyAt) private _readyAt;

    /// @notice A change was announced: `call` can be made from `readyAt` on.
    event ChangeScheduled(bytes32 indexed changeId, address indexed by, uint48 readyAt, bytes call);

    /// @notice An announced change was taken back and cannot be made.
    event ChangeCancelled(bytes32 indexed changeId, address indexed by);

    /// @notice An announced change was made.
    event ChangeMade(bytes32 indexed changeId);

    /// @notice The call weakens the contract and was not announced.
    error ChangeNotScheduled(bytes32 changeId);

    /// @notice The same change is announced already, and can be made from `readyAt` on.
    error ChangeAlreadyScheduled(bytes32 changeId, uint48 readyAt);

    /// @notice The change can be made from `readyAt` on, not yet.
    error ChangeNotReady(bytes32 changeId, uint48 readyAt);

    /// @notice The change was announced too long ago: announce it again.
    error ChangeExpired(bytes32 changeId, uint48 expiredAt);

    /// @notice The account may not take this change back.
    error ChangeNotCancellable(bytes32 changeId, address account);

    /**
     * @param delaySeconds How long a weakening change, and a change of the administrator, takes.
     * @param admin Who administers.
     */
    constructor(uint48 delaySeconds, address admin) AccessControlDefaultAdminRules(delaySeconds, admin) {
        CHANGE_DELAY = delaySeconds;
    }

    /// @notice Announce a change: the calldata of the call that will make it.
    function scheduleChange(bytes calldata call) external onlyRole(DEFAULT_ADMIN_ROLE) {
        bytes32 changeId = keccak256(call);
        uint48 before = _readyAt[changeId];
        require(before == 0 || block.timestamp > before + CHANGE_LIFETIME, ChangeAlreadyScheduled(changeId, before));
        uint48 readyAt = uint48(block.timestamp) + CHANGE_DELAY;
        _readyAt[changeId] = readyAt;
        emit ChangeScheduled(changeId, _msgSender(), readyAt, call);
    }

    /// @notice Take an announced change back.
    function cancelChange(bytes calldata call) external {
        bytes32 changeId = keccak256(call);
        require(_mayCancel(_msgSender(), call), ChangeNotCancellable(changeId, _msgSender()));
        require(_readyAt[changeId] != 0, ChangeNotScheduled(changeId));
        delete _readyAt[changeId];
        emit ChangeCancelled(changeId, _msgSender());
    }

    /// @notice From when on an announced change can be made; zero if it is not announced.
    function changeReadyAt(bytes calldata call) external view returns (uint48) {
        return _readyAt[keccak256(call)];
    }

    /// @notice Give an account a role: announced, if the role is one that weakens.
    function grantRole(bytes32 role, address account) public override {
        super.grantRole(role, account);
        if (_grantWeakens(role)) {
            _takeScheduledChange();
        }
    }

    /// @notice Take a role from an account: at once, unless the role is one whose absence weakens.
    function revokeRole(bytes32 role, address account) public override {
        super.revokeRole(role, account);
        if (_revocationWeakens(role)) {
            _takeScheduledChange();
        }
    }

    /**
     * @dev Use up the announcement of the call under way, or revert. Called by whatever makes a weakening
     * change, after its own checks: a revert undoes the change with everything else.
     */
    function _takeScheduledChange() internal {
        if (CHANGE_DELAY == 0) return;
        bytes32 changeId = keccak256(msg.data);
        uint48 readyAt = _readyAt[changeId];
        require(readyAt != 0, ChangeNotScheduled(changeId));
        require(block.timestamp >= readyAt, ChangeNotReady(changeId, readyAt));
        require(block.timestamp <= readyAt + CHANGE_LIFETIME, ChangeExpired(changeId, readyAt + CHANGE_LIFETIME));
        delete _readyAt[changeId];
        emit ChangeMade(changeId);
    }

    /// @dev Whether whoever has `role` could do harm that nobody could do before.
    function _grantWeakens(bytes32 role) internal view virtual returns (bool);

    /// @dev Whether something could no longer be stopped when an account loses `role`.
    function _revocationWeakens(bytes32 role) internal view virtual returns (bool);

    /// @dev Whether `account` may take back the announcement of a call.
    function _mayCancel(address account, bytes calldata) internal view virtual returns (bool) {
        return hasRole(DEFAULT_ADMIN_ROLE, account);
    }
}
