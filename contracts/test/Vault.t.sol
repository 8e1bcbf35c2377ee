// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {RateLimiter} from "@openzeppelin/contracts/utils/RateLimiter.sol";
import {DepositAddress} from "../src/DepositAddress.sol";
import {StableToken} from "../src/StableToken.sol";
import {Vault} from "../src/Vault.sol";
import {CallingBackToken, FeeToken, GivingToken, GreedyToken, LyingToken, RefusingToken} from "./OddTokens.sol";
import {VaultTestCase} from "./VaultStage.sol";

contract VaultTest is VaultTestCase {
    // --- deposit addresses and sweeps

    function testFuzz_sweep_brings_everything_whoever_calls(address caller, bytes32 salt, uint256 amount) external {
        amount = bound(amount, 1, 1e18);
        address from = vault.depositAddress(salt);
        token.mint(from, amount);
        vm.expectEmit(true, true, true, true, address(vault));
        emit Vault.DepositAddressCreated(from, salt);
        vm.expectEmit(true, true, true, true, address(vault));
        emit Vault.Swept(token, from, salt, amount);
        vm.prank(caller);
        vault.sweep(token, one(salt));
        assertEq(token.balanceOf(from), 0);
        assertEq(token.balanceOf(address(vault)), 1_000_000 + amount);
    }

    function test_sweep_of_a_deposit_address_that_has_code_works_again() external {
        bytes32 salt = bytes32("ann");
        address from = vault.depositAddress(salt);
        vault.sweep(token, one(salt));
        require(from.code.length > 0, "the deposit address has no code");
        token.mint(from, 7);
        vault.sweep(token, one(salt));
        assertEq(token.balanceOf(address(vault)), 1_000_007);
    }

    function test_sweep_of_several_takes_each_and_skips_the_empty() external {
        bytes32[] memory salts = new bytes32[](3);
        for (uint256 i = 0; i < 3; i++) {
            salts[i] = bytes32(i + 1);
        }
        token.mint(vault.depositAddress(salts[0]), 5);
        token.mint(vault.depositAddress(salts[2]), 6);
        vault.sweep(token, salts);
        assertEq(token.balanceOf(address(vault)), 1_000_011);
    }

    function test_sweep_works_while_paused_because_money_only_comes_in() external {
        vm.prank(guardian);
        vault.pause();
        token.mint(vault.depositAddress(bytes32("ann")), 5);
        vault.sweep(token, one(bytes32("ann")));
        assertEq(token.balanceOf(address(vault)), 1_000_005);
    }

    function testFuzz_a_deposit_address_pays_only_the_vault_whoever_calls(address caller, bytes32 salt) external {
        vault.sweep(token, one(salt));
        DepositAddress clone = DepositAddress(vault.depositAddress(salt));
        assertEq(clone.VAULT(), address(vault));
        token.mint(address(clone), 9);
        vm.prank(caller);
        assertEq(clone.sweep(token), 9);
        assertEq(token.balanceOf(address(vault)), 1_000_009);
    }

    function test_deposit_addresses_of_two_salts_and_of_two_vaults_differ() external {
        Vault other = new Vault(0, admin);
        require(vault.depositAddress(bytes32("a")) != vault.depositAddress(bytes32("b")), "salts collide");
        require(vault.depositAddress(bytes32("a")) != other.depositAddress(bytes32("a")), "vaults collide");
    }

    function test_a_deposit_address_refuses_native_currency() external {
        vault.sweep(token, one(bytes32("ann")));
        (bool accepted,) = payable(vault.depositAddress(bytes32("ann"))).call{value: 1}("");
        require(!accepted, "native currency was taken, which no one could bring out");
    }

    function test_sweep_of_a_frozen_deposit_address_is_refused_whole() external {
        address from = vault.depositAddress(bytes32("ann"));
        token.mint(from, 5);
        token.freeze(from);
        vm.expectRevert(abi.encodeWithSelector(StableToken.AccountFrozen.selector, from));
        vault.sweep(token, one(bytes32("ann")));
    }

    // --- withdrawals

    function test_withdraw_pays_and_says_so() external {
        vm.expectEmit(true, true, true, true, address(vault));
        emit Vault.Withdrawn(bytes32("w1"), token, ann, 400);
        withdraw(ann, 400, "w1");
        assertEq(token.balanceOf(ann), 400);
        require(vault.paid(bytes32("w1")), "the id is not remembered");
        assertEq(vault.withdrawable(token), 600);
    }

    function test_withdraw_of_a_paid_id_is_refused_for_ever() external {
        withdraw(ann, 400, "w1");
        vm.warp(block.timestamp + 365 days);
        vm.expectRevert(abi.encodeWithSelector(Vault.WithdrawalAlreadyPaid.selector, bytes32("w1")));
        withdraw(ann, 400, "w1");
        vm.expectRevert(abi.encodeWithSelector(Vault.WithdrawalAlreadyPaid.selector, bytes32("w1")));
        withdraw(guardian, 1, "w1");
    }

    function testFuzz_withdraw_without_the_role_is_refused(address caller) external {
        vm.assume(caller != withdrawer);
        bytes32 role = vault.WITHDRAWER_ROLE();
        vm.expectRevert(abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, caller, role));
        vm.prank(caller);
        vault.withdraw(token, caller, 1, bytes32("w1"));
    }

    function test_withdraw_of_nothing_is_refused() external {
        vm.expectRevert(abi.encodeWithSelector(Vault.AmountIsZero.selector));
        withdraw(ann, 0, "w1");
    }

    function test_withdraw_to_zero_to_the_vault_or_to_the_token_is_refused() external {
        address[3] memory lost = [address(0), address(vault), address(token)];
        for (uint256 i = 0; i < 3; i++) {
            vm.expectRevert(abi.encodeWithSelector(Vault.ReceiverNotPayable.selector, lost[i]));
            withdraw(lost[i], 1, "w1");
        }
    }

    function test_withdraw_of_a_token_without_a_limit_is_refused() external {
        StableToken other = newToken();
        other.mint(address(vault), 10);
        vm.expectRevert(abi.encodeWithSelector(RateLimiter.RateLimitExceeded.selector));
        vm.prank(withdrawer);
        vault.withdraw(other, ann, 1, bytes32("w1"));
    }

    function test_a_refused_withdrawal_leaves_its_id_unpaid() external {
        vm.expectRevert(abi.encodeWithSelector(RateLimiter.RateLimitExceeded.selector));
        withdraw(ann, CAPACITY + 1, "w1");
        require(!vault.paid(bytes32("w1")), "a withdrawal that did not happen counts as paid");
        withdraw(ann, CAPACITY, "w1");
    }

    function test_a_token_that_calls_back_moves_only_what_was_asked() external {
        CallingBackToken odd = new CallingBackToken(vault);
        admit(address(odd));
        // Even the token's own contract as withdrawer and guardian: the worst case there is.
        bytes32 role = vault.GUARDIAN_ROLE();
        vm.prank(admin);
        vault.grantRole(role, address(odd));
        change(abi.encodeCall(vault.grantRole, (vault.WITHDRAWER_ROLE(), address(odd))));
        vm.prank(withdrawer);
        vault.withdraw(odd, ann, 5, bytes32("first"));
        assertEq(odd.tookOut() + odd.sweptInside(), 0);
        assertEq(odd.balanceOf(address(vault)), HELD - 5);
        odd.mint(vault.depositAddress(bytes32("ann")), 7);
        vault.sweep(odd, one(bytes32("ann")));
        assertEq(odd.tookOut() + odd.sweptInside(), 0);
        assertEq(odd.balanceOf(address(vault)), HELD + 2);
    }

    function test_a_token_that_answers_false_pays_no_id() external {
        RefusingToken odd = new RefusingToken();
        admit(address(odd));
        odd.setRefuses(ann, true);
        vm.expectRevert(abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, odd));
        vm.prank(withdrawer);
        vault.withdraw(odd, ann, 1, bytes32("w1"));
        require(!vault.paid(bytes32("w1")), "the id is spent");
    }

    function test_a_token_that_moves_nothing_but_says_so_pays_no_id() external {
        refusedAsTaken(address(new LyingToken()), 0);
    }

    function test_a_token_that_gives_instead_of_taking_pays_no_id() external {
        refusedAsTaken(address(new GivingToken()), 0);
    }

    function test_a_token_that_takes_more_than_told_pays_no_id() external {
        refusedAsTaken(address(new GreedyToken()), 11);
    }

    function test_a_fee_on_transfer_is_the_receivers_and_custody_gives_no_more_than_told() external {
        FeeToken odd = new FeeToken();
        admit(address(odd));
        vm.prank(withdrawer);
        vault.withdraw(odd, ann, 200, bytes32("w1"));
        assertEq(odd.balanceOf(address(vault)), HELD - 200);
        assertEq(odd.balanceOf(ann), 198);
    }

    function test_a_sweep_of_a_token_with_a_fee_says_what_arrived() external {
        FeeToken odd = new FeeToken();
        address from = vault.depositAddress(bytes32("ann"));
        odd.mint(from, 200);
        vm.expectEmit(true, true, true, true, address(vault));
        emit Vault.Swept(odd, from, bytes32("ann"), 198);
        vault.sweep(odd, one(bytes32("ann")));
    }

    // --- the bucket

    function testFuzz_the_bucket_refills_linearly_and_never_beyond_capacity(uint256 used, uint256 elapsed) external {
        used = bound(used, 1, CAPACITY);
        elapsed = bound(elapsed, 0, 3 * WINDOW);
        withdraw(ann, used, "w1");
        vm.warp(block.timestamp + elapsed);
        uint256 refilled = (elapsed * CAPACITY) / WINDOW;
        uint256 expected = refilled >= used ? CAPACITY : CAPACITY - used + refilled;
        assertEq(vault.withdrawable(token), expected);
        vm.expectRevert(abi.encodeWithSelector(RateLimiter.RateLimitExceeded.selector));
        withdraw(ann, expected + 1, "w2");
    }

    function test_a_new_limit_keeps_what_was_used_and_counts_the_refill_at_the_old_speed() external {
        withdraw(ann, CAPACITY, "w1");
        bytes memory call = abi.encodeCall(vault.setRateLimit, (token, CAPACITY * 10, 100 days));
        vm.prank(admin);
        vault.scheduleChange(call);
        vm.warp(block.timestamp + DELAY);
        withdraw(ann, CAPACITY, "w2");
        vm.warp(block.timestamp + WINDOW / 2);
        vm.prank(admin);
        make(call);
        assertEq(vault.withdrawable(token), CAPACITY * 10 - CAPACITY / 2);
    }

    function test_a_limit_of_zero_stops_the_token_at_once() external {
        vm.prank(admin);
        vault.setRateLimit(token, 0, 1);
        vm.expectRevert(abi.encodeWithSelector(RateLimiter.RateLimitExceeded.selector));
        withdraw(ann, 1, "w1");
    }

    function test_the_limit_can_be_read() external view {
        (uint208 capacity, uint48 windowSeconds) = vault.rateLimit(token);
        assertEq(capacity, CAPACITY);
        assertEq(windowSeconds, WINDOW);
        (capacity, windowSeconds) = vault.rateLimit(IERC20(ann));
        assertEq(capacity, 0);
        assertEq(windowSeconds, 0);
    }

    // --- pause

    function test_the_guardian_stops_withdrawals_and_only_the_admin_resumes_them() external {
        vm.prank(guardian);
        vault.pause();
        vm.expectRevert(abi.encodeWithSelector(Pausable.EnforcedPause.selector));
        withdraw(ann, 1, "w1");
        vm.expectRevert(
            abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, guardian, bytes32(0))
        );
        vm.prank(guardian);
        vault.unpause();
        vm.prank(admin);
        vault.unpause();
        withdraw(ann, 1, "w1");
        assertEq(token.balanceOf(ann), 1);
    }

    function testFuzz_pause_by_anyone_else_is_refused(address caller) external {
        vm.assume(caller != guardian);
        bytes32 role = vault.GUARDIAN_ROLE();
        vm.expectRevert(abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, caller, role));
        vm.prank(caller);
        vault.pause();
    }

    function test_the_admin_alone_cannot_move_a_token() external {
        bytes32 role = vault.WITHDRAWER_ROLE();
        vm.expectRevert(abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, admin, role));
        vm.prank(admin);
        vault.withdraw(token, admin, 1, bytes32("w1"));
    }

    /// @dev A withdrawal of 10 for which the token takes `taken` is refused, and its id stays unpaid.
    function refusedAsTaken(address odd, uint256 taken) private {
        admit(odd);
        vm.expectRevert(abi.encodeWithSelector(Vault.TokenTookAnotherAmount.selector, odd, 10, taken));
        vm.prank(withdrawer);
        vault.withdraw(IERC20(odd), ann, 10, bytes32("w1"));
        require(!vault.paid(bytes32("w1")), "the id is spent");
        assertEq(vault.withdrawable(IERC20(odd)), CAPACITY);
    }
}
