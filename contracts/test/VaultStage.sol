// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Authorization} from "../src/DepositAddress.sol";
import {DelayedAdministration} from "../src/DelayedAdministration.sol";
import {StableToken} from "../src/StableToken.sol";
import {Payment, Vault} from "../src/Vault.sol";
import {Cheats} from "./Cheats.sol";

/// @dev A vault as in production, with a delay and a key for each role, and a token with money in it.
abstract contract VaultStage is Cheats {
    Vault internal vault;
    StableToken internal token;
    address internal admin = person("admin");
    address internal withdrawer = person("withdrawer");
    address internal approver = person("approver");
    address internal guardian = person("guardian");
    address internal ann = person("ann");
    address internal bob = person("bob");
    address internal cold = person("cold");

    uint208 internal constant CAPACITY = 1_000;
    uint48 internal constant WINDOW = 1 hours;
    uint48 internal constant DELAY = 1 days;
    uint256 internal constant HELD = 1_000_000;

    bytes32 internal constant RECEIVE = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );

    /// @dev Set the stage. Not public: a play's public functions are all called at random.
    function stage() internal {
        vm.warp(1_800_000_000);
        vault = new Vault(DELAY, admin);
        token = newToken();
        token.mint(address(vault), HELD);
        bytes[] memory changes = new bytes[](4);
        changes[0] = abi.encodeCall(vault.grantRole, (vault.WITHDRAWER_ROLE(), withdrawer));
        changes[1] = abi.encodeCall(vault.grantRole, (vault.APPROVER_ROLE(), approver));
        changes[2] = abi.encodeCall(vault.setRateLimit, (token, CAPACITY, WINDOW));
        changes[3] = abi.encodeCall(vault.setColdAddress, (cold));
        vm.startPrank(admin);
        vault.grantRole(vault.GUARDIAN_ROLE(), guardian);
        vm.stopPrank();
        change(changes);
    }

    /// @dev A token whose issuer is this contract, in every role.
    function newToken() internal returns (StableToken made) {
        made = new StableToken("Dollar", "USDT", 6, 0, address(this));
        made.grantRole(made.MASTER_MINTER_ROLE(), address(this));
        made.grantRole(made.FREEZER_ROLE(), address(this));
        made.grantRole(made.PAUSER_ROLE(), address(this));
        made.configureMinter(address(this), type(uint256).max);
    }

    /// @dev Announce changes, wait, make them.
    function change(bytes[] memory calls) internal {
        vm.startPrank(admin);
        for (uint256 i = 0; i < calls.length; i++) {
            vault.scheduleChange(calls[i]);
        }
        vm.warp(block.timestamp + DELAY);
        for (uint256 i = 0; i < calls.length; i++) {
            make(calls[i]);
        }
        vm.stopPrank();
    }

    function change(bytes memory call) internal {
        bytes[] memory calls = new bytes[](1);
        calls[0] = call;
        change(calls);
    }

    /// @dev Make a call on the vault; a refusal is passed on.
    function make(bytes memory call) internal {
        (bool done, bytes memory answer) = address(vault).call(call);
        if (!done) {
            assembly {
                revert(add(answer, 32), mload(answer))
            }
        }
    }

    /// @dev Give another token a bucket of the usual size, and the vault some of it.
    function admit(address odd) internal {
        change(abi.encodeCall(vault.setRateLimit, (IERC20(odd), CAPACITY, WINDOW)));
        StableToken(odd).mint(address(vault), HELD);
    }

    function withdraw(address to, uint256 amount, bytes32 id) internal {
        vm.prank(withdrawer);
        vault.withdraw(token, to, amount, id);
    }

    function approve(address to, uint256 amount, bytes32 id) internal {
        vm.prank(approver);
        vault.approveWithdrawal(token, to, amount, id);
    }

    function pay(Payment[] memory payments) internal {
        vm.prank(withdrawer);
        vault.withdrawBatch(token, payments);
    }

    function three(address second) internal view returns (Payment[] memory payments) {
        payments = new Payment[](3);
        payments[0] = Payment(ann, 100, "w1");
        payments[1] = Payment(second, 200, "w2");
        payments[2] = Payment(bob, 300, "w3");
    }

    function one(bytes32 salt) internal pure returns (bytes32[] memory salts) {
        salts = new bytes32[](1);
        salts[0] = salt;
    }

    /// @dev What `who` signs so that `value` of `token_` goes to the deposit address of `salt`.
    function authorization(StableToken token_, string memory who, bytes32 salt, uint256 value, bytes32 nonce)
        internal
        view
        returns (Authorization memory made)
    {
        made = Authorization(person(who), value, 0, type(uint40).max, nonce, 0, 0, 0);
        bytes32 structHash = keccak256(
            abi.encode(RECEIVE, made.from, vault.depositAddress(salt), value, 0, made.validBefore, nonce)
        );
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", token_.DOMAIN_SEPARATOR(), structHash));
        (made.v, made.r, made.s) = vm.sign(key(who), digest);
    }

    function notScheduled(bytes memory call) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(DelayedAdministration.ChangeNotScheduled.selector, keccak256(call));
    }
}

/// @dev The stage, set before each test.
abstract contract VaultTestCase is VaultStage {
    function setUp() public virtual {
        stage();
    }
}
