// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Test} from "forge-std/Test.sol";

import {ICredits} from "../../contracts/interfaces/ICredits.sol";
import {IPool} from "../../contracts/interfaces/IPool.sol";
import {ITaskRegistry} from "../../contracts/interfaces/ITaskRegistry.sol";
import {Hashing} from "../../contracts/libraries/Hashing.sol";
import {PointsTree} from "../../contracts/libraries/PointsTree.sol";
import {LocalAsset} from "../../contracts/local/LocalAsset.sol";
import {Pool} from "../../contracts/Pool.sol";
import {TaskRegistry} from "../../contracts/TaskRegistry.sol";
import {ValidatorStake} from "../../contracts/ValidatorStake.sol";
import {Deployment, deployAll} from "./Deploy.sol";

/// @notice Six people and a pool that publish, search, validate, lie, sleep and withdraw at random, over several tasks
/// and any lengths of time. Everybody is publisher, participant and validator at once; the first one manages the pool.
contract RoundHandler is Test {
    uint256 private constant SAMPLES = 8;
    uint256 private constant MAX_TASKS = 2;
    bytes32 private constant KEY = keccak256("key");
    bytes private constant LABELS = hex"0001020304050607";
    bytes32 private constant DOUBT = bytes32(uint256(1));
    uint256 private constant RECEIPT_KEY = 0xA11CE;

    LocalAsset public immutable asset;
    ValidatorStake public immutable stake;
    TaskRegistry public immutable registry;
    Pool public immutable pool;
    address[] public people;
    /// @notice Everyone who can hold a credit.
    address[] public accounts;

    ITaskRegistry.TestSetParts private _parts = ITaskRegistry.TestSetParts(2, 2, 1, 10, keccak256("samples"));

    constructor() {
        Deployment memory d = deployAll(300, 6667);
        asset = d.asset;
        stake = d.stake;
        registry = d.registry;
        for (uint160 i = 0; i < 6; ++i) people.push(address(0xA0000 + i));
        IPool.PoolParams memory params = IPool.PoolParams({
            manager: people[0],
            receiptKey: vm.addr(RECEIPT_KEY),
            feeBps: 777,
            objectionWindow: 20,
            settlementWindow: 50,
            receiptsWindow: 50,
            schemeId: "performance"
        });
        pool = Pool(d.factory.create(params, 0));
        for (uint256 i = 0; i < people.length; ++i) {
            vm.startPrank(people[i]);
            asset.faucet(1e30);
            asset.approve(address(registry), type(uint256).max);
            asset.approve(address(stake), type(uint256).max);
            asset.approve(address(pool), type(uint256).max);
            if (i > 1) stake.stake(1e18 + i);
            if (i == 0) pool.deposit(1e24);
            vm.stopPrank();
            accounts.push(people[i]);
        }
        accounts.push(address(pool));
    }

    // ————— What people do —————

    function publish(uint256 seed) external {
        if (registry.openTaskCount() >= MAX_TASKS) return;
        address who = people[seed % people.length];
        ITaskRegistry.TaskParams memory params;
        params.descriptorCid = hex"01";
        params.keyHash = keccak256(abi.encode(Hashing.KEY, block.chainid, address(registry), who, KEY));
        params.testRoot = keccak256(
            abi.encode(
                Hashing.TEST,
                uint32(SAMPLES),
                uint16(2),
                uint16(2),
                uint16(1),
                uint16(10),
                Hashing.labels(LABELS),
                _parts.samplesRoot
            )
        );
        params.spaceHash = bytes32(uint256(1));
        params.testCount = uint32(SAMPLES);
        params.minCorrect = uint32(_random(seed, "minimum") % 4);
        params.maxModelBytes = 1;
        params.candidateBondBps = uint16(500 + (_random(seed, "bps") % 9_501));
        params.difficulty = ITaskRegistry.Difficulty(1, 1, 1, 1, 1);
        params.phases = ITaskRegistry.PhaseLengths(uint24(_random(seed, "init") % 5), 20, 10, 10, 20, 10, 10, 5, 30);
        // odd amounts: every division leaves a rest
        params.reward = uint128(1 + (_random(seed, "reward") % 1e20));
        params.publisherBond = uint128(_random(seed, "bond") % 1e19);
        params.commitBond = uint128(_random(seed, "commit") % 1e18);
        params.commitFee = uint128(_random(seed, "fee") % 1e16);
        params.validatorFee = uint128(_random(seed, "validators") % 1e18);
        vm.prank(who);
        registry.publish(params);
    }

    /// @notice The obvious next thing in some task, done honestly or not by the first one, from somebody on, who can.
    function push(uint256 taskSeed, uint256 seed) external {
        uint256 taskId = _task(taskSeed);
        if (taskId == 0) return;
        ITaskRegistry.Phase phase = registry.phaseOf(taskId);
        uint256 dice = _random(seed, "dice");
        if (phase == ITaskRegistry.Phase.Confirmable || phase == ITaskRegistry.Phase.Advanceable) {
            return nudge(taskId);
        }
        bool idle = dice % 24 == 0;
        for (uint256 i = 0; i < people.length && !idle; ++i) {
            address who = people[(_random(seed, "who") + i) % people.length];
            if (_step(taskId, phase, who, seed)) return;
        }
        if (phase < ITaskRegistry.Phase.Confirmed) _tick();
    }

    function changeStake(uint256 seed, uint96 amount) external {
        address who = people[seed % people.length];
        uint256 dice = _random(seed, "dice") % 4;
        vm.startPrank(who);
        if (dice == 0) {
            if (amount > 0) stake.stake(amount);
        } else if (dice == 1) {
            uint256 active = stake.stakeOf(who);
            if (active > 0) stake.beginUnbonding(1 + (amount % active));
        } else {
            (uint256 unbonding, uint256 readyAt) = stake.unbondingOf(who);
            if (unbonding > 0) {
                if (dice == 2) stake.cancelUnbonding();
                else if (block.timestamp >= readyAt) stake.finishUnbonding();
            }
        }
        vm.stopPrank();
    }

    function withdraw(uint256 seed, uint128 amount) external {
        address who = people[seed % people.length];
        ICredits[3] memory from = [ICredits(address(registry)), ICredits(address(stake)), ICredits(address(pool))];
        ICredits chosen = from[_random(seed, "from") % 3];
        uint256 available = chosen.creditOf(who);
        vm.startPrank(who);
        if (amount % 2 == 0) chosen.withdraw();
        else chosen.withdrawTo(people[amount % people.length], available == 0 ? 0 : amount % available);
        vm.stopPrank();
    }

    function managePool(uint256 taskSeed, uint256 seed, uint96 amount) external {
        uint256 taskId = _task(taskSeed);
        uint256 dice = _random(seed, "dice") % 4;
        vm.startPrank(people[0]);
        if (dice == 0) pool.deposit(amount);
        else if (dice == 1 && pool.float() > 0) pool.withdrawFloat(1 + (amount % pool.float()));
        else if (dice == 2) pool.setTerms(uint16(amount % 2001), vm.addr(RECEIPT_KEY));
        vm.stopPrank();
        if (taskId != 0) pushPool(taskId, seed);
    }

    function pass(uint256 time) external {
        vm.warp(block.timestamp + (time % 10));
    }

    /// @notice Any call on any task by anybody, with whatever arguments; most are refused, none may do harm.
    function wild(uint256 taskSeed, uint256 seed, bytes32 noise) external {
        uint256 taskId = _task(taskSeed);
        address who = people[seed % people.length];
        address other = accounts[_random(seed, "other") % accounts.length];
        address[] memory list = new address[](1);
        list[0] = other;
        ITaskRegistry.Opening memory opening = ITaskRegistry.Opening(noise, hex"02", 0, 0, noise);
        IPool.PointsLeaf memory leaf = IPool.PointsLeaf(uint32(seed % 4), other, uint128(uint256(noise)));
        bytes[23] memory calls = [
            abi.encodeCall(registry.commit, (taskId, noise)),
            abi.encodeCall(registry.release, (taskId, noise)),
            abi.encodeCall(registry.voteTestSet, (taskId)),
            abi.encodeCall(registry.reveal, (taskId, opening, uint32(seed), noise)),
            abi.encodeCall(registry.advance, (taskId)),
            abi.encodeCall(registry.seal, (taskId, other, noise)),
            abi.encodeCall(registry.open, (taskId, LABELS, LABELS, _parts)),
            abi.encodeCall(registry.attest, (taskId, list)),
            abi.encodeCall(registry.contradict, (taskId, noise, list)),
            abi.encodeCall(registry.confirm, (taskId)),
            abi.encodeCall(registry.refute, (taskId, other, who)),
            abi.encodeCall(registry.settle, (taskId, other)),
            abi.encodeCall(registry.settleValidator, (taskId, other)),
            abi.encodeCall(pool.collect, (taskId)),
            abi.encodeCall(pool.claim, (taskId, leaf, new IPool.SumNode[](0))),
            abi.encodeCall(pool.claimFee, (taskId)),
            abi.encodeCall(pool.reclaim, (taskId)),
            abi.encodeCall(pool.demandLeaf, (taskId, uint32(seed % 4))),
            abi.encodeCall(pool.answer, (taskId, uint32(seed % 4), leaf, new IPool.SumNode[](0))),
            abi.encodeCall(pool.finaliseFall, (taskId)),
            abi.encodeCall(pool.returnBond, (taskId, uint32(seed % 4))),
            abi.encodeCall(pool.refuteSplit, (taskId, who)),
            abi.encodeCall(pool.objectMissing, (taskId, other, 1, 1, ""))
        ];
        uint256 choice = _random(seed, "choice") % calls.length;
        vm.prank(who);
        (bool success, ) = (choice < 13 ? address(registry) : address(pool)).call(calls[choice]);
        success;
    }

    // ————— To the end —————

    /// @notice Brings every task to its end by the calls that anyone may make after a deadline, and pays everybody.
    function finish() external {
        uint256 count = registry.taskCount();
        for (uint256 taskId = 1; taskId <= count; ++taskId) {
            for (uint256 i = 0; registry.phaseOf(taskId) < ITaskRegistry.Phase.Confirmed; ++i) {
                require(i < 100, "a task is stuck");
                nudge(taskId);
            }
            for (uint256 i = 0; i < accounts.length; ++i) {
                ITaskRegistry.CommitmentState state = registry.commitmentOf(taskId, accounts[i]).state;
                if (
                    state != ITaskRegistry.CommitmentState.None && !registry.settlementOf(taskId, accounts[i]).settled
                ) {
                    registry.settle(taskId, accounts[i]);
                }
            }
            address winner = registry.taskOf(taskId).winner;
            for (uint256 i = 0; winner != address(0) && i < people.length; ++i) {
                ITaskRegistry.SealView memory own = registry.sealOf(taskId, winner, people[i]);
                if (own.attested && !own.settled) registry.settleValidator(taskId, people[i]);
            }
            _finishPool(taskId);
        }
        for (uint256 i = 0; i < people.length; ++i) {
            vm.startPrank(people[i]);
            if (stake.stakeOf(people[i]) > 0) stake.beginUnbonding(stake.stakeOf(people[i]));
            vm.stopPrank();
        }
        vm.warp(block.timestamp + 301);
        for (uint256 i = 0; i < people.length; ++i) {
            vm.startPrank(people[i]);
            (uint256 unbonding, ) = stake.unbondingOf(people[i]);
            if (unbonding > 0) stake.finishUnbonding();
            if (i == 0) pool.withdrawFloat(pool.float());
            registry.withdraw();
            stake.withdraw();
            pool.withdraw();
            vm.stopPrank();
        }
    }

    /// @notice Lets the task's next boundary come, or makes the call that is due after one.
    function nudge(uint256 taskId) public {
        ITaskRegistry.Phase phase = registry.phaseOf(taskId);
        if (phase == ITaskRegistry.Phase.Advanceable) registry.advance(taskId);
        else if (phase == ITaskRegistry.Phase.Confirmable) registry.confirm(taskId);
        else vm.warp(_boundary(taskId));
    }

    /// @notice The obvious next thing for a task's reward in the pool.
    function pushPool(uint256 taskId, uint256 seed) public {
        IPool.TaskAccount memory account = pool.accountOf(taskId);
        if (account.phase == IPool.SplitPhase.Committed) {
            if (registry.phaseOf(taskId) >= ITaskRegistry.Phase.Confirmed) pool.collect(taskId);
        } else if (account.phase == IPool.SplitPhase.AwaitSplit) {
            if (seed % 3 == 0) vm.warp(account.deadline);
            else if (pool.float() >= pool.stakeFor(account.reward)) _postSplit(taskId);
            else vm.warp(account.deadline);
        } else if (account.phase == IPool.SplitPhase.Objection) {
            if (seed % 2 == 0) _object(taskId, seed >> 8, account.split.count);
            else if (seed % 8 == 1) _answer(taskId, seed >> 8);
            else vm.warp(account.deadline);
        } else if (account.phase == IPool.SplitPhase.Answering) {
            if (seed % 3 != 0 && _answer(taskId, 0)) return;
            vm.warp(account.deadline);
        } else if (account.phase == IPool.SplitPhase.Fallen) {
            pool.finaliseFall(taskId);
        } else if (account.phase == IPool.SplitPhase.Claims) {
            _claim(taskId, uint32(seed % 2));
            if (!account.feePaid) pool.claimFee(taskId);
        } else if (account.phase == IPool.SplitPhase.Receipts) {
            if (seed % 2 == 0) _submitReceipt(taskId, people[(seed >> 8) % people.length], uint64(seed >> 16));
            else vm.warp(account.deadline);
        } else if (account.phase == IPool.SplitPhase.ReceiptClaims) {
            for (uint256 i = 0; i < people.length; ++i) {
                (, uint128 points) = pool.receiptOf(taskId, people[i]);
                if (points == 0) continue;
                pool.claimByReceipt(taskId, people[i]);
                break;
            }
        } else if (account.phase == IPool.SplitPhase.Unclaimed) {
            pool.reclaim(taskId);
        }
    }

    function _finishPool(uint256 taskId) private {
        for (uint256 i = 0; i < 40; ++i) {
            IPool.TaskAccount memory account = pool.accountOf(taskId);
            for (uint32 id = 1; account.fellAt != 0 && account.bonds != 0 && id <= account.objections; ++id) {
                try pool.returnBond(taskId, id) {} catch {}
            }
            bool paid = account.phase == IPool.SplitPhase.Claims && account.feePaid && account.unclaimed == 0;
            if (paid || account.phase == IPool.SplitPhase.Closed || account.phase == IPool.SplitPhase.None) return;
            pushPool(taskId, _random(taskId + i, "finish"));
        }
        revert("a reward is stuck");
    }

    // ————— Time —————

    /// @dev When the task's phase ends; 0 where only a call ends it.
    function _boundary(uint256 taskId) private view returns (uint256) {
        ITaskRegistry.Phase phase = registry.phaseOf(taskId);
        ITaskRegistry.Schedule memory s = registry.scheduleOf(taskId);
        if (phase == ITaskRegistry.Phase.Initialisation) return s.trainingStart;
        if (phase == ITaskRegistry.Phase.Training) return s.trainingEnd;
        if (phase == ITaskRegistry.Phase.AwaitKey) return s.keyDeadline;
        if (phase == ITaskRegistry.Phase.TestVote) return s.revealStart;
        if (phase == ITaskRegistry.Phase.Reveal) return s.revealEnd;
        if (phase == ITaskRegistry.Phase.Seal) return s.sealDeadline;
        if (phase == ITaskRegistry.Phase.Open) return s.openDeadline;
        if (phase == ITaskRegistry.Phase.Window) return s.windowEnd;
        return 0;
    }

    /// @dev Time goes on to the next boundary of any task.
    function _tick() private {
        uint256 next = type(uint256).max;
        for (uint256 taskId = registry.taskCount(); taskId > 0; --taskId) {
            uint256 boundary = _boundary(taskId);
            if (boundary != 0 && boundary < next) next = boundary;
        }
        if (next != type(uint256).max) vm.warp(next);
    }

    // ————— Steps —————

    /// @dev Whether `who` found something to do.
    function _step(uint256 taskId, ITaskRegistry.Phase phase, address who, uint256 seed) private returns (bool) {
        if (phase == ITaskRegistry.Phase.Training) return _commit(taskId, who, seed);
        if (phase == ITaskRegistry.Phase.AwaitKey) return taskId % 6 != 0 && _release(taskId, who);
        if (phase == ITaskRegistry.Phase.TestVote) return taskId % 4 == 0 && _vote(taskId, who);
        if (phase == ITaskRegistry.Phase.Reveal) return _reveal(taskId, who, seed);
        if (phase == ITaskRegistry.Phase.Seal) return _seal(taskId, who, seed);
        if (phase == ITaskRegistry.Phase.Open) return _open(taskId);
        if (phase == ITaskRegistry.Phase.Window) {
            return _attest(taskId, who) || _contradict(taskId) || _seal(taskId, who, seed);
        }
        return phase >= ITaskRegistry.Phase.Confirmed && _settle(taskId, who);
    }

    function _commit(uint256 taskId, address who, uint256 seed) private returns (bool) {
        address participant = _participant(who, taskId);
        // now and then a commitment that can never be opened
        bytes32 salt = _random(seed, "broken") % 16 == 0 ? bytes32(seed) : bytes32(0);
        bytes32 commitment = _commitment(taskId, participant, salt);
        if (registry.commitmentOf(taskId, participant).hash == commitment) return false;
        bool isPool = participant == address(pool);
        if (isPool && pool.float() < 2e18) return false;
        vm.prank(who);
        if (isPool) pool.commit(taskId, commitment);
        else registry.commit(taskId, commitment);
        return true;
    }

    function _release(uint256 taskId, address who) private returns (bool) {
        vm.prank(who);
        registry.release(taskId, KEY);
        return true;
    }

    function _vote(uint256 taskId, address who) private returns (bool) {
        bool counts = stake.stakeAt(who, registry.scheduleOf(taskId).trainingEnd - 1) > 0;
        if (!counts || registry.hasVoted(taskId, who)) return false;
        vm.prank(who);
        registry.voteTestSet(taskId);
        return true;
    }

    function _reveal(uint256 taskId, address who, uint256 seed) private returns (bool) {
        address participant = _participant(who, taskId);
        ITaskRegistry.Commitment memory own = registry.commitmentOf(taskId, participant);
        if (own.state != ITaskRegistry.CommitmentState.Committed) return false;
        if (own.hash != _commitment(taskId, participant, 0)) return false;
        uint32 claimed = uint32(_quality(taskId, participant));
        uint256 lie = _random(seed, "lie") % 12;
        if (lie == 0) claimed = uint32(SAMPLES);
        if (lie == 1) claimed = 0;
        ITaskRegistry.Opening memory opening = _opening(taskId, participant, 0);
        bytes32 result = _result(taskId, participant);
        bytes32 claimSeal = keccak256(
            abi.encode(Hashing.CLAIM, block.chainid, address(registry), taskId, participant, opening.modelRoot, result)
        );
        bool isPool = participant == address(pool);
        if (isPool && pool.float() < registry.candidateBondOf(taskId)) return false;
        vm.prank(who);
        if (isPool) pool.reveal(taskId, opening, claimed, claimSeal);
        else registry.reveal(taskId, opening, claimed, claimSeal);
        return true;
    }

    function _seal(uint256 taskId, address who, uint256 seed) private returns (bool) {
        ITaskRegistry.Examination memory e = registry.examinationOf(taskId);
        address candidate = e.openedAt == 0 ? e.participant : e.next;
        if (candidate == address(0) || registry.sealOf(taskId, candidate, who).seal != 0) return false;
        if (stake.stakeAt(who, registry.scheduleOf(taskId).revealEnd - 1) == 0) return false;
        if (stake.stakeOf(who) == 0) return false;
        // of some candidates all think otherwise: its predictions are not its model's
        bool doubted = _random(taskId, string(abi.encodePacked("doubt", candidate))) % 6 == 0;
        bool honest = !doubted && _random(seed, "honest") % 8 != 0;
        bytes32 result = honest ? _result(taskId, candidate) : DOUBT;
        bytes32 commitment = registry.commitmentOf(taskId, candidate).hash;
        bytes32 own = keccak256(
            abi.encode(Hashing.SEAL, block.chainid, address(registry), taskId, commitment, who, result)
        );
        vm.prank(who);
        registry.seal(taskId, candidate, own);
        return true;
    }

    function _open(uint256 taskId) private returns (bool) {
        address candidate = registry.examinationOf(taskId).participant;
        registry.open(taskId, _predictions(taskId, candidate), LABELS, _parts);
        return true;
    }

    function _attest(uint256 taskId, address who) private returns (bool) {
        address[] memory validators = new address[](1);
        validators[0] = who;
        try registry.attest(taskId, validators) {
            return true;
        } catch {
            return false;
        }
    }

    /// @dev By the seals of all who are of another opinion; `people` ascend.
    function _contradict(uint256 taskId) private returns (bool) {
        try registry.contradict(taskId, DOUBT, people) {
            return true;
        } catch {
            return false;
        }
    }

    function _settle(uint256 taskId, address who) private returns (bool) {
        address participant = _participant(who, taskId);
        bool committed = registry.commitmentOf(taskId, participant).state != ITaskRegistry.CommitmentState.None;
        if (committed && !registry.settlementOf(taskId, participant).settled) {
            registry.settle(taskId, participant);
            return true;
        }
        address winner = registry.taskOf(taskId).winner;
        if (winner == address(0)) return false;
        ITaskRegistry.SealView memory own = registry.sealOf(taskId, winner, who);
        if (!own.attested || own.settled) return false;
        registry.settleValidator(taskId, who);
        return true;
    }

    // ————— The pool's points —————

    /// @dev Two miners with points that follow from the task.
    function _leaf(uint256 taskId, uint32 index) private view returns (IPool.PointsLeaf memory) {
        uint128 points = uint128(_random(taskId, index == 0 ? "left" : "right"));
        return IPool.PointsLeaf(index, people[1 + index], index == 0 ? points >> 40 : points >> 30);
    }

    function _node(uint256 taskId, uint32 index) private view returns (IPool.SumNode memory) {
        IPool.PointsLeaf memory leaf = _leaf(taskId, index);
        return IPool.SumNode(keccak256(abi.encode(PointsTree.LEAF, leaf.index, leaf.miner, leaf.points)), leaf.points);
    }

    function _postSplit(uint256 taskId) private {
        IPool.SumNode memory left = _node(taskId, 0);
        IPool.SumNode memory right = _node(taskId, 1);
        bytes32 top = keccak256(abi.encode(PointsTree.NODE, left.hash, left.sum, right.hash, right.sum));
        uint128 sum = left.sum + right.sum;
        bytes32 root = keccak256(abi.encode(PointsTree.ROOT, uint8(1), uint32(2), top, sum));
        vm.prank(people[0]);
        pool.postSplit(taskId, IPool.Split(root, 1, 2, sum), hex"01");
    }

    function _siblings(uint256 taskId, uint32 index) private view returns (IPool.SumNode[] memory siblings) {
        siblings = new IPool.SumNode[](1);
        siblings[0] = _node(taskId, 1 - index);
    }

    /// @dev A demand for a leaf, or a receipt: in every other task of more points than the leaf has.
    function _object(uint256 taskId, uint256 seed, uint32 count) private {
        uint32 index = uint32(seed % count);
        if (seed % 3 == 0) {
            vm.prank(people[(seed >> 8) % people.length]);
            try pool.demandLeaf(taskId, index) {} catch {}
            return;
        }
        IPool.PointsLeaf memory leaf = _leaf(taskId, index);
        uint128 points = leaf.points + (taskId % 2 == 0 ? 1 : 0);
        try pool.objectMissing(taskId, leaf.miner, 1, points, _signature(taskId, leaf.miner, 1, points)) {} catch {}
    }

    /// @dev Answers some open objection; whether there was one that has an answer.
    function _answer(uint256 taskId, uint256 seed) private returns (bool) {
        IPool.Objection[] memory open = pool.openObjections(taskId, 9);
        if (open.length == 0) return false;
        IPool.Objection memory chosen = open[seed % open.length];
        uint32 index = chosen.kind == IPool.ObjectionKind.Leaf ? chosen.index : (chosen.by == people[1] ? 0 : 1);
        try pool.answer(taskId, chosen.id, _leaf(taskId, index), _siblings(taskId, index)) {
            return true;
        } catch {
            return false;
        }
    }

    function _claim(uint256 taskId, uint32 index) private {
        if (pool.isClaimed(taskId, index)) return;
        uint256 from = pool.accountOf(taskId).splitTask;
        pool.claim(taskId, _leaf(from, index), _siblings(from, index));
    }

    function _submitReceipt(uint256 taskId, address miner, uint64 sequence) private {
        (uint64 known, uint128 had) = pool.receiptOf(taskId, miner);
        if (had > 0 && sequence <= known) return;
        uint128 points = uint128(1 + (uint256(sequence) % 1e9));
        pool.submitReceipt(taskId, miner, sequence, points, _signature(taskId, miner, sequence, points));
    }

    function _signature(
        uint256 taskId,
        address miner,
        uint64 sequence,
        uint128 points
    ) private view returns (bytes memory) {
        (, string memory name, string memory version, , , , ) = pool.eip712Domain();
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256(bytes(name)),
                keccak256(bytes(version)),
                block.chainid,
                address(pool)
            )
        );
        bytes32 message = keccak256(
            abi.encode(
                keccak256("Points(uint256 taskId,address miner,uint64 sequence,uint128 points)"),
                taskId,
                miner,
                sequence,
                points
            )
        );
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(RECEIPT_KEY, keccak256(abi.encodePacked(hex"1901", domain, message)));
        return abi.encodePacked(r, s, v);
    }

    // ————— Models —————

    function _participant(address who, uint256 taskId) private view returns (address) {
        return who == people[0] && taskId % 7 != 0 ? address(pool) : who;
    }

    /// @dev How many of its predictions are right; the pool, with more machines, is mostly better.
    function _quality(uint256 taskId, address participant) private view returns (uint256) {
        uint256 chance = _random(taskId, string(abi.encodePacked(participant)));
        return participant == address(pool) ? SAMPLES - (chance % 3) : chance % (SAMPLES + 1);
    }

    function _predictions(uint256 taskId, address participant) private view returns (bytes memory predictions) {
        predictions = LABELS;
        for (uint256 i = _quality(taskId, participant); i < SAMPLES; ++i) predictions[i] = 0xff;
    }

    function _result(uint256 taskId, address participant) private view returns (bytes32) {
        return Hashing.result(_predictions(taskId, participant));
    }

    function _opening(
        uint256 taskId,
        address participant,
        bytes32 salt
    ) private pure returns (ITaskRegistry.Opening memory) {
        return ITaskRegistry.Opening(keccak256(abi.encode(taskId, participant)), hex"0155", 1, 2, salt);
    }

    function _commitment(uint256 taskId, address participant, bytes32 salt) private view returns (bytes32) {
        ITaskRegistry.Opening memory o = _opening(taskId, participant, salt);
        return
            keccak256(
                abi.encode(
                    Hashing.COMMIT,
                    block.chainid,
                    address(registry),
                    taskId,
                    participant,
                    o.modelRoot,
                    keccak256(o.modelCid),
                    o.validationCorrect,
                    o.validationTotal,
                    o.salt
                )
            );
    }

    // ————— Chance —————

    /// @dev A task, more often an open one; 0 where there is none.
    function _task(uint256 seed) private view returns (uint256) {
        uint256 open = registry.openTaskCount();
        if (open > 0 && (seed >> 64) % 8 != 0) return registry.openTasks(seed % open, 1)[0];
        uint256 count = registry.taskCount();
        return count == 0 ? 0 : 1 + (seed % count);
    }

    function _random(uint256 seed, string memory what) private pure returns (uint256) {
        return uint256(keccak256(abi.encode(seed, what)));
    }

    function peopleCount() external view returns (uint256) {
        return people.length;
    }

    function accountCount() external view returns (uint256) {
        return accounts.length;
    }
}
