// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IERC3009} from "@openzeppelin/contracts/interfaces/draft-IERC3009.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {Authorization, DepositAddress} from "../src/DepositAddress.sol";
import {StableToken} from "../src/StableToken.sol";
import {Vault} from "../src/Vault.sol";
import {AgreeingToken, CallingBackDepositToken, PartialToken, unsigned} from "./OddTokens.sol";
import {VaultTestCase} from "./VaultStage.sol";

/// @dev Deposits that the holder signs and somebody else pays the gas for.
contract VaultDepositsTest is VaultTestCase {
    bytes32 private constant SALT = bytes32("ann's wallet");

    function setUp() public override {
        super.setUp();
        token.mint(ann, 1_000);
    }

    function testFuzz_a_signed_deposit_comes_to_its_salt_whoever_brings_it(address caller, uint256 value) external {
        value = bound(value, 1, 1_000);
        Authorization memory signed = authorization(token, "ann", SALT, value, "n");
        address to = vault.depositAddress(SALT);
        vm.expectEmit(true, true, false, true, address(vault));
        emit Vault.DepositAddressCreated(to, SALT);
        vm.expectEmit(true, true, true, true, address(vault));
        emit Vault.DepositReceived(token, to, SALT, ann, value, "n");
        vm.expectEmit(true, true, true, true, address(vault));
        emit Vault.Swept(token, to, SALT, value);
        vm.prank(caller);
        vault.depositWithAuthorization(token, SALT, signed);
        assertEq(token.balanceOf(address(vault)), HELD + value);
        assertEq(token.balanceOf(ann), 1_000 - value);
        assertEq(token.balanceOf(to), 0);
    }

    function test_a_signed_deposit_works_once() external {
        Authorization memory signed = authorization(token, "ann", SALT, 10, "n");
        vault.depositWithAuthorization(token, SALT, signed);
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, ann, bytes32("n")));
        vault.depositWithAuthorization(token, SALT, signed);
    }

    function testFuzz_a_signed_deposit_cannot_be_turned_to_another_salt(bytes32 other) external {
        vm.assume(other != SALT);
        Authorization memory signed = authorization(token, "ann", SALT, 10, "n");
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009InvalidSignature.selector));
        vault.depositWithAuthorization(token, other, signed);
    }

    function testFuzz_a_signed_deposit_cannot_be_used_past_the_vault(address caller) external {
        Authorization memory signed = authorization(token, "ann", SALT, 10, "n");
        address to = vault.depositAddress(SALT);
        vault.sweep(token, one(SALT));
        if (caller != to) {
            vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, to));
            vm.prank(caller);
            token.receiveWithAuthorization(
                ann, to, 10, 0, type(uint40).max, "n", signed.v, signed.r, signed.s
            );
        }
        if (caller != address(vault)) {
            vm.expectRevert(abi.encodeWithSelector(DepositAddress.CallerNotVault.selector, caller));
            vm.prank(caller);
            DepositAddress(to).receiveWithAuthorization(IERC3009(address(token)), signed);
        }
    }

    function test_what_lay_at_the_address_comes_along() external {
        token.mint(vault.depositAddress(SALT), 7);
        vm.expectEmit(true, true, true, true, address(vault));
        emit Vault.Swept(token, vault.depositAddress(SALT), SALT, 17);
        vault.depositWithAuthorization(token, SALT, authorization(token, "ann", SALT, 10, "n"));
        assertEq(token.balanceOf(address(vault)), HELD + 17);
    }

    function test_a_deposit_works_while_paused_because_money_only_comes_in() external {
        vm.prank(guardian);
        vault.pause();
        vault.depositWithAuthorization(token, SALT, authorization(token, "ann", SALT, 10, "n"));
        assertEq(token.balanceOf(address(vault)), HELD + 10);
    }

    function test_a_frozen_holders_deposit_is_refused() external {
        token.freeze(ann);
        Authorization memory signed = authorization(token, "ann", SALT, 10, "n");
        vm.expectRevert(abi.encodeWithSelector(StableToken.AccountFrozen.selector, ann));
        vault.depositWithAuthorization(token, SALT, signed);
    }

    function test_a_token_that_accepts_any_signature_and_brings_nothing_is_no_deposit() external {
        AgreeingToken odd = new AgreeingToken();
        vm.expectRevert(abi.encodeWithSelector(Vault.NothingReceived.selector, odd, ann));
        vault.depositWithAuthorization(odd, SALT, unsigned(ann, 10));
    }

    function test_a_deposit_says_what_came_and_not_what_was_signed() external {
        PartialToken odd = new PartialToken();
        vm.expectEmit(true, true, true, true, address(vault));
        emit Vault.DepositReceived(odd, vault.depositAddress(SALT), SALT, ann, 5, "unsigned");
        vault.depositWithAuthorization(odd, SALT, unsigned(ann, 10));
    }

    function test_a_token_that_calls_back_makes_no_second_deposit_and_no_sweep_inside_the_first() external {
        CallingBackDepositToken odd = new CallingBackDepositToken(vault);
        bytes32 other = "another wallet";
        // What a sweep inside would find.
        odd.mint(vault.depositAddress(other), 3);
        vault.depositWithAuthorization(odd, SALT, unsigned(ann, 10));
        bytes4 guarded = ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector;
        require(odd.depositRefused() == guarded, "a deposit inside");
        require(odd.sweepRefused() == guarded, "a sweep inside");
        assertEq(odd.balanceOf(address(vault)), 10);
        assertEq(odd.balanceOf(vault.depositAddress(other)), 3);
    }
}
