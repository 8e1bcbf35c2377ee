// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {DelayedAdministration} from "../src/DelayedAdministration.sol";
import {StableToken} from "../src/StableToken.sol";
import {Cheats} from "./Cheats.sol";

contract StableTokenTest is Cheats {
    StableToken private token;
    address private admin = person("admin");
    address private master = person("master");
    address private minter = person("minter");
    address private pauser = person("pauser");
    address private freezer = person("freezer");
    address private rescuer = person("rescuer");
    address private ann = person("ann");
    address private bob = person("bob");

    function setUp() external {
        vm.warp(1_800_000_000);
        token = new StableToken("Dollar", "USDT", 6, 1 days, admin);
        vm.startPrank(admin);
        token.grantRole(token.PAUSER_ROLE(), pauser);
        token.grantRole(token.FREEZER_ROLE(), freezer);
        token.grantRole(token.RESCUER_ROLE(), rescuer);
        bytes memory call = abi.encodeCall(token.grantRole, (token.MASTER_MINTER_ROLE(), master));
        token.scheduleChange(call);
        vm.warp(block.timestamp + 1 days);
        token.grantRole(token.MASTER_MINTER_ROLE(), master);
        vm.stopPrank();
        vm.prank(master);
        token.configureMinter(minter, 10_000);
        vm.prank(minter);
        token.mint(ann, 1_000);
    }

    function test_decimals_are_those_of_the_deployment() external {
        assertEq(token.decimals(), 6);
        assertEq(new StableToken("Kyat", "DMMK", 2, 0, admin).decimals(), 2);
    }

    // --- minters

    function test_mint_makes_tokens_and_lowers_the_minters_allowance() external {
        assertEq(token.balanceOf(ann), 1_000);
        assertEq(token.totalSupply(), 1_000);
        assertEq(token.minterAllowance(minter), 9_000);
        vm.expectEmit(true, true, false, true, address(token));
        emit StableToken.Minted(minter, bob, 5);
        vm.prank(minter);
        token.mint(bob, 5);
        assertEq(token.minterAllowance(minter), 8_995);
    }

    function testFuzz_all_that_a_minter_mints_is_within_its_allowance(uint256 allowance, uint256 first, uint256 second)
        external
    {
        allowance = bound(allowance, 0, 1e30);
        first = bound(first, 0, 1e30);
        second = bound(second, 0, 1e30);
        vm.prank(master);
        token.configureMinter(minter, allowance);
        uint256 before = token.totalSupply();
        mintOrNot(first);
        mintOrNot(second);
        require(token.totalSupply() - before <= allowance, "more was minted than allowed");
        assertEq(token.totalSupply() - before + token.minterAllowance(minter), allowance);
    }

    function test_mint_beyond_the_allowance_is_refused() external {
        vm.expectRevert(
            abi.encodeWithSelector(StableToken.MinterAllowanceExceeded.selector, minter, 9_000, 9_001)
        );
        vm.prank(minter);
        token.mint(ann, 9_001);
    }

    function testFuzz_mint_and_burn_by_anyone_else_are_refused(address caller) external {
        vm.assume(caller != minter);
        bytes memory refused = abi.encodeWithSelector(StableToken.AccountNotMinter.selector, caller);
        vm.expectRevert(refused);
        vm.prank(caller);
        token.mint(caller, 1);
        vm.expectRevert(refused);
        vm.prank(caller);
        token.burn(0);
    }

    function test_burn_takes_only_the_minters_own_tokens_and_raises_no_allowance() external {
        vm.startPrank(minter);
        token.mint(minter, 50);
        vm.expectEmit(true, false, false, true, address(token));
        emit StableToken.Burned(minter, 20);
        token.burn(20);
        assertEq(token.balanceOf(minter), 30);
        assertEq(token.balanceOf(ann), 1_000);
        assertEq(token.minterAllowance(minter), 8_950);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, minter, 30, 31));
        token.burn(31);
        vm.stopPrank();
    }

    function test_the_master_minter_sets_an_allowance_anew_and_ends_a_minter() external {
        vm.startPrank(master);
        vm.expectEmit(true, true, false, true, address(token));
        emit StableToken.MinterConfigured(minter, 3, master);
        token.configureMinter(minter, 3);
        assertEq(token.minterAllowance(minter), 3);
        vm.expectEmit(true, true, false, true, address(token));
        emit StableToken.MinterRemoved(minter, master);
        token.removeMinter(minter);
        assertEq(token.minterAllowance(minter), 0);
        vm.expectRevert(abi.encodeWithSelector(StableToken.AccountNotMinter.selector, minter));
        token.removeMinter(minter);
        vm.stopPrank();
        vm.expectRevert(abi.encodeWithSelector(StableToken.AccountNotMinter.selector, minter));
        vm.prank(minter);
        token.mint(ann, 0);
    }

    function testFuzz_minters_are_nobody_elses_to_make_or_end(address caller) external {
        vm.assume(caller != master);
        bytes memory refused = unauthorized(caller, token.MASTER_MINTER_ROLE());
        vm.expectRevert(refused);
        vm.prank(caller);
        token.configureMinter(caller, 1);
        vm.expectRevert(refused);
        vm.prank(caller);
        token.removeMinter(minter);
    }

    function test_a_frozen_minter_neither_mints_nor_burns() external {
        vm.prank(freezer);
        token.freeze(minter);
        bytes memory refused = abi.encodeWithSelector(StableToken.AccountFrozen.selector, minter);
        vm.startPrank(minter);
        vm.expectRevert(refused);
        token.mint(ann, 1);
        vm.expectRevert(refused);
        token.burn(0);
        vm.stopPrank();
    }

    // --- administration

    function test_a_new_master_minter_waits_and_the_other_roles_do_not() external {
        bytes32 makes = token.MASTER_MINTER_ROLE();
        bytes memory call = abi.encodeCall(token.grantRole, (makes, ann));
        vm.startPrank(admin);
        vm.expectRevert(
            abi.encodeWithSelector(DelayedAdministration.ChangeNotScheduled.selector, keccak256(call))
        );
        token.grantRole(makes, ann);
        token.scheduleChange(call);
        token.cancelChange(call);
        token.grantRole(token.FREEZER_ROLE(), ann);
        token.revokeRole(makes, master);
        vm.stopPrank();
        bytes memory other = abi.encodeCall(token.pause, ());
        vm.expectRevert(
            abi.encodeWithSelector(DelayedAdministration.ChangeNotCancellable.selector, keccak256(other), pauser)
        );
        vm.prank(pauser);
        token.cancelChange(other);
    }

    // --- rescue

    function test_the_rescuer_sends_on_what_lies_at_the_contract_itself() external {
        vm.prank(ann);
        token.transfer(address(token), 40);
        vm.expectEmit(true, true, true, true, address(token));
        emit StableToken.Rescued(token, ann, 40, rescuer);
        vm.prank(rescuer);
        token.rescue(token, ann, 40);
        assertEq(token.balanceOf(ann), 1_000);
    }

    function testFuzz_rescue_reaches_nobodys_tokens(uint256 amount) external {
        amount = bound(amount, 1, type(uint256).max);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, token, 0, amount));
        vm.prank(rescuer);
        token.rescue(token, bob, amount);
    }

    function testFuzz_rescue_by_anyone_else_is_refused(address caller) external {
        vm.assume(caller != rescuer);
        vm.expectRevert(unauthorized(caller, token.RESCUER_ROLE()));
        vm.prank(caller);
        token.rescue(token, caller, 0);
    }

    // --- pause and freeze

    function test_pause_stops_transfer_mint_and_burn_until_unpaused() external {
        vm.prank(pauser);
        token.pause();
        bytes memory paused = abi.encodeWithSelector(Pausable.EnforcedPause.selector);
        vm.expectRevert(paused);
        vm.prank(ann);
        token.transfer(bob, 1);
        vm.expectRevert(paused);
        vm.prank(minter);
        token.mint(bob, 1);
        vm.expectRevert(paused);
        vm.prank(minter);
        token.burn(0);
        vm.expectRevert(paused);
        vm.prank(master);
        token.configureMinter(bob, 1);
        vm.prank(master);
        token.removeMinter(minter);
        vm.prank(pauser);
        token.unpause();
        vm.prank(ann);
        token.transfer(bob, 1);
        assertEq(token.balanceOf(bob), 1);
    }

    function testFuzz_pause_by_anyone_else_is_refused(address caller) external {
        vm.assume(caller != pauser);
        bytes32 role = token.PAUSER_ROLE();
        bytes memory refused =
            abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, caller, role);
        vm.expectRevert(refused);
        vm.prank(caller);
        token.pause();
        vm.expectRevert(refused);
        vm.prank(caller);
        token.unpause();
    }

    function test_a_frozen_address_neither_sends_nor_receives_nor_spends() external {
        vm.prank(ann);
        token.approve(bob, 10);
        vm.prank(freezer);
        token.freeze(bob);
        bytes memory refused = abi.encodeWithSelector(StableToken.AccountFrozen.selector, bob);
        vm.expectRevert(refused);
        vm.prank(ann);
        token.transfer(bob, 1);
        vm.expectRevert(refused);
        vm.prank(minter);
        token.mint(bob, 1);
        vm.expectRevert(refused);
        vm.prank(bob);
        token.transferFrom(ann, admin, 1);
        vm.prank(freezer);
        token.unfreeze(bob);
        vm.prank(ann);
        token.transfer(bob, 1);
        vm.prank(freezer);
        token.freeze(bob);
        vm.expectRevert(refused);
        vm.prank(bob);
        token.transfer(ann, 1);
    }

    function test_a_spender_moves_what_was_allowed_and_no_more() external {
        vm.prank(ann);
        token.approve(bob, 10);
        vm.prank(bob);
        token.transferFrom(ann, bob, 10);
        assertEq(token.balanceOf(bob), 10);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, bob, 0, 1));
        vm.prank(bob);
        token.transferFrom(ann, bob, 1);
    }

    function testFuzz_freeze_by_anyone_else_is_refused(address caller) external {
        vm.assume(caller != freezer);
        bytes32 role = token.FREEZER_ROLE();
        bytes memory refused =
            abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, caller, role);
        vm.expectRevert(refused);
        vm.prank(caller);
        token.freeze(ann);
        vm.expectRevert(refused);
        vm.prank(caller);
        token.unfreeze(ann);
    }

    function test_the_zero_address_cannot_be_frozen() external {
        vm.expectRevert(abi.encodeWithSelector(StableToken.AccountNotFreezable.selector, address(0)));
        vm.prank(freezer);
        token.freeze(address(0));
    }

    function test_freeze_says_who_once() external {
        vm.expectEmit(true, true, false, true, address(token));
        emit StableToken.Frozen(ann, freezer);
        vm.startPrank(freezer);
        token.freeze(ann);
        token.freeze(ann);
        vm.expectEmit(true, true, false, true, address(token));
        emit StableToken.Unfrozen(ann, freezer);
        token.unfreeze(ann);
        token.unfreeze(ann);
        vm.stopPrank();
    }

    function mintOrNot(uint256 amount) private {
        vm.prank(minter);
        try token.mint(bob, amount) {} catch {}
    }

    function unauthorized(address caller, bytes32 role) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, caller, role);
    }
}
