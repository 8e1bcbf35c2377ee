// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {CallingBackToken} from "./OddTokens.sol";
import {Cheats} from "./Cheats.sol";
import {VaultPlay} from "./VaultPlay.sol";

contract VaultInvariants is Cheats {
    VaultPlay private play;

    function setUp() external {
        play = new VaultPlay();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(play);
    }

    /// @dev Of every token: what came, less what went out and what the token itself took on sweeps, is held.
    function invariant_custody_equals_deposits_minus_withdrawals() external view {
        for (uint256 i = 0; i < play.TOKENS(); i++) {
            assertEq(play.custody(i) + play.left(i) + play.feesOnSweeps(i), play.minted(i));
        }
    }

    /// @dev Only the token that takes fees lost anything on the way in.
    function invariant_nothing_is_lost_on_the_way_in() external view {
        for (uint256 i = 0; i < play.TOKENS(); i++) {
            if (i != play.FEE()) assertEq(play.feesOnSweeps(i), 0);
        }
    }

    /// @dev The bucket is never fuller than an independent sum of it; each payment was held against that sum.
    function invariant_no_bucket_allows_more_than_its_capacity_and_refill() external view {
        for (uint256 i = 0; i < play.TOKENS(); i++) {
            require(play.vault_().withdrawable(play.tokens(i)) <= play.inBucket(i), "the bucket is too full");
        }
    }

    function invariant_a_token_that_calls_back_takes_nothing_out() external view {
        assertEq(CallingBackToken(address(play.tokens(play.TOKENS() - 1))).tookOut(), 0);
    }
}

/// @dev The play is worth something only if it pays, refuses and uses approvals: three steps that do.
contract VaultPlayTest is Cheats {
    function test_the_play_pays_refuses_and_uses_approvals() external {
        VaultPlay play = new VaultPlay();
        play.payOne(0, 0, 499, 1);
        play.payOne(0, 0, 499, 1);
        play.approveAndPay(1, 1, 3 * 1_000, 2, false);
        play.approveAndPay(1, 1, 3 * 1_000, 3, true);
        assertEq(play.payments(), 2);
        assertEq(play.approvedPayments(), 1);
        assertEq(play.refusals(), 2);
    }
}
