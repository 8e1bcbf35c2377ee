// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {Authorization} from "../src/DepositAddress.sol";
import {Payment, Vault} from "../src/Vault.sol";

/// @dev A token that anybody may mint, for tests.
abstract contract OpenToken is ERC20("Odd", "ODD") {
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}

/// @dev Takes a part of what is moved for itself: the receiver gets less, the sender gives as much as told.
contract FeeToken is OpenToken {
    uint256 public constant FEE_PERCENT = 1;

    function _update(address from, address to, uint256 value) internal override {
        uint256 fee = from == address(0) || to == address(0) ? 0 : (value * FEE_PERCENT) / 100;
        super._update(from, to, value - fee);
        if (fee > 0) super._update(from, address(0), fee);
    }
}

/// @dev Takes a part on top: the sender gives more than told.
contract GreedyToken is OpenToken {
    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        if (from != address(0) && to != address(0)) super._update(from, address(0), 1);
    }
}

/// @dev Gives the sender tokens instead of taking them.
contract GivingToken is OpenToken {
    function transfer(address, uint256 value) public override returns (bool) {
        _mint(msg.sender, value);
        return true;
    }
}

/// @dev Answers that it has moved what it has not.
contract LyingToken is OpenToken {
    function transfer(address, uint256) public pure override returns (bool) {
        return true;
    }
}

/// @dev Answers false to some receivers instead of reverting; moves nothing then.
contract RefusingToken is OpenToken {
    mapping(address account => bool) public refuses;

    function setRefuses(address account, bool refused) external {
        refuses[account] = refused;
    }

    function transfer(address to, uint256 value) public override returns (bool) {
        return refuses[to] ? false : super.transfer(to, value);
    }
}

/// @dev Calls the vault back while it is being moved, by every way that moves money, and counts what worked:
/// apart, what takes out and what anybody may do at any time, which is to sweep.
contract CallingBackToken is OpenToken {
    Vault private immutable VAULT;
    uint256 public tookOut;
    uint256 public sweptInside;
    bool private _inside;

    constructor(Vault vault) {
        VAULT = vault;
    }

    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        if (_inside || from == address(0)) return;
        _inside = true;
        bytes32 id = bytes32(uint256(uint160(to)) + block.timestamp);
        Payment[] memory payments = new Payment[](1);
        payments[0] = Payment(to, 1, id);
        tookOut += attempt(abi.encodeCall(Vault.withdraw, (IERC20(address(this)), to, 1, id)));
        tookOut += attempt(abi.encodeCall(Vault.withdrawBatch, (IERC20(address(this)), payments)));
        tookOut += attempt(abi.encodeCall(Vault.payInBatch, (IERC20(address(this)), to, 1, id)));
        tookOut += attempt(abi.encodeCall(Vault.moveToCold, (IERC20(address(this)), 1, id)));
        sweptInside += attempt(abi.encodeCall(Vault.sweep, (IERC20(address(this)), new bytes32[](1))));
        _inside = false;
    }

    function attempt(bytes memory call) private returns (uint256) {
        (bool done,) = address(VAULT).call(call);
        return done ? 1 : 0;
    }
}

/// @dev Burns all the gas it gets when it is to pay one receiver.
contract GasBurningToken is OpenToken {
    address private immutable VICTIM;

    constructor(address victim) {
        VICTIM = victim;
    }

    function _update(address from, address to, uint256 value) internal override {
        if (to == VICTIM) {
            assembly {
                invalid()
            }
        }
        super._update(from, to, value);
    }
}

/// @dev Refuses one receiver with a reason longer than anybody wants to read.
contract LongWindedToken is OpenToken {
    address private immutable VICTIM;

    constructor(address victim) {
        VICTIM = victim;
    }

    function _update(address from, address to, uint256 value) internal override {
        if (to == VICTIM) {
            assembly {
                revert(0, 4096)
            }
        }
        super._update(from, to, value);
    }
}

/// @dev Answers every call and does nothing, as wrapped ether answers calls that it does not know.
contract AgreeingToken is OpenToken {
    fallback() external {}
}

/// @dev Accepts any signature and delivers a part of what it is for.
contract PartialToken is OpenToken {
    function receiveWithAuthorization(
        address,
        address to,
        uint256 value,
        uint256,
        uint256,
        bytes32,
        uint8,
        bytes32,
        bytes32
    ) external {
        _mint(to, value / 2);
    }
}

/// @dev Takes deposits that nobody signed, and while it does so calls the vault back by every way that is open
/// to anyone. It keeps how each call ended; the first four bytes of what a refused one answered.
contract CallingBackDepositToken is OpenToken {
    Vault private immutable VAULT;
    bytes4 public depositRefused;
    bytes4 public sweepRefused;
    bool private _inside;

    constructor(Vault vault) {
        VAULT = vault;
    }

    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256,
        uint256,
        bytes32,
        uint8,
        bytes32,
        bytes32
    ) external {
        _mint(to, value);
        if (_inside) return;
        _inside = true;
        Authorization memory again = unsigned(from, value);
        bytes32 other = "another wallet";
        depositRefused = refusal(abi.encodeCall(Vault.depositWithAuthorization, (IERC20(address(this)), other, again)));
        bytes32[] memory salts = new bytes32[](1);
        salts[0] = other;
        sweepRefused = refusal(abi.encodeCall(Vault.sweep, (IERC20(address(this)), salts)));
        _inside = false;
    }

    function refusal(bytes memory call) private returns (bytes4) {
        (bool done, bytes memory answer) = address(VAULT).call(call);
        // The selector of an error is its first four bytes.
        // forge-lint: disable-next-line(unsafe-typecast)
        return done ? bytes4(0) : bytes4(answer);
    }
}

/// @dev Everything that a stranger may want to try, as one authorization that nobody signed.
function unsigned(address from, uint256 value) pure returns (Authorization memory) {
    return Authorization(from, value, 0, type(uint40).max, "unsigned", 27, bytes32(0), bytes32(0));
}
