// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Payment} from "../src/Vault.sol";
import {VaultTestCase} from "./VaultStage.sol";

/**
 * @dev What each action costs, written to `snapshots/Gas.json` when forge runs isolated: every call is then a
 * transaction of its own, with its intrinsic gas and cold storage. Amounts are of a size that fits the bucket.
 */
contract GasTest is VaultTestCase {
    uint256 private constant BATCH = 40;

    function setUp() public override {
        super.setUp();
        change(abi.encodeCall(vault.setRateLimit, (token, CAPACITY * 1_000, WINDOW)));
        // A first withdrawal makes the bucket's storage, which every later one finds.
        withdraw(bob, 5, "w0");
    }

    function test_gas_of_withdrawals() external {
        withdraw(ann, 5, "w1");
        measured("withdraw, new holder");
        withdraw(ann, 5, "w2");
        measured("withdraw, known holder");
        approve(ann, HELD / 2 + CAPACITY * 400, "w3");
        measured("approve a withdrawal");
    }

    function test_gas_of_an_approved_withdrawal() external {
        vm.prank(admin);
        vault.setRateLimit(token, 0, WINDOW);
        approve(bob, 500, "w1");
        withdraw(bob, 500, "w1");
        measured("withdraw with an approval, known holder");
    }

    function test_gas_of_batches() external {
        pay(batch(1, 0, false));
        measured("withdraw a batch of 1, new holder");
        pay(batch(BATCH, 100, false));
        measured("withdraw a batch of 40, new holders");
        pay(batch(BATCH, 100, true));
        measured("withdraw a batch of 40, known holders");
    }

    function test_gas_of_a_batch_with_a_refused_payment() external {
        pay(batch(2, 0, false));
        token.freeze(holder(1));
        pay(batch(2, 0, true));
        measured("withdraw a batch of 2, known holders, one frozen");
    }

    function test_gas_of_sweeps() external {
        token.mint(vault.depositAddress("salt"), 5);
        vault.sweep(token, one("salt"));
        measured("sweep 1, first time");
        token.mint(vault.depositAddress("salt"), 5);
        vault.sweep(token, one("salt"));
        measured("sweep 1, later");
        vault.sweep(token, funded());
        measured("sweep 40, first time");
        vault.sweep(token, funded());
        measured("sweep 40, later");
    }

    function test_gas_of_signed_deposits() external {
        token.mint(ann, 1_000);
        vault.depositWithAuthorization(token, "salt", authorization(token, "ann", "salt", 5, "n1"));
        measured("signed deposit, first time");
        vault.depositWithAuthorization(token, "salt", authorization(token, "ann", "salt", 5, "n2"));
        measured("signed deposit, later");
    }

    function test_gas_of_a_move_to_cold() external {
        vm.prank(withdrawer);
        vault.moveToCold(token, 5, "m1");
        measured("move to cold, new holder");
        vm.prank(withdrawer);
        vault.moveToCold(token, 5, "m2");
        measured("move to cold, known holder");
    }

    function test_gas_of_the_token() external {
        token.mint(ann, 1_000);
        measured("mint, new holder");
        token.mint(ann, 1_000);
        measured("mint, known holder");
        vm.prank(ann);
        token.transfer(person("carl"), 5);
        measured("transfer, new holder");
        vm.prank(ann);
        token.transfer(bob, 5);
        measured("transfer, known holder");
    }

    function measured(string memory name) private {
        vm.snapshotGasLastCall("Gas", name);
    }

    function holder(uint256 number) private pure returns (address) {
        return address(uint160(0x1000 + number));
    }

    function batch(uint256 size, uint256 first, bool again) private pure returns (Payment[] memory payments) {
        payments = new Payment[](size);
        for (uint256 i = 0; i < size; i++) {
            payments[i] = Payment(holder(first + i), 5, keccak256(abi.encode(first + i, again)));
        }
    }

    function funded() private returns (bytes32[] memory salts) {
        salts = new bytes32[](BATCH);
        for (uint256 i = 0; i < BATCH; i++) {
            salts[i] = bytes32(1_000 + i);
            token.mint(vault.depositAddress(salts[i]), 5);
        }
    }
}
