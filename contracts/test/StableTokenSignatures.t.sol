// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {StableToken} from "../src/StableToken.sol";
import {Cheats} from "./Cheats.sol";

/// @dev Movements by signature: EIP-2612 and EIP-3009.
contract StableTokenSignaturesTest is Cheats {
    StableToken private token;
    address private ann = person("ann");
    address private bob = person("bob");

    bytes32 private constant PERMIT =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
    bytes32 private constant TRANSFER = keccak256(
        "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );
    bytes32 private constant RECEIVE = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );
    bytes32 private constant CANCEL = keccak256("CancelAuthorization(address authorizer,bytes32 nonce)");

    function setUp() external {
        vm.warp(1_800_000_000);
        token = new StableToken("Dollar", "USDT", 6, 0, address(this));
        token.grantRole(token.MASTER_MINTER_ROLE(), address(this));
        token.grantRole(token.FREEZER_ROLE(), address(this));
        token.configureMinter(address(this), 1_000);
        token.mint(ann, 1_000);
    }

    function testFuzz_permit_sets_the_allowance_once(uint256 value) external {
        (uint8 v, bytes32 r, bytes32 s) =
            signed("ann", keccak256(abi.encode(PERMIT, ann, bob, value, uint256(0), block.timestamp)));
        token.permit(ann, bob, value, block.timestamp, v, r, s);
        assertEq(token.allowance(ann, bob), value);
        bool again = tryPermit(value, block.timestamp, v, r, s);
        require(!again, "a permit was used twice");
    }

    function test_permit_after_its_deadline_is_refused() external {
        uint256 deadline = block.timestamp - 1;
        (uint8 v, bytes32 r, bytes32 s) =
            signed("ann", keccak256(abi.encode(PERMIT, ann, bob, uint256(5), uint256(0), deadline)));
        vm.expectRevert(abi.encodeWithSelector(ERC20Permit.ERC2612ExpiredSignature.selector, deadline));
        token.permit(ann, bob, 5, deadline, v, r, s);
    }

    function testFuzz_transfer_by_authorization_moves_the_amount_once(uint256 value, bytes32 nonce) external {
        value = bound(value, 0, 1_000);
        (uint8 v, bytes32 r, bytes32 s) = authorized(TRANSFER, bob, value, nonce);
        token.transferWithAuthorization(ann, bob, value, 0, type(uint40).max, nonce, v, r, s);
        assertEq(token.balanceOf(bob), value);
        require(token.authorizationState(ann, nonce), "the nonce is not used");
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, ann, nonce));
        token.transferWithAuthorization(ann, bob, value, 0, type(uint40).max, nonce, v, r, s);
    }

    function test_transfer_by_authorization_of_another_amount_is_refused() external {
        (uint8 v, bytes32 r, bytes32 s) = authorized(TRANSFER, bob, 10, bytes32("n"));
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009InvalidSignature.selector));
        token.transferWithAuthorization(ann, bob, 11, 0, type(uint40).max, bytes32("n"), v, r, s);
    }

    function test_transfer_by_authorization_of_a_frozen_holder_is_refused() external {
        token.freeze(ann);
        (uint8 v, bytes32 r, bytes32 s) = authorized(TRANSFER, bob, 10, bytes32("n"));
        vm.expectRevert(abi.encodeWithSelector(StableToken.AccountFrozen.selector, ann));
        token.transferWithAuthorization(ann, bob, 10, 0, type(uint40).max, bytes32("n"), v, r, s);
    }

    function test_receive_by_authorization_is_only_for_the_receiver() external {
        (uint8 v, bytes32 r, bytes32 s) = authorized(RECEIVE, bob, 10, bytes32("n"));
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, bob));
        token.receiveWithAuthorization(ann, bob, 10, 0, type(uint40).max, bytes32("n"), v, r, s);
        vm.prank(bob);
        token.receiveWithAuthorization(ann, bob, 10, 0, type(uint40).max, bytes32("n"), v, r, s);
        assertEq(token.balanceOf(bob), 10);
    }

    function test_a_cancelled_authorization_moves_nothing() external {
        (uint8 v, bytes32 r, bytes32 s) = signed("ann", keccak256(abi.encode(CANCEL, ann, bytes32("n"))));
        token.cancelAuthorization(ann, bytes32("n"), v, r, s);
        (v, r, s) = authorized(TRANSFER, bob, 10, bytes32("n"));
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, ann, bytes32("n")));
        token.transferWithAuthorization(ann, bob, 10, 0, type(uint40).max, bytes32("n"), v, r, s);
        assertEq(token.balanceOf(ann), 1_000);
    }

    function tryPermit(uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s) private returns (bool) {
        try token.permit(ann, bob, value, deadline, v, r, s) {
            return true;
        } catch {
            return false;
        }
    }

    function authorized(bytes32 kind, address to, uint256 value, bytes32 nonce)
        private
        view
        returns (uint8, bytes32, bytes32)
    {
        return signed(
            "ann", keccak256(abi.encode(kind, ann, to, value, uint256(0), uint256(type(uint40).max), nonce))
        );
    }

    function signed(string memory who, bytes32 structHash) private view returns (uint8, bytes32, bytes32) {
        return vm.sign(key(who), keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), structHash)));
    }
}
