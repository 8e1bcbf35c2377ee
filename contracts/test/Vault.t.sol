// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {RateLimiter} from "@openzeppelin/contracts/utils/RateLimiter.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {DepositAddress} from "../src/DepositAddress.sol";
import {StableToken} from "../src/StableToken.sol";
import {Vault} from "../src/Vault.sol";
import {Cheats} from "./Cheats.sol";

/// @dev A token that calls the vault back while it is being moved.
contract CallingBackToken {
    Vault private immutable VAULT;

    constructor(Vault vault) {
        VAULT = vault;
    }

    function balanceOf(address) external pure returns (uint256) {
        return 100;
    }

    function transfer(address to, uint256) external returns (bool) {
        VAULT.withdraw(IERC20(address(this)), to, 1, bytes32("second"));
        return true;
    }
}

/// @dev A token whose transfers answer false instead of reverting.
contract RefusingToken {
    function balanceOf(address) external pure returns (uint256) {
        return 100;
    }

    function transfer(address, uint256) external pure returns (bool) {
        return false;
    }
}

contract VaultTest is Cheats {
    Vault private vault;
    StableToken private token;
    address private admin = person("admin");
    address private withdrawer = person("withdrawer");
    address private guardian = person("guardian");
    address private ann = person("ann");

    uint208 private constant CAPACITY = 1_000;
    uint48 private constant WINDOW = 1 hours;

    function setUp() external {
        vm.warp(1_800_000_000);
        vault = new Vault(1 days, admin);
        token = new StableToken("Dollar", "USDT", 6, 0, address(this));
        token.grantRole(token.MINTER_ROLE(), address(this));
        token.grantRole(token.FREEZER_ROLE(), address(this));
        vm.startPrank(admin);
        vault.grantRole(vault.WITHDRAWER_ROLE(), withdrawer);
        vault.grantRole(vault.GUARDIAN_ROLE(), guardian);
        vault.setRateLimit(token, CAPACITY, WINDOW);
        vm.stopPrank();
        token.mint(address(vault), 1_000_000);
    }

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
        StableToken other = new StableToken("Other", "OTH", 6, 0, address(this));
        other.grantRole(other.MINTER_ROLE(), address(this));
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

    function test_a_token_that_calls_back_is_refused() external {
        CallingBackToken evil = new CallingBackToken(vault);
        vm.startPrank(admin);
        vault.setRateLimit(IERC20(address(evil)), 100, 1);
        vault.grantRole(vault.WITHDRAWER_ROLE(), address(evil));
        vm.stopPrank();
        vm.expectRevert(abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector));
        vm.prank(withdrawer);
        vault.withdraw(IERC20(address(evil)), ann, 1, bytes32("first"));
    }

    function test_a_token_that_answers_false_pays_no_id() external {
        IERC20 refusing = IERC20(address(new RefusingToken()));
        vm.prank(admin);
        vault.setRateLimit(refusing, 100, 1);
        vm.prank(withdrawer);
        try vault.withdraw(refusing, ann, 1, bytes32("w1")) {
            revert("a transfer that answered false counted");
        } catch {
            require(!vault.paid(bytes32("w1")), "the id is spent");
        }
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
        vm.warp(block.timestamp + WINDOW / 2);
        vm.prank(admin);
        vault.setRateLimit(token, CAPACITY * 10, 1 hours);
        assertEq(vault.withdrawable(token), CAPACITY * 10 - CAPACITY / 2);
    }

    function test_a_limit_of_zero_stops_the_token() external {
        vm.prank(admin);
        vault.setRateLimit(token, 0, 1);
        vm.expectRevert(abi.encodeWithSelector(RateLimiter.RateLimitExceeded.selector));
        withdraw(ann, 1, "w1");
    }

    function test_a_window_of_zero_is_refused() external {
        vm.expectRevert(abi.encodeWithSelector(Vault.WindowIsZero.selector));
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

    function test_setting_a_limit_says_so() external {
        vm.expectEmit(true, false, false, true, address(vault));
        emit Vault.RateLimitSet(token, 5, 6);
        vm.prank(admin);
        vault.setRateLimit(token, 5, 6);
    }

    // --- pause and administration

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

    function test_the_admin_changes_only_after_the_delay() external {
        vm.prank(admin);
        vault.beginDefaultAdminTransfer(ann);
        vm.prank(ann);
        try vault.acceptDefaultAdminTransfer() {
            revert("the administrator changed at once");
        } catch {}
        vm.warp(block.timestamp + 1 days + 1);
        vm.prank(ann);
        vault.acceptDefaultAdminTransfer();
        assertEq(vault.defaultAdmin(), ann);
    }

    function test_the_admin_alone_cannot_move_a_token() external {
        bytes32 role = vault.WITHDRAWER_ROLE();
        vm.expectRevert(abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, admin, role));
        vm.prank(admin);
        vault.withdraw(token, admin, 1, bytes32("w1"));
    }

    function withdraw(address to, uint256 amount, bytes32 id) private {
        vm.prank(withdrawer);
        vault.withdraw(token, to, amount, id);
    }

    function one(bytes32 salt) private pure returns (bytes32[] memory salts) {
        salts = new bytes32[](1);
        salts[0] = salt;
    }
}
