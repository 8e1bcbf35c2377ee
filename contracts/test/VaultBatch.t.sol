// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {RateLimiter} from "@openzeppelin/contracts/utils/RateLimiter.sol";
import {StableToken} from "../src/StableToken.sol";
import {Payment, Vault} from "../src/Vault.sol";
import {CallingBackToken, GasBurningToken, LongWindedToken, OpenToken, RefusingToken} from "./OddTokens.sol";
import {VaultTestCase} from "./VaultStage.sol";

contract VaultBatchTest is VaultTestCase {
    address private eve = person("eve");

    function test_a_batch_pays_each_and_says_so_of_each() external {
        Payment[] memory payments = three(eve);
        for (uint256 i = 0; i < 3; i++) {
            paidIs(token, payments[i]);
        }
        pay(payments);
        assertEq(token.balanceOf(ann), 100);
        assertEq(token.balanceOf(eve), 200);
        assertEq(token.balanceOf(bob), 300);
        assertEq(vault.withdrawable(token), CAPACITY - 600);
        require(vault.paid("w1") && vault.paid("w2") && vault.paid("w3"), "an id is not remembered");
    }

    function test_a_frozen_receiver_is_refused_and_the_others_are_paid() external {
        token.freeze(eve);
        refusedAlone(token, abi.encodeWithSelector(StableToken.AccountFrozen.selector, eve));
        token.unfreeze(eve);
        withdraw(eve, 200, "w2");
        assertEq(token.balanceOf(eve), 200);
    }

    function test_a_receiver_that_cannot_be_paid_is_refused_and_the_others_are_paid() external {
        eve = address(vault);
        refusedAlone(token, abi.encodeWithSelector(Vault.ReceiverNotPayable.selector, vault));
    }

    function test_a_token_that_answers_false_for_one_pays_the_others() external {
        RefusingToken odd = new RefusingToken();
        admit(address(odd));
        odd.setRefuses(eve, true);
        refusedAlone(odd, abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, odd));
    }

    function test_a_payment_that_burns_all_its_gas_does_not_take_that_of_the_others() external {
        GasBurningToken odd = new GasBurningToken(eve);
        admit(address(odd));
        refusedAlone(odd, "");
        // Of little gas too: the bad payment takes its own part, not 63 of 64 parts of all.
        Payment[] memory payments = three(eve);
        (payments[0].withdrawalId, payments[2].withdrawalId) = ("w4", "w5");
        vm.prank(withdrawer);
        vault.withdrawBatch{gas: 750_000}(odd, payments);
        require(vault.paid("w4") && !vault.paid("w2") && vault.paid("w5"), "the bad one took the others' gas");
    }

    /// What the signer gives a batch (chain/batches.py: PAYOUT_BATCH_GAS and PAYMENT_GAS for each) is enough,
    /// less what a transaction costs before its call begins, if every payment burns all that it may.
    function test_the_signers_gas_limit_is_enough_where_every_payment_burns_its_own() external {
        GasBurningToken odd = new GasBurningToken(eve);
        admit(address(odd));
        for (uint256 count = 1; count <= 50; count += 7) {
            Payment[] memory payments = new Payment[](count);
            for (uint256 i = 0; i < count; i++) {
                payments[i] = Payment(eve, 1, bytes32(1_000 * count + i));
            }
            // Each byte counted as one that is not zero: 16 gas (EIP-2028).
            uint256 before = 21_000 + 16 * abi.encodeCall(vault.withdrawBatch, (odd, payments)).length;
            vm.prank(withdrawer);
            vault.withdrawBatch{gas: 100_000 + 290_000 * count - before}(odd, payments);
        }
        assertEq(odd.balanceOf(address(vault)), HELD);
    }

    function test_a_reason_that_is_too_long_is_left_out() external {
        LongWindedToken odd = new LongWindedToken(eve);
        admit(address(odd));
        refusedAlone(odd, "");
    }

    function test_a_token_that_calls_back_from_a_batch_pays_only_what_was_asked() external {
        CallingBackToken odd = new CallingBackToken(vault);
        admit(address(odd));
        change(abi.encodeCall(vault.grantRole, (vault.WITHDRAWER_ROLE(), address(odd))));
        vm.prank(withdrawer);
        vault.withdrawBatch(odd, three(eve));
        assertEq(odd.tookOut() + odd.sweptInside(), 0);
        assertEq(odd.balanceOf(address(vault)), HELD - 600);
    }

    function test_what_the_bucket_does_not_cover_is_refused_and_the_rest_is_paid() external {
        Payment[] memory payments = three(eve);
        payments[1].amount = CAPACITY;
        paidIs(token, payments[0]);
        refusedIs(token, payments[1], abi.encodeWithSelector(RateLimiter.RateLimitExceeded.selector));
        paidIs(token, payments[2]);
        pay(payments);
        assertEq(vault.withdrawable(token), CAPACITY - 400);
    }

    function test_what_the_vault_does_not_hold_is_refused_and_the_rest_is_paid() external {
        vm.prank(guardian);
        vault.moveToCold(token, HELD - 400, "all");
        Payment[] memory payments = three(eve);
        pay(payments);
        assertEq(token.balanceOf(ann), 100);
        assertEq(token.balanceOf(eve), 200);
        assertEq(token.balanceOf(bob), 0);
        require(!vault.paid("w3"), "unpaid, and remembered as paid");
    }

    function test_an_approved_payment_of_a_batch_goes_beyond_the_bucket() external {
        Payment[] memory payments = three(eve);
        payments[1].amount = 50 * CAPACITY;
        approve(eve, payments[1].amount, "w2");
        pay(payments);
        assertEq(token.balanceOf(eve), 50 * CAPACITY);
        assertEq(vault.withdrawable(token), CAPACITY - 400);
    }

    function test_an_id_paid_before_is_told_apart_from_a_refused_one() external {
        withdraw(eve, 7, "w2");
        Payment[] memory payments = three(eve);
        paidIs(token, payments[0]);
        vm.expectEmit(true, true, true, true, address(vault));
        emit Vault.WithdrawalRepeated("w2", token, eve, 200);
        paidIs(token, payments[2]);
        pay(payments);
        assertEq(token.balanceOf(eve), 7);
    }

    function test_an_id_twice_in_one_batch_is_paid_once() external {
        Payment[] memory payments = three(eve);
        payments[2].withdrawalId = "w1";
        pay(payments);
        assertEq(token.balanceOf(ann), 100);
        assertEq(token.balanceOf(bob), 0);
    }

    function test_the_same_batch_again_pays_nothing() external {
        pay(three(eve));
        vm.warp(block.timestamp + 10 * WINDOW);
        pay(three(eve));
        assertEq(token.balanceOf(address(vault)), HELD - 600);
    }

    function test_a_batch_of_none_does_nothing() external {
        pay(new Payment[](0));
        assertEq(token.balanceOf(address(vault)), HELD);
    }

    /// @dev Whatever gas a batch gets, it either pays all that can be paid or does nothing at all.
    function testFuzz_too_little_gas_refuses_the_whole_batch_never_one_payment(uint256 gas) external {
        gas = bound(gas, 10_000, 900_000);
        vm.prank(withdrawer);
        try vault.withdrawBatch{gas: gas}(token, three(eve)) {
            assertEq(token.balanceOf(address(vault)), HELD - 600);
        } catch {
            assertEq(token.balanceOf(address(vault)), HELD);
            require(!vault.paid("w1") && !vault.paid("w2") && !vault.paid("w3"), "unpaid, remembered as paid");
        }
    }

    function test_too_little_gas_says_so() external {
        vm.prank(withdrawer);
        (bool done, bytes memory answer) =
            address(vault).call{gas: 250_000}(abi.encodeCall(vault.withdrawBatch, (token, three(eve))));
        require(!done && bytes4(answer) == Vault.GasTooLow.selector, "not refused for its gas");
    }

    function test_a_paused_vault_pays_no_batch() external {
        vm.prank(guardian);
        vault.pause();
        vm.expectRevert(abi.encodeWithSelector(Pausable.EnforcedPause.selector));
        pay(three(eve));
    }

    function testFuzz_a_batch_of_anyone_else_is_refused(address caller) external {
        vm.assume(caller != withdrawer);
        bytes32 role = vault.WITHDRAWER_ROLE();
        vm.expectRevert(abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, caller, role));
        vm.prank(caller);
        vault.withdrawBatch(token, three(eve));
    }

    function testFuzz_a_part_of_a_batch_is_nobodys_to_call(address caller) external {
        vm.assume(caller != address(vault));
        vm.expectRevert(abi.encodeWithSelector(Vault.CallerNotVault.selector, caller));
        vm.prank(caller);
        vault.payInBatch(token, ann, 1, "w1");
    }

    /// @dev The middle one of three is refused for `reason`; the others are paid, its id and bucket are as before.
    function refusedAlone(IERC20 odd, bytes memory reason) private {
        Payment[] memory payments = three(eve);
        uint256 before = odd.balanceOf(eve);
        paidIs(odd, payments[0]);
        refusedIs(odd, payments[1], reason);
        paidIs(odd, payments[2]);
        vm.prank(withdrawer);
        vault.withdrawBatch(odd, payments);
        assertEq(odd.balanceOf(ann), 100);
        assertEq(odd.balanceOf(bob), 300);
        if (eve != address(vault)) assertEq(odd.balanceOf(eve), before);
        assertEq(odd.balanceOf(address(vault)), HELD - 400);
        assertEq(vault.withdrawable(odd), CAPACITY - 400);
        require(vault.paid("w1") && !vault.paid("w2") && vault.paid("w3"), "another id is paid");
    }

    function paidIs(IERC20 odd, Payment memory payment) private {
        vm.expectEmit(true, true, true, true, address(vault));
        emit Vault.Withdrawn(payment.withdrawalId, odd, payment.to, payment.amount);
    }

    function refusedIs(IERC20 odd, Payment memory payment, bytes memory reason) private {
        vm.expectEmit(true, true, true, true, address(vault));
        emit Vault.WithdrawalRefused(payment.withdrawalId, odd, payment.to, payment.amount, reason);
    }
}
