// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {
    IAccessControlDefaultAdminRules
} from "@openzeppelin/contracts/access/extensions/IAccessControlDefaultAdminRules.sol";
import {DelayedAdministration} from "../src/DelayedAdministration.sol";
import {Vault} from "../src/Vault.sol";
import {VaultAdministration} from "../src/VaultAdministration.sol";
import {VaultTestCase} from "./VaultStage.sol";

contract VaultAdministrationTest is VaultTestCase {
    // --- what weakens waits

    function test_a_raised_limit_waits_its_delay_in_the_open() external {
        bytes memory call = raised();
        vm.startPrank(admin);
        vm.expectRevert(notScheduled(call));
        make(call);
        uint48 readyAt = uint48(block.timestamp) + DELAY;
        vm.expectEmit(true, true, false, true, address(vault));
        emit DelayedAdministration.ChangeScheduled(keccak256(call), admin, readyAt, call);
        vault.scheduleChange(call);
        assertEq(vault.changeReadyAt(call), readyAt);
        vm.warp(readyAt - 1);
        vm.expectRevert(
            abi.encodeWithSelector(DelayedAdministration.ChangeNotReady.selector, keccak256(call), readyAt)
        );
        make(call);
        vm.warp(readyAt);
        vm.expectEmit(true, false, false, true, address(vault));
        emit DelayedAdministration.ChangeMade(keccak256(call));
        vm.expectEmit(true, false, false, true, address(vault));
        emit VaultAdministration.RateLimitSet(token, CAPACITY + 1, WINDOW);
        make(call);
        vm.stopPrank();
        assertEq(vault.withdrawable(token), CAPACITY + 1);
        assertEq(vault.changeReadyAt(call), 0);
    }

    function test_an_announcement_is_used_up_by_the_change() external {
        bytes memory call = raised();
        change(call);
        vm.startPrank(admin);
        vault.setRateLimit(token, CAPACITY, WINDOW);
        vm.expectRevert(notScheduled(call));
        make(call);
        vm.stopPrank();
    }

    function testFuzz_any_larger_or_faster_bucket_waits(uint208 capacity, uint48 window) external {
        vm.assume(window > 0);
        bool weaker = capacity > CAPACITY || uint256(capacity) * WINDOW > uint256(CAPACITY) * window;
        bytes memory call = abi.encodeCall(vault.setRateLimit, (token, capacity, window));
        vm.prank(admin);
        if (weaker) vm.expectRevert(notScheduled(call));
        make(call);
    }

    /// @dev However a bucket is changed at once, nothing more can leave at that moment than before.
    function testFuzz_a_change_at_once_frees_nothing(uint256 used, uint256 wait, uint208 capacity, uint48 window)
        external
    {
        used = bound(used, 1, CAPACITY);
        withdraw(ann, used, "w1");
        vm.warp(block.timestamp + bound(wait, 0, 2 * WINDOW));
        uint256 before = vault.withdrawable(token);
        vm.prank(admin);
        try vault.setRateLimit(token, uint208(bound(capacity, 0, CAPACITY)), uint48(bound(window, 1, 10 * WINDOW))) {
            require(vault.withdrawable(token) <= before, "a stricter limit freed something");
        } catch {}
    }

    function test_a_new_withdrawer_and_a_new_approver_wait() external {
        bytes32[2] memory roles = [vault.WITHDRAWER_ROLE(), vault.APPROVER_ROLE()];
        for (uint256 i = 0; i < 2; i++) {
            bytes memory call = abi.encodeCall(vault.grantRole, (roles[i], ann));
            vm.expectRevert(notScheduled(call));
            vm.prank(admin);
            make(call);
            require(!vault.hasRole(roles[i], ann), "granted at once");
            change(call);
            require(vault.hasRole(roles[i], ann), "not granted");
            vm.prank(admin);
            vault.revokeRole(roles[i], ann);
        }
    }

    function test_another_cold_address_waits() external {
        bytes memory call = abi.encodeCall(vault.setColdAddress, (ann));
        vm.expectRevert(notScheduled(call));
        vm.prank(admin);
        make(call);
        vm.prank(admin);
        vault.scheduleChange(call);
        vm.warp(block.timestamp + DELAY);
        vm.expectEmit(true, false, false, true, address(vault));
        emit VaultAdministration.ColdAddressSet(ann);
        vm.prank(admin);
        make(call);
        assertEq(vault.coldAddress(), ann);
    }

    // --- what strengthens does not

    function test_lowering_revoking_and_appointing_a_guardian_work_at_once() external {
        vm.startPrank(admin);
        vm.expectEmit(true, false, false, true, address(vault));
        emit VaultAdministration.RateLimitSet(token, CAPACITY - 1, WINDOW);
        vault.setRateLimit(token, CAPACITY - 1, WINDOW);
        vault.setRateLimit(token, CAPACITY - 1, WINDOW * 2);
        vault.revokeRole(vault.WITHDRAWER_ROLE(), withdrawer);
        vault.revokeRole(vault.APPROVER_ROLE(), approver);
        vault.grantRole(vault.GUARDIAN_ROLE(), ann);
        vm.stopPrank();
        require(vault.hasRole(vault.GUARDIAN_ROLE(), ann), "no guardian");
    }

    function test_a_limit_as_it_is_can_be_set_again() external {
        vm.prank(admin);
        vault.setRateLimit(token, CAPACITY, WINDOW);
    }

    function test_a_development_vault_without_delay_changes_at_once() external {
        Vault quick = new Vault(0, admin);
        bytes32 role = quick.WITHDRAWER_ROLE();
        vm.startPrank(admin);
        quick.grantRole(role, ann);
        quick.setRateLimit(token, CAPACITY, WINDOW);
        vm.stopPrank();
        assertEq(quick.withdrawable(token), CAPACITY);
    }

    // --- announcements

    function test_a_guardian_and_the_admin_take_an_announcement_back() external {
        bytes memory call = raised();
        address[2] memory who = [admin, guardian];
        for (uint256 i = 0; i < 2; i++) {
            vm.prank(admin);
            vault.scheduleChange(call);
            vm.expectEmit(true, true, false, true, address(vault));
            emit DelayedAdministration.ChangeCancelled(keccak256(call), who[i]);
            vm.prank(who[i]);
            vault.cancelChange(call);
            vm.warp(block.timestamp + DELAY);
            vm.expectRevert(notScheduled(call));
            vm.prank(admin);
            make(call);
        }
        vm.expectRevert(notScheduled(call));
        vm.prank(guardian);
        vault.cancelChange(call);
    }

    function testFuzz_nobody_else_takes_an_announcement_back(address caller) external {
        vm.assume(caller != admin && caller != guardian);
        bytes memory call = raised();
        vm.prank(admin);
        vault.scheduleChange(call);
        vm.expectRevert(
            abi.encodeWithSelector(DelayedAdministration.ChangeNotCancellable.selector, keccak256(call), caller)
        );
        vm.prank(caller);
        vault.cancelChange(call);
    }

    function testFuzz_nobody_else_announces_or_makes_a_change(address caller) external {
        vm.assume(caller != admin);
        bytes memory call = raised();
        bytes memory refused =
            abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, caller, bytes32(0));
        vm.expectRevert(refused);
        vm.prank(caller);
        vault.scheduleChange(call);
        vm.prank(admin);
        vault.scheduleChange(call);
        vm.warp(block.timestamp + DELAY);
        vm.expectRevert(refused);
        vm.prank(caller);
        make(call);
        vm.expectRevert(refused);
        vm.prank(caller);
        vault.setColdAddress(caller);
        bytes32 role = vault.GUARDIAN_ROLE();
        vm.expectRevert(refused);
        vm.prank(caller);
        vault.grantRole(role, caller);
    }

    function test_a_forgotten_announcement_expires_and_can_be_made_again() external {
        bytes memory call = raised();
        vm.startPrank(admin);
        vault.scheduleChange(call);
        uint48 readyAt = vault.changeReadyAt(call);
        vm.expectRevert(
            abi.encodeWithSelector(DelayedAdministration.ChangeAlreadyScheduled.selector, keccak256(call), readyAt)
        );
        vault.scheduleChange(call);
        uint48 expiresAt = readyAt + vault.CHANGE_LIFETIME();
        vm.warp(expiresAt + 1);
        vm.expectRevert(
            abi.encodeWithSelector(DelayedAdministration.ChangeExpired.selector, keccak256(call), expiresAt)
        );
        make(call);
        vault.scheduleChange(call);
        vm.warp(block.timestamp + DELAY + vault.CHANGE_LIFETIME());
        make(call);
        vm.stopPrank();
    }

    // --- guardians

    function test_a_guardian_is_dismissed_after_the_delay_and_cannot_prevent_it_alone() external {
        bytes memory call = abi.encodeCall(vault.revokeRole, (vault.GUARDIAN_ROLE(), guardian));
        vm.expectRevert(notScheduled(call));
        vm.prank(admin);
        make(call);
        vm.prank(admin);
        vault.scheduleChange(call);
        vm.expectRevert(
            abi.encodeWithSelector(DelayedAdministration.ChangeNotCancellable.selector, keccak256(call), guardian)
        );
        vm.prank(guardian);
        vault.cancelChange(call);
        vm.warp(block.timestamp + DELAY);
        vm.prank(admin);
        make(call);
        require(!vault.hasRole(vault.GUARDIAN_ROLE(), guardian), "not dismissed");
    }

    function test_another_guardian_can_prevent_a_dismissal() external {
        bytes32 role = vault.GUARDIAN_ROLE();
        bytes memory call = abi.encodeCall(vault.revokeRole, (role, guardian));
        vm.startPrank(admin);
        vault.grantRole(role, bob);
        vault.scheduleChange(call);
        vm.stopPrank();
        vm.prank(bob);
        vault.cancelChange(call);
        assertEq(vault.changeReadyAt(call), 0);
    }

    function test_a_guardian_may_leave_at_once() external {
        bytes32 role = vault.GUARDIAN_ROLE();
        vm.prank(guardian);
        vault.renounceRole(role, guardian);
        require(!vault.hasRole(role, guardian), "still there");
    }

    // --- the administrator

    function test_the_admin_changes_only_after_the_delay() external {
        vm.prank(admin);
        vault.beginDefaultAdminTransfer(ann);
        uint48 acceptableAt = uint48(block.timestamp) + DELAY;
        vm.expectRevert(
            abi.encodeWithSelector(
                IAccessControlDefaultAdminRules.AccessControlEnforcedDefaultAdminDelay.selector, acceptableAt
            )
        );
        vm.prank(ann);
        vault.acceptDefaultAdminTransfer();
        vm.warp(acceptableAt + 1);
        vm.prank(ann);
        vault.acceptDefaultAdminTransfer();
        assertEq(vault.defaultAdmin(), ann);
    }

    function test_a_shorter_delay_for_the_admin_shortens_no_other() external {
        vm.prank(admin);
        vault.changeDefaultAdminDelay(0);
        vm.warp(block.timestamp + DELAY + 1);
        assertEq(vault.defaultAdminDelay(), 0);
        bytes memory call = raised();
        vm.expectRevert(notScheduled(call));
        vm.prank(admin);
        make(call);
    }

    // --- limits and the cold address

    function test_a_window_of_zero_is_refused() external {
        vm.expectRevert(abi.encodeWithSelector(VaultAdministration.WindowIsZero.selector));
        vm.prank(admin);
        vault.setRateLimit(token, 1, 0);
    }

    function testFuzz_a_limit_set_by_anyone_else_is_refused(address caller) external {
        vm.assume(caller != admin);
        vm.expectRevert(
            abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, caller, bytes32(0))
        );
        vm.prank(caller);
        vault.setRateLimit(token, type(uint208).max, 1);
    }

    function test_the_vault_cannot_be_its_own_cold_address() external {
        vm.expectRevert(abi.encodeWithSelector(VaultAdministration.ColdAddressIsVault.selector));
        vm.prank(admin);
        vault.setColdAddress(address(vault));
    }

    function test_withdrawer_and_guardian_move_to_the_cold_address_beyond_the_bucket_and_while_paused() external {
        vm.expectEmit(true, true, true, true, address(vault));
        emit Vault.MovedToCold("m1", token, cold, HELD / 2, withdrawer);
        vm.prank(withdrawer);
        vault.moveToCold(token, HELD / 2, "m1");
        vm.startPrank(guardian);
        vault.pause();
        vault.moveToCold(token, HELD / 2, "m2");
        vm.stopPrank();
        assertEq(token.balanceOf(cold), HELD);
        require(vault.moved("m1") && vault.moved("m2") && !vault.paid("m1"), "ids are mixed up");
    }

    function test_a_move_is_made_once() external {
        vm.startPrank(withdrawer);
        vault.moveToCold(token, 5, "m1");
        vm.expectRevert(abi.encodeWithSelector(Vault.MoveAlreadyMade.selector, bytes32("m1")));
        vault.moveToCold(token, 5, "m1");
        vm.expectRevert(abi.encodeWithSelector(Vault.AmountIsZero.selector));
        vault.moveToCold(token, 0, "m2");
        vm.stopPrank();
    }

    function test_nothing_moves_to_a_cold_address_that_is_not_set() external {
        change(abi.encodeCall(vault.setColdAddress, (address(0))));
        vm.expectRevert(abi.encodeWithSelector(Vault.ReceiverNotPayable.selector, address(0)));
        vm.prank(guardian);
        vault.moveToCold(token, 5, "m1");
    }

    function testFuzz_a_move_by_anyone_else_is_refused(address caller) external {
        vm.assume(caller != withdrawer && caller != guardian);
        bytes32 role = vault.WITHDRAWER_ROLE();
        vm.expectRevert(abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, caller, role));
        vm.prank(caller);
        vault.moveToCold(token, 1, "m1");
    }

    function raised() private view returns (bytes memory) {
        return abi.encodeCall(vault.setRateLimit, (token, CAPACITY + 1, WINDOW));
    }
}
