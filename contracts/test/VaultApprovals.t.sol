// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {RateLimiter} from "@openzeppelin/contracts/utils/RateLimiter.sol";
import {StableToken} from "../src/StableToken.sol";
import {Vault} from "../src/Vault.sol";
import {VaultAdministration} from "../src/VaultAdministration.sol";
import {VaultTestCase} from "./VaultStage.sol";

contract VaultApprovalsTest is VaultTestCase {
    uint256 private constant LARGE = 100 * CAPACITY;

    function test_two_keys_pay_beyond_the_bucket_and_leave_it_full() external {
        uint48 until = uint48(block.timestamp) + vault.APPROVAL_LIFETIME();
        vm.expectEmit(true, true, true, true, address(vault));
        emit VaultAdministration.WithdrawalApproved("big", token, ann, LARGE, approver, until);
        approve(ann, LARGE, "big");
        assertEq(vault.approvedUntil(token, ann, LARGE, "big"), until);
        vm.expectEmit(true, true, false, true, address(vault));
        emit Vault.ApprovalUsed("big", approver);
        vm.expectEmit(true, true, true, true, address(vault));
        emit Vault.Withdrawn("big", token, ann, LARGE);
        withdraw(ann, LARGE, "big");
        assertEq(token.balanceOf(ann), LARGE);
        assertEq(vault.withdrawable(token), CAPACITY);
        assertEq(vault.approvedUntil(token, ann, LARGE, "big"), 0);
    }

    function test_what_fits_the_bucket_is_paid_from_it_approved_or_not() external {
        approve(ann, CAPACITY, "w1");
        withdraw(ann, CAPACITY, "w1");
        assertEq(vault.withdrawable(token), 0);
    }

    function test_an_approval_pays_its_id_once() external {
        approve(ann, LARGE, "big");
        withdraw(ann, LARGE, "big");
        vm.expectRevert(abi.encodeWithSelector(Vault.WithdrawalAlreadyPaid.selector, bytes32("big")));
        withdraw(ann, LARGE, "big");
        vm.expectRevert(abi.encodeWithSelector(Vault.WithdrawalAlreadyPaid.selector, bytes32("big")));
        approve(ann, LARGE, "big");
    }

    function testFuzz_an_approval_is_for_exactly_one_withdrawal(address to, uint256 amount, bytes32 id) external {
        amount = bound(amount, CAPACITY + 1, HELD);
        vm.assume(to != address(0) && to != address(vault) && to != address(token));
        vm.assume(to != ann || amount != LARGE || id != "big");
        approve(ann, LARGE, "big");
        vm.expectRevert(abi.encodeWithSelector(RateLimiter.RateLimitExceeded.selector));
        withdraw(to, amount, id);
    }

    function test_an_approval_is_for_one_token() external {
        StableToken other = newToken();
        other.mint(address(vault), LARGE);
        approve(ann, LARGE, "big");
        vm.expectRevert(abi.encodeWithSelector(RateLimiter.RateLimitExceeded.selector));
        vm.prank(withdrawer);
        vault.withdraw(other, ann, LARGE, "big");
    }

    function test_a_token_without_a_bucket_leaves_by_two_keys() external {
        StableToken stray = newToken();
        stray.mint(address(vault), 5);
        vm.prank(approver);
        vault.approveWithdrawal(stray, ann, 5, "stray");
        vm.prank(withdrawer);
        vault.withdraw(stray, ann, 5, "stray");
        assertEq(stray.balanceOf(ann), 5);
    }

    function test_an_approval_expires() external {
        approve(ann, LARGE, "big");
        vm.warp(block.timestamp + vault.APPROVAL_LIFETIME() + 1);
        assertEq(vault.approvedUntil(token, ann, LARGE, "big"), 0);
        vm.expectRevert(abi.encodeWithSelector(RateLimiter.RateLimitExceeded.selector));
        withdraw(ann, LARGE, "big");
        approve(ann, LARGE, "big");
        vm.warp(block.timestamp + vault.APPROVAL_LIFETIME());
        withdraw(ann, LARGE, "big");
    }

    function test_an_approval_ends_with_its_approvers_role() external {
        approve(ann, LARGE, "big");
        bytes32 role = vault.APPROVER_ROLE();
        vm.prank(admin);
        vault.revokeRole(role, approver);
        assertEq(vault.approvedUntil(token, ann, LARGE, "big"), 0);
        vm.expectRevert(abi.encodeWithSelector(RateLimiter.RateLimitExceeded.selector));
        withdraw(ann, LARGE, "big");
    }

    function test_approver_and_guardian_take_an_approval_back() external {
        address[2] memory who = [approver, guardian];
        for (uint256 i = 0; i < 2; i++) {
            approve(ann, LARGE, "big");
            vm.expectEmit(true, true, true, true, address(vault));
            emit VaultAdministration.ApprovalRevoked("big", token, ann, LARGE, who[i]);
            vm.prank(who[i]);
            vault.revokeApproval(token, ann, LARGE, "big");
            vm.expectRevert(abi.encodeWithSelector(RateLimiter.RateLimitExceeded.selector));
            withdraw(ann, LARGE, "big");
        }
        vm.expectRevert(abi.encodeWithSelector(VaultAdministration.ApprovalNotFound.selector, bytes32("big")));
        vm.prank(approver);
        vault.revokeApproval(token, ann, LARGE, "big");
    }

    function test_a_pause_stops_approved_withdrawals_too() external {
        approve(ann, LARGE, "big");
        vm.prank(guardian);
        vault.pause();
        vm.expectRevert(abi.encodeWithSelector(Pausable.EnforcedPause.selector));
        withdraw(ann, LARGE, "big");
    }

    function test_the_approver_cannot_withdraw_what_it_approved() external {
        approve(approver, LARGE, "big");
        refusedFor(approver, vault.WITHDRAWER_ROLE());
        vm.prank(approver);
        vault.withdraw(token, approver, LARGE, "big");
    }

    function testFuzz_an_approval_of_anyone_else_is_refused(address caller) external {
        vm.assume(caller != approver);
        refusedFor(caller, vault.APPROVER_ROLE());
        vm.prank(caller);
        vault.approveWithdrawal(token, caller, 1, "w1");
    }

    function testFuzz_an_approval_is_not_anyones_to_take_back(address caller) external {
        vm.assume(caller != approver && caller != guardian);
        approve(ann, LARGE, "big");
        refusedFor(caller, vault.APPROVER_ROLE());
        vm.prank(caller);
        vault.revokeApproval(token, ann, LARGE, "big");
    }

    function test_what_could_never_be_paid_is_not_approved() external {
        vm.expectRevert(abi.encodeWithSelector(Vault.AmountIsZero.selector));
        approve(ann, 0, "big");
        vm.expectRevert(abi.encodeWithSelector(Vault.ReceiverNotPayable.selector, vault));
        approve(address(vault), 1, "big");
    }

    function test_one_key_never_has_both_roles() external {
        bytes memory conflict = abi.encodeWithSelector(VaultAdministration.RolesConflict.selector, withdrawer);
        (bytes32 withdraws, bytes32 approves) = (vault.WITHDRAWER_ROLE(), vault.APPROVER_ROLE());
        vm.startPrank(admin);
        vm.expectRevert(conflict);
        vault.grantRole(approves, withdrawer);
        vm.expectRevert(abi.encodeWithSelector(VaultAdministration.RolesConflict.selector, approver));
        vault.grantRole(withdraws, approver);
        vm.stopPrank();
    }

    function test_a_key_that_changes_roles_cannot_pay_what_it_approved() external {
        approve(ann, LARGE, "big");
        (bytes32 withdraws, bytes32 approves) = (vault.WITHDRAWER_ROLE(), vault.APPROVER_ROLE());
        vm.prank(admin);
        vault.revokeRole(approves, approver);
        change(abi.encodeCall(vault.grantRole, (withdraws, approver)));
        vm.expectRevert(abi.encodeWithSelector(RateLimiter.RateLimitExceeded.selector));
        vm.prank(approver);
        vault.withdraw(token, ann, LARGE, "big");
    }

    function refusedFor(address caller, bytes32 role) private {
        vm.expectRevert(abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, caller, role));
    }
}
