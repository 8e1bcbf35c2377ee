// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Authorization} from "../src/DepositAddress.sol";
import {StableToken} from "../src/StableToken.sol";
import {Payment, Vault} from "../src/Vault.sol";
import {CallingBackToken, FeeToken, RefusingToken} from "./OddTokens.sol";
import {Vm} from "./Cheats.sol";
import {VaultStage} from "./VaultStage.sol";

/**
 * @dev Plays customers, the keys, the issuers and strangers in random order, over two good tokens and three
 * bad ones, and keeps its own books of what must then be true. What must hold at a step is required at that
 * step (forge counts a revert as a failure); what must hold always is in `VaultInvariants`.
 */
contract VaultPlay is VaultStage {
    uint256 public constant TOKENS = 5;
    uint256 public constant FEE = 2;
    uint256 public constant REFUSING = 3;
    uint256 public constant SALTS = 6;
    uint256 private constant IDS = 48;

    /// @dev What this play knows of a token's bucket, by its own sum.
    struct Bucket {
        uint256 capacity;
        uint256 window;
        uint256 used;
        uint256 at;
    }

    StableToken[TOKENS] public tokens;
    address[4] public people;

    mapping(uint256 token => uint256) public minted;
    mapping(uint256 token => uint256) public left;
    mapping(uint256 token => uint256) public feesOnSweeps;
    mapping(uint256 token => Bucket) private _buckets;
    mapping(bytes32 id => bool) private _paid;
    mapping(bytes32 id => bool) private _moved;
    mapping(bytes32 digest => uint256) private _approvedUntil;
    bytes[] private _announced;
    uint256 private _nonce;
    uint256 public payments;
    uint256 public approvedPayments;
    uint256 public refusals;

    constructor() {
        stage();
        people = [ann, bob, person("carl"), person("dora")];
        tokens = [
            token,
            newToken(),
            StableToken(address(new FeeToken())),
            StableToken(address(new RefusingToken())),
            StableToken(address(new CallingBackToken(vault)))
        ];
        minted[0] = HELD;
        for (uint256 i = 1; i < TOKENS; i++) {
            admit(address(tokens[i]));
            minted[i] = HELD;
        }
        for (uint256 i = 0; i < TOKENS; i++) {
            _buckets[i] = Bucket(CAPACITY, WINDOW, 0, block.timestamp);
        }
    }

    // --- what customers do

    function deposit(uint256 which, uint256 salt, uint256 amount) external {
        (which, salt) = (bound(which, 0, TOKENS - 1), bound(salt, 0, SALTS - 1));
        amount = bound(amount, 1, 10 * CAPACITY);
        try tokens[which].mint(vault.depositAddress(bytes32(salt)), amount) {
            minted[which] += amount;
        } catch {
            require(which < FEE, "only an issuer refuses");
        }
    }

    /// @dev By signature; the holder's tokens are new, so all that comes is counted as minted.
    function signDeposit(uint256 which, uint256 salt, uint256 amount) external {
        (which, salt) = (bound(which, 0, FEE - 1), bound(salt, 0, SALTS - 1));
        amount = bound(amount, 1, 10 * CAPACITY);
        StableToken made = tokens[which];
        made.mint(person("holder"), amount);
        Authorization memory signed = authorization(made, "holder", bytes32(salt), amount, bytes32(++_nonce));
        uint256 before = custody(which);
        try vault.depositWithAuthorization(made, bytes32(salt), signed) {
            minted[which] += amount;
            assertEq(custody(which), before + amount);
        } catch {
            assertEq(custody(which), before);
        }
    }

    function sweep(uint256 which, uint256 first, uint256 second) external {
        which = bound(which, 0, TOKENS - 1);
        bytes32[] memory salts = new bytes32[](2);
        salts[0] = bytes32(bound(first, 0, SALTS - 1));
        salts[1] = bytes32(bound(second, 0, SALTS - 1));
        (uint256 before, uint256 inVault) = (custody(which), tokens[which].balanceOf(address(vault)));
        try vault.sweep(tokens[which], salts) {
            feesOnSweeps[which] += before - custody(which);
            require(tokens[which].balanceOf(address(vault)) >= inVault, "a sweep took out");
        } catch {
            require(which < FEE, "only an issuer refuses");
        }
    }

    // --- what the keys do

    /// @dev Mostly what the bucket may allow; one in four far beyond it.
    function payOne(uint256 which, uint256 to, uint256 amount, uint256 id) external {
        askFor(bound(which, 0, TOKENS - 1), toPayment(to, amount % 4 == 0 ? amount : amount % CAPACITY, id));
    }

    function askFor(uint256 which, Payment memory payment) private {
        uint256 before = custody(which);
        vm.prank(withdrawer);
        try vault.withdraw(tokens[which], payment.to, payment.amount, payment.withdrawalId) {
            book(which, payment);
            assertEq(custody(which), before - payment.amount);
        } catch {
            refusals += 1;
            assertEq(custody(which), before);
        }
    }

    /// @dev The events of a batch are all that its sender knows: they must be the whole truth.
    function payBatch(uint256 which, uint256[4] calldata to, uint256[4] calldata amount, uint256[4] calldata id)
        external
    {
        which = bound(which, 0, TOKENS - 1);
        Payment[] memory batch = new Payment[](4);
        for (uint256 i = 0; i < 4; i++) {
            batch[i] = toPayment(to[i], amount[i] % (CAPACITY / 2), id[i]);
        }
        uint256 before = custody(which);
        vm.recordLogs();
        vm.prank(withdrawer);
        try vault.withdrawBatch(tokens[which], batch) {
            uint256 told = readBatch(which, batch);
            assertEq(before - custody(which), told);
        } catch {
            require(vault.paused(), "a batch is refused whole only while paused");
        }
    }

    function approveOne(uint256 which, uint256 to, uint256 amount, uint256 id) external {
        which = bound(which, 0, TOKENS - 1);
        Payment memory payment = toPayment(to, amount, id);
        vm.prank(approver);
        try vault.approveWithdrawal(tokens[which], payment.to, payment.amount, payment.withdrawalId) {
            _approvedUntil[digest(which, payment)] = block.timestamp + vault.APPROVAL_LIFETIME();
        } catch {
            require(_paid[payment.withdrawalId], "an approval was refused");
        }
    }

    /// @dev What was agreed to is then asked for, mostly: two random asks would seldom meet.
    function approveAndPay(uint256 which, uint256 to, uint256 amount, uint256 id, bool revoked) external {
        amount = bound(amount, 2 * CAPACITY, 50 * CAPACITY);
        this.approveOne(which, to, amount, id);
        if (revoked) this.revokeOne(which, to, amount, id);
        askFor(bound(which, 0, TOKENS - 1), toPayment(to, amount, id));
    }

    function revokeOne(uint256 which, uint256 to, uint256 amount, uint256 id) external {
        which = bound(which, 0, TOKENS - 1);
        Payment memory payment = toPayment(to, amount, id);
        vm.prank(guardian);
        try vault.revokeApproval(tokens[which], payment.to, payment.amount, payment.withdrawalId) {
            delete _approvedUntil[digest(which, payment)];
        } catch {
            require(_approvedUntil[digest(which, payment)] == 0, "an approval stays");
        }
    }

    function moveToCold(uint256 which, uint256 amount, uint256 id, bool byGuardian) external {
        (which, amount) = (bound(which, 0, TOKENS - 1), bound(amount, 1, CAPACITY));
        bytes32 moveId = bytes32(bound(id, 0, IDS - 1));
        uint256 before = tokens[which].balanceOf(address(vault));
        vm.prank(byGuardian ? guardian : withdrawer);
        try vault.moveToCold(tokens[which], amount, moveId) {
            require(!_moved[moveId], "moved twice");
            _moved[moveId] = true;
            left[which] += amount;
            assertEq(tokens[which].balanceOf(address(vault)), before - amount);
        } catch {
            assertEq(tokens[which].balanceOf(address(vault)), before);
        }
    }

    // --- what administrators, issuers and time do

    function setLimit(uint256 which, uint208 capacity, uint48 window) external {
        which = bound(which, 0, TOKENS - 1);
        (capacity, window) = (uint208(bound(capacity, 0, 2 * CAPACITY)), uint48(bound(window, 60, 2 * WINDOW)));
        bytes memory call = abi.encodeCall(vault.setRateLimit, (tokens[which], capacity, window));
        Bucket memory before = _buckets[which];
        vm.prank(admin);
        try vault.setRateLimit(tokens[which], capacity, window) {
            require(
                capacity <= before.capacity && capacity * before.window <= before.capacity * window,
                "a limit was raised at once"
            );
            bookLimit(which, capacity, window);
        } catch {
            vm.prank(admin);
            try vault.scheduleChange(call) {
                _announced.push(abi.encode(which, capacity, window, block.timestamp + DELAY));
            } catch {}
        }
    }

    function makeAnnounced(bool waits) external {
        if (_announced.length == 0) return;
        bytes memory announced = _announced[_announced.length - 1];
        _announced.pop();
        (uint256 which, uint208 capacity, uint48 window, uint256 readyAt) =
            abi.decode(announced, (uint256, uint208, uint48, uint256));
        if (waits) vm.warp(block.timestamp + DELAY);
        bool lower = capacity <= _buckets[which].capacity
            && capacity * _buckets[which].window <= _buckets[which].capacity * window;
        vm.prank(admin);
        try vault.setRateLimit(tokens[which], capacity, window) {
            require(lower || block.timestamp >= readyAt, "a limit was raised too early");
            bookLimit(which, capacity, window);
        } catch {
            require(!lower, "a limit could not be lowered");
        }
    }

    function pauseOrResume() external {
        bool paused = vault.paused();
        vm.prank(paused ? admin : guardian);
        if (paused) vault.unpause();
        else vault.pause();
    }

    function freezeOrRelease(uint256 which, uint256 who, bool aDepositAddress) external {
        address account =
            aDepositAddress ? vault.depositAddress(bytes32(bound(who, 0, SALTS - 1))) : people[bound(who, 0, 3)];
        which = bound(which, 0, FEE);
        if (which == FEE) {
            RefusingToken refusing = RefusingToken(address(tokens[REFUSING]));
            if (!aDepositAddress) refusing.setRefuses(account, !refusing.refuses(account));
        } else if (tokens[which].frozen(account)) {
            tokens[which].unfreeze(account);
        } else {
            tokens[which].freeze(account);
        }
    }

    function waitSome(uint256 elapsed) external {
        vm.warp(block.timestamp + bound(elapsed, 1, WINDOW / 6));
    }

    // --- what strangers try

    function strangerTries(uint256 which, uint256 amount, uint256 id, uint256 salt) external {
        which = bound(which, 0, TOKENS - 1);
        Payment memory payment = toPayment(0, amount, id);
        StableToken asked = tokens[which];
        Payment[] memory batch = new Payment[](1);
        batch[0] = payment;
        (address to, bytes32 wid) = (payment.to, payment.withdrawalId);
        bytes[10] memory calls = [
            abi.encodeCall(vault.withdraw, (asked, to, payment.amount, wid)),
            abi.encodeCall(vault.withdrawBatch, (asked, batch)),
            abi.encodeCall(vault.payInBatch, (asked, to, payment.amount, wid)),
            abi.encodeCall(vault.approveWithdrawal, (asked, to, payment.amount, wid)),
            abi.encodeCall(vault.revokeApproval, (asked, to, payment.amount, wid)),
            abi.encodeCall(vault.moveToCold, (asked, payment.amount, wid)),
            abi.encodeCall(vault.setRateLimit, (asked, type(uint208).max, 1)),
            abi.encodeCall(vault.setColdAddress, (to)),
            abi.encodeCall(vault.grantRole, (vault.WITHDRAWER_ROLE(), to)),
            abi.encodeCall(vault.unpause, ())
        ];
        for (uint256 i = 0; i < calls.length; i++) {
            vm.prank(to);
            (bool done,) = address(vault).call(calls[i]);
            require(!done, "a stranger was served");
        }
        uint256 before = custody(which);
        vm.prank(to);
        (bool swept,) = vault.depositAddress(bytes32(bound(salt, 0, SALTS - 1))).call(
            abi.encodeWithSignature("sweep(address)", asked)
        );
        if (swept) feesOnSweeps[which] += before - custody(which);
    }

    // --- the play's own books

    function vault_() external view returns (Vault) {
        return vault;
    }

    /// @notice What the vault and all deposit addresses hold of a token.
    function custody(uint256 which) public view returns (uint256 total) {
        total = tokens[which].balanceOf(address(vault));
        for (uint256 i = 0; i < SALTS; i++) {
            total += tokens[which].balanceOf(vault.depositAddress(bytes32(i)));
        }
    }

    /// @notice How much the bucket can hold at most now, by this play's sum, rounded up.
    function inBucket(uint256 which) public view returns (uint256) {
        Bucket memory bucket = _buckets[which];
        uint256 used = usedNow(bucket);
        return bucket.capacity > used ? bucket.capacity - used : 0;
    }

    function usedNow(Bucket memory bucket) private view returns (uint256) {
        uint256 refill = ((block.timestamp - bucket.at) * bucket.capacity + bucket.window - 1) / bucket.window;
        return bucket.used > refill ? bucket.used - refill : 0;
    }

    /// @dev A payment that happened: it must have been allowed by the bucket or by an approver, and be new.
    function book(uint256 which, Payment memory payment) private {
        require(!vault.paused(), "paid while paused");
        require(!_paid[payment.withdrawalId], "paid twice");
        _paid[payment.withdrawalId] = true;
        left[which] += payment.amount;
        payments += 1;
        // The vault's bucket may hold a unit less than ours, which rounds up: then an approval was used.
        uint256 allowed = inBucket(which);
        bool agreed = _approvedUntil[digest(which, payment)] >= block.timestamp;
        bool fromBucket = payment.amount <= allowed && !(agreed && vault.withdrawable(tokens[which]) + 1 >= allowed);
        if (fromBucket) {
            _buckets[which].used = usedNow(_buckets[which]) + payment.amount;
            _buckets[which].at = block.timestamp;
        } else {
            require(agreed, "more left than the bucket allows, and nobody had agreed");
            delete _approvedUntil[digest(which, payment)];
            approvedPayments += 1;
        }
    }

    function bookLimit(uint256 which, uint256 capacity, uint256 window) private {
        uint256 used = usedNow(_buckets[which]);
        _buckets[which] = Bucket(capacity, window, used, block.timestamp);
    }

    /// @dev Books what the events of a batch tell, and returns the sum they say has left.
    function readBatch(uint256 which, Payment[] memory batch) private returns (uint256 told) {
        uint256 next = 0;
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; i++) {
            bytes32 kind = logs[i].topics[0];
            if (logs[i].emitter != address(vault)) continue;
            if (kind == Vault.Withdrawn.selector) {
                book(which, batch[next]);
                told += batch[next].amount;
            } else if (kind == Vault.WithdrawalRefused.selector) {
                require(!vault.paid(logs[i].topics[1]) || _paid[logs[i].topics[1]] || later(batch, next), "paid, refused");
                refusals += 1;
            } else if (kind == Vault.WithdrawalRepeated.selector) {
                require(_paid[logs[i].topics[1]], "called a repeat, and never paid");
            } else {
                continue;
            }
            assertEq(uint256(logs[i].topics[1]), uint256(batch[next].withdrawalId));
            next += 1;
        }
        assertEq(next, batch.length);
    }

    /// @dev Whether the id of one payment comes again later in its batch, where it may be paid.
    function later(Payment[] memory batch, uint256 at) private pure returns (bool) {
        for (uint256 i = at + 1; i < batch.length; i++) {
            if (batch[i].withdrawalId == batch[at].withdrawalId) return true;
        }
        return false;
    }

    function toPayment(uint256 to, uint256 amount, uint256 id) private view returns (Payment memory) {
        // Ids come from a small set, so that most of them are asked for several times.
        return Payment(people[bound(to, 0, 3)], bound(amount, 1, 50 * CAPACITY), bytes32(bound(id, 0, IDS - 1)));
    }

    function digest(uint256 which, Payment memory payment) private pure returns (bytes32) {
        return keccak256(abi.encode(which, payment.to, payment.amount, payment.withdrawalId));
    }
}
