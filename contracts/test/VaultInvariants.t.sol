// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {StableToken} from "../src/StableToken.sol";
import {Vault} from "../src/Vault.sol";
import {Cheats} from "./Cheats.sol";

/**
 * @dev Plays customers, the withdrawer, the guardian, the administrator and a stranger in random
 * order, and counts what must hold whatever they do.
 */
contract VaultPlay is Cheats {
    Vault public immutable vault;
    StableToken public immutable token;

    uint256 public deposited;
    uint256 public withdrawn;
    uint256 public startedAt;
    uint256 public payments;
    uint256 public doublePayments;
    uint256 public strangersPayments;

    uint208 public constant CAPACITY = 1e9;
    uint48 public constant WINDOW = 1 hours;
    uint256 public constant SALTS = 8;

    address private outside = person("outside");

    constructor() {
        vm.warp(1_800_000_000);
        startedAt = block.timestamp;
        vault = new Vault(0, address(this));
        token = new StableToken("Dollar", "USDT", 6, 0, address(this));
        token.grantRole(token.MINTER_ROLE(), address(this));
        vault.grantRole(vault.WITHDRAWER_ROLE(), address(this));
        vault.grantRole(vault.GUARDIAN_ROLE(), address(this));
        vault.setRateLimit(token, CAPACITY, WINDOW);
    }

    function deposit(uint256 salt, uint256 amount) external {
        amount = bound(amount, 1, 1e10);
        token.mint(vault.depositAddress(bytes32(bound(salt, 0, SALTS - 1))), amount);
        deposited += amount;
    }

    function sweep(uint256 first, uint256 second) external {
        bytes32[] memory salts = new bytes32[](2);
        salts[0] = bytes32(bound(first, 0, SALTS - 1));
        salts[1] = bytes32(bound(second, 0, SALTS - 1));
        vault.sweep(token, salts);
    }

    /// @dev Ids come from a small set, so that most of them are asked for several times.
    function withdraw(uint256 amount, uint256 id) external {
        amount = bound(amount, 1, CAPACITY);
        bytes32 withdrawalId = bytes32(bound(id, 0, 63));
        bool paidBefore = vault.paid(withdrawalId);
        try vault.withdraw(token, outside, amount, withdrawalId) {
            withdrawn += amount;
            payments += 1;
            if (paidBefore) {
                doublePayments += 1;
            }
        } catch {
            // Refused: by the bucket, the balance, the pause or the id. Nothing may have moved.
        }
    }

    function strangerWithdraws(uint256 amount, uint256 id) external {
        vm.prank(outside);
        try vault.withdraw(token, outside, bound(amount, 1, CAPACITY), bytes32(id)) {
            strangersPayments += 1;
        } catch {}
    }

    function strangerSweepsAClone(uint256 salt) external {
        address clone = vault.depositAddress(bytes32(bound(salt, 0, SALTS - 1)));
        vm.prank(outside);
        (bool done,) = clone.call(abi.encodeWithSignature("sweep(address)", token));
        require(done, "a call to an address without code, or a sweep of a clone, cannot fail");
    }

    function pauseOrResume() external {
        if (vault.paused()) vault.unpause();
        else vault.pause();
    }

    function waitSome(uint256 elapsed) external {
        vm.warp(block.timestamp + bound(elapsed, 1, WINDOW / 60));
    }

    function inDepositAddresses() external view returns (uint256 total) {
        for (uint256 i = 0; i < SALTS; i++) {
            total += token.balanceOf(vault.depositAddress(bytes32(i)));
        }
    }

    function outsideBalance() external view returns (uint256) {
        return token.balanceOf(outside);
    }
}

contract VaultInvariants is Cheats {
    VaultPlay private play;

    function setUp() external {
        play = new VaultPlay();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(play);
    }

    function invariant_custody_equals_deposits_minus_withdrawals() external view {
        uint256 held = play.token().balanceOf(address(play.vault())) + play.inDepositAddresses();
        assertEq(held, play.deposited() - play.withdrawn());
        assertEq(play.outsideBalance(), play.withdrawn());
    }

    function invariant_no_more_leaves_than_one_bucket_and_its_refill() external view {
        uint256 refill = ((block.timestamp - play.startedAt()) * play.CAPACITY()) / play.WINDOW();
        require(play.withdrawn() <= play.CAPACITY() + refill, "more than the bucket left");
    }

    function invariant_an_id_pays_once_and_a_stranger_never() external view {
        assertEq(play.doublePayments(), 0);
        assertEq(play.strangersPayments(), 0);
    }
}
