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
 * @dev Proofs by halmos: it runs each `check_` function once with every argument unknown, and looks for any
 * values at all for which a `require` of it fails. Forge does not run them.
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
        uint256 held = token.balanceOf(address(vault)) + token.balanceOf(cold);
        require(held + CAPACITY >= HELD, "more than the bucket left");
    }

    /// @dev An id was paid; then anybody makes any call; then the withdrawer asks for the id again, anyhow.
    function check_an_id_pays_once(address caller, address to, uint256 amount, bytes32 id) external {
        withdraw(ann, 1, id);
        anyCall(caller);
        vm.prank(withdrawer);
        try vault.withdraw(token, to, amount, id) {
            require(false, "an id paid twice");
        } catch {}
    }

    /// @dev Anybody makes any call of a deposit address: what it loses the vault gains.
    function check_a_deposit_address_pays_only_the_vault(address caller, uint256 amount) external {
        vm.assume(amount <= type(uint128).max);
        vault.sweep(token, one("salt"));
        address clone = vault.depositAddress("salt");
        token.mint(clone, amount);
        bytes memory data = svm.createCalldata("DepositAddress");
        vm.prank(caller);
        (bool done,) = clone.call(data);
        done;
        require(token.balanceOf(clone) + token.balanceOf(address(vault)) == HELD + amount, "it went elsewhere");
    }

    function anyCall(address caller) private {
        bytes memory data = svm.createCalldata("Vault");
        vm.prank(caller);
        (bool done,) = address(vault).call(data);
        done;
    }
}
