// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DepositAddress} from "../src/DepositAddress.sol";
import {Vault} from "../src/Vault.sol";
import {VaultTestCase} from "./VaultStage.sol";

/// @notice What halmos offers beyond forge's cheatcodes: values that stand for every value at once.
interface SVM {
    function createCalldata(string calldata contractName) external returns (bytes memory data);
}

/**
 * @dev Proofs by halmos: it runs each function once with every argument unknown, and looks for any values at
 * all for which an `assert` fails (a failing `require` is an ordinary refusal to it). A `check_` holds if it
 * finds none. A `refute_` is false on purpose, and halmos must find out: else the proofs would prove nothing.
 * Forge does not run them.
 */
contract VaultSymbolic is VaultTestCase {
    SVM private constant svm = SVM(address(uint160(uint256(keccak256("svm cheat code")))));

    /**
     * @dev The withdrawer has taken any amount it may; then anybody (each key, each contract, a stranger)
     * makes any call of the vault. No more than the bucket has left, but for the cold address.
     */
    function check_nobody_takes_out_beyond_the_bucket(address caller, uint256 first) external {
        vm.assume(first > 0 && first <= CAPACITY);
        withdraw(ann, first, "w1");
        anyCall(caller);
        assert(token.balanceOf(address(vault)) + token.balanceOf(cold) + CAPACITY >= HELD);
    }

    /// @dev An id was paid; then anybody makes any call; then the withdrawer asks for the id again, anyhow.
    function check_an_id_pays_once(address caller, address to, uint256 amount, bytes32 id) external {
        withdraw(ann, 1, id);
        anyCall(caller);
        vm.prank(withdrawer);
        (bool done,) = address(vault).call(abi.encodeCall(vault.withdraw, (token, to, amount, id)));
        assert(!done);
    }

    /// @dev Anybody makes any call of a deposit address: what it loses the vault gains.
    function check_a_deposit_address_pays_only_the_vault(address caller, uint256 amount) external {
        address clone = anyCallOfAClone(caller, amount);
        assert(token.balanceOf(clone) + token.balanceOf(address(vault)) == HELD + amount);
    }

    function refute_no_call_takes_anything_out(address caller) external {
        anyCall(caller);
        assert(token.balanceOf(address(vault)) + token.balanceOf(cold) >= HELD);
    }

    function refute_another_id_pays_nothing(address to, uint256 amount, bytes32 id) external {
        withdraw(ann, 1, "w1");
        vm.prank(withdrawer);
        (bool done,) = address(vault).call(abi.encodeCall(vault.withdraw, (token, to, amount, id)));
        assert(!done);
    }

    function refute_a_deposit_address_keeps_what_it_has(address caller, uint256 amount) external {
        assert(token.balanceOf(anyCallOfAClone(caller, amount)) == amount);
    }

    /// @dev Makes any call of the vault as `caller`, who may be anybody; refused or not.
    function anyCall(address caller) private {
        bytes memory data = svm.createCalldata("Vault");
        vm.prank(caller);
        (bool done,) = address(vault).call(data);
        done;
    }

    /// @dev Makes any call of a deposit address that holds `amount`, as `caller`; refused or not.
    function anyCallOfAClone(address caller, uint256 amount) private returns (address clone) {
        vm.assume(amount <= type(uint128).max);
        vault.sweep(token, one("salt"));
        clone = vault.depositAddress("salt");
        token.mint(clone, amount);
        bytes memory data = svm.createCalldata("DepositAddress");
        vm.prank(caller);
        (bool done,) = clone.call(data);
        done;
    }
}
