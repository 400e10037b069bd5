// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {EnumerableSet} from "@openzeppelin/contracts/utils/structs/EnumerableSet.sol";

import {Credits} from "./Credits.sol";
import {IDisputes} from "./interfaces/IDisputes.sol";
import {ITaskRegistry} from "./interfaces/ITaskRegistry.sol";
import {IValidatorStake} from "./interfaces/IValidatorStake.sol";
import {CandidateQueue} from "./libraries/CandidateQueue.sol";
import {CandidateWalk} from "./libraries/CandidateWalk.sol";
import {Ledger, Ledgers} from "./libraries/Ledgers.sol";
import {Stage, Task} from "./libraries/Task.sol";
import {TaskParameters} from "./libraries/TaskParameters.sol";
import {TaskSteps} from "./libraries/TaskSteps.sol";

/// @title Tasks, from publication to a confirmed block
/// @dev What is stored changes by calls alone; {_phase} adds what time has done since. docs/states.md lists every
/// transition. Each task's money is counted in its own `escrow`, which no other task can reach.
contract TaskRegistry is ITaskRegistry, Credits {
    using CandidateQueue for CandidateQueue.Queue;
    using EnumerableSet for EnumerableSet.UintSet;
    using Ledgers for Ledger;

    // ————— Storage —————

    /// @inheritdoc ITaskRegistry
    IValidatorStake public immutable stake;
    /// @inheritdoc ITaskRegistry
    address public immutable disputes;
    /// @inheritdoc ITaskRegistry
    uint16 public immutable quorumBps;
    uint256 private immutable _unbondingPeriod;
    /// @dev 0 without disputes.
    uint256 private immutable _answerPeriod;

    /// @inheritdoc ITaskRegistry
    uint256 public taskCount;

    mapping(uint256 taskId => Task) private _tasks;
    mapping(uint256 taskId => mapping(address participant => Commitment)) private _commitments;
    mapping(uint256 taskId => mapping(address participant => mapping(address validator => SealView))) private _seals;
    /// @inheritdoc ITaskRegistry
    mapping(uint256 taskId => mapping(address validator => bool)) public hasVoted;
    Ledger private _ledger;
    EnumerableSet.UintSet private _openTasks;

    /// @param disputes_ zero where this deployment has no disputes: see the warning at {ITaskRegistry}
    /// @param quorumBps_ more than 5000, so that two quorums share a validator; at most 10000
    constructor(IERC20 asset_, IValidatorStake stake_, address disputes_, uint16 quorumBps_) Credits(asset_) {
        if (quorumBps_ <= TaskParameters.BPS / 2 || quorumBps_ > TaskParameters.BPS) {
            revert InvalidParameter("quorumBps");
        }
        if (stake_.asset() != asset_) revert InvalidParameter("stake");
        stake = stake_;
        disputes = disputes_;
        quorumBps = quorumBps_;
        _unbondingPeriod = stake_.unbondingPeriod();
        _answerPeriod = disputes_ == address(0) ? 0 : IDisputes(disputes_).answerPeriod();
        // Else the check of every publication would fail, of whatever phases.
        if (!TaskParameters.leavesRoom(_unbondingPeriod, _answerPeriod)) revert InvalidParameter("unbondingPeriod");
    }

    // ————— Publication to reveal —————

    /// @inheritdoc ITaskRegistry
    function publish(TaskParams calldata params) external nonReentrant returns (uint256 taskId) {
        taskId = ++taskCount;
        Task storage task = _tasks[taskId];
        TaskSteps.publish(task, taskId, params, _unbondingPeriod, _answerPeriod);
        _openTasks.add(taskId);
        _hold(task, uint256(params.reward) + params.publisherBond + params.validatorFee);
    }

    /// @inheritdoc ITaskRegistry
    function commit(uint256 taskId, bytes32 commitment) external nonReentrant returns (uint256 paid) {
        Task storage task = _taskIn(taskId, Phase.Training);
        if (commitment == 0) revert ZeroHash();
        Commitment storage own = _commitments[taskId][msg.sender];
        if (own.hash == commitment) revert SameCommitment(commitment);
        if (own.state == CommitmentState.None) {
            own.state = CommitmentState.Committed;
            own.index = task.commitments++;
            paid = task.params.commitBond;
        }
        own.hash = commitment;
        own.sequence = ++task.lastSequence;
        emit Committed(taskId, msg.sender, own.sequence, commitment);
        uint256 fee = task.params.commitFee;
        paid += fee;
        _hold(task, paid);
        _burnHeld(taskId, task, fee, BurnReason.CommitFee);
    }

    /// @inheritdoc ITaskRegistry
    function release(uint256 taskId, bytes32 key) external nonReentrant {
        Task storage task = _taskIn(taskId, Phase.AwaitKey);
        TaskSteps.release(task, taskId, key);
    }

    /// @inheritdoc ITaskRegistry
    function voteTestSet(uint256 taskId) external nonReentrant {
        Task storage task = _taskIn(taskId, Phase.TestVote);
        if (hasVoted[taskId][msg.sender]) revert AlreadyVoted(msg.sender);
        uint256 snapshot = task.schedule.trainingEnd - 1;
        uint256 weight = _stakeAt(msg.sender, snapshot);
        hasVoted[taskId][msg.sender] = true;
        task.votesAgainst += weight;
        emit TestSetVoted(taskId, msg.sender, weight);
        if (_isQuorum(task.votesAgainst, stake.totalStakeAt(snapshot))) {
            _void(taskId, task, VoidReason.TestSetRejected);
        }
    }

    /// @inheritdoc ITaskRegistry
    function reveal(
        uint256 taskId,
        Opening calldata opening,
        uint32 claimedCorrect,
        bytes32 claimSeal
    ) external nonReentrant returns (uint256 paid) {
        Task storage task = _taskIn(taskId, Phase.Reveal);
        Commitment storage own = _commitments[taskId][msg.sender];
        bool candidate = TaskSteps.reveal(task, own, taskId, opening, claimedCorrect, claimSeal);
        if (candidate) paid = _candidateBond(task);
        _hold(task, paid);
    }

    // ————— Validation —————

    /// @inheritdoc ITaskRegistry
    function advance(uint256 taskId) external nonReentrant {
        Task storage task = _taskIn(taskId, Phase.Advanceable);
        if (task.stage == Stage.Published) {
            _void(taskId, task, VoidReason.KeyNotReleased);
        } else if (task.stage == Stage.Released) {
            uint256 unrevealed = task.commitments - task.revealed;
            _burnHeld(taskId, task, unrevealed * task.params.commitBond, BurnReason.UnrevealedBonds);
            task.totalStake = SafeCast.toUint128(stake.totalStakeAt(task.schedule.revealEnd - 1));
            task.stage = Stage.Examining;
            if (!CandidateWalk.begin(task, taskId)) _void(taskId, task, VoidReason.NoCandidate);
        } else if (task.openedAt == 0) {
            _eliminate(taskId, task, Elimination.Unopened, address(0));
        } else {
            // Its window is over without a quorum for it, and none was shown against it: see {contradict}.
            _eliminate(taskId, task, Elimination.Unattested, address(0));
        }
    }

    /// @inheritdoc ITaskRegistry
    function seal(uint256 taskId, address participant, bytes32 validatorSeal) external nonReentrant {
        Task storage task = _tasks[taskId];
        Phase phase = _phase(taskId, task);
        if (phase != Phase.Seal && phase != Phase.Window) revert WrongPhase(taskId, phase);
        address sealable = phase == Phase.Seal ? task.candidate : task.queue.front();
        if (participant != sealable || participant == address(0)) revert NotExamined(taskId, participant);
        if (validatorSeal == 0) revert ZeroHash();
        SealView storage own = _seals[taskId][participant][msg.sender];
        if (own.seal != 0) revert AlreadySealed(msg.sender);
        // Stake that has begun to unbond by now may be gone before the seal can be challenged: it vouches for nothing.
        uint256 active = stake.stakeOf(msg.sender);
        if (active == 0) revert NoStake(msg.sender, block.timestamp);
        uint256 snapshot = _stakeAt(msg.sender, task.schedule.revealEnd - 1);
        uint128 weight = SafeCast.toUint128(Math.min(snapshot, active));
        own.seal = validatorSeal;
        own.stake = weight;
        emit Sealed(taskId, participant, msg.sender, weight);
    }

    /// @inheritdoc ITaskRegistry
    function open(
        uint256 taskId,
        bytes calldata predictions,
        bytes calldata labels,
        TestSetParts calldata parts
    ) external nonReentrant {
        Task storage task = _taskIn(taskId, Phase.Open);
        Commitment storage candidate = _commitments[taskId][task.candidate];
        bool stands = TaskSteps.open(task, candidate, taskId, predictions, labels, parts);
        if (!stands) _eliminate(taskId, task, Elimination.FalseClaim, address(0));
    }

    /// @inheritdoc ITaskRegistry
    function attest(uint256 taskId, address[] calldata validators) external nonReentrant {
        Task storage task = _openedTask(taskId);
        address participant = task.candidate;
        Commitment storage candidate = _commitments[taskId][participant];
        TaskSteps.attest(task, candidate, _seals[taskId][participant], taskId, validators, quorumBps);
    }

    /// @inheritdoc ITaskRegistry
    function contradict(uint256 taskId, bytes32 result, address[] calldata validators) external nonReentrant {
        if (disputes != address(0)) revert OnlyWithoutDisputes();
        Task storage task = _taskIn(taskId, Phase.Window);
        address participant = task.candidate;
        Commitment storage candidate = _commitments[taskId][participant];
        TaskSteps.contradict(task, candidate, _seals[taskId][participant], taskId, result, validators, quorumBps);
        _eliminate(taskId, task, Elimination.Contradicted, address(0));
    }

    /// @inheritdoc ITaskRegistry
    function confirm(uint256 taskId) external nonReentrant {
        Task storage task = _taskIn(taskId, Phase.Confirmable);
        address winner = task.candidate;
        Commitment storage candidate = _commitments[taskId][winner];
        candidate.state = CommitmentState.Winner;
        _end(taskId, task, Stage.Confirmed);
        TaskSteps.append(_ledger, task, candidate, taskId);

        _pay(taskId, task, winner, task.params.reward, CreditReason.Reward);
        _pay(taskId, task, task.publisher, task.params.publisherBond, CreditReason.PublisherBond);
        if (candidate.matchingStake == 0) {
            _returnFeePot(taskId, task);
        } else {
            task.unsettledStake = candidate.matchingStake;
        }
    }

    /// @inheritdoc ITaskRegistry
    function refute(uint256 taskId, address participant, address refuter) external nonReentrant {
        if (msg.sender != disputes) revert OnlyDisputes();
        Task storage task = _openedTask(taskId);
        if (participant != task.candidate) revert NotExamined(taskId, participant);
        _eliminate(taskId, task, Elimination.Refuted, refuter);
    }

    // ————— After its end —————

    /// @inheritdoc ITaskRegistry
    function settle(uint256 taskId, address participant) external nonReentrant {
        Settlement memory settlement = settlementOf(taskId, participant);
        if (settlement.settled) revert AlreadySettled();
        Task storage task = _tasks[taskId];
        _commitments[taskId][participant].settled = true;
        _pay(taskId, task, participant, settlement.commitBond, CreditReason.CommitBond);
        _pay(taskId, task, participant, settlement.candidateBond, CreditReason.CandidateBond);
        _pay(taskId, task, participant, settlement.compensation, CreditReason.Compensation);
        emit Settled(taskId, participant);
    }

    /// @inheritdoc ITaskRegistry
    function settleValidator(uint256 taskId, address validator) external nonReentrant {
        Task storage task = _taskIn(taskId, Phase.Confirmed);
        uint256 share = TaskSteps.settleValidator(task, _seals[taskId][task.candidate][validator], validator);
        _pay(taskId, task, validator, share, CreditReason.ValidatorFee);
    }

    // ————— Views: tasks —————

    /// @inheritdoc ITaskRegistry
    function openTaskCount() external view returns (uint256) {
        return _openTasks.length();
    }

    /// @inheritdoc ITaskRegistry
    function openTasks(uint256 offset, uint256 limit) external view returns (uint256[] memory taskIds) {
        return _openTasks.values(offset, Math.saturatingAdd(offset, limit));
    }

    /// @inheritdoc ITaskRegistry
    function phaseOf(uint256 taskId) external view returns (Phase) {
        return _phase(taskId, _tasks[taskId]);
    }

    /// @inheritdoc ITaskRegistry
    function taskOf(uint256 taskId) external view returns (TaskView memory view_) {
        Task storage task = _tasks[taskId];
        view_.phase = _phase(taskId, task);
        view_.voidReason = task.voidReason;
        view_.publisher = task.publisher;
        if (task.stage == Stage.Confirmed) view_.winner = task.candidate;
        view_.commitments = task.commitments;
        view_.revealed = task.revealed;
        view_.queued = uint32(task.queue.length());
        view_.key = task.key;
        view_.votesAgainst = task.votesAgainst;
        view_.escrow = task.escrow;
        view_.params = task.params;
    }

    /// @inheritdoc ITaskRegistry
    function testSetOf(uint256 taskId) external view returns (uint32 count, bytes32 root) {
        TaskParams storage params = _tasks[taskId].params;
        return (params.testCount, params.testRoot);
    }

    /// @inheritdoc ITaskRegistry
    function scheduleOf(uint256 taskId) external view returns (Schedule memory) {
        return _tasks[taskId].schedule;
    }

    /// @inheritdoc ITaskRegistry
    function rankingScore(uint256 taskId) external view returns (uint256) {
        Task storage task = _known(taskId);
        return TaskSteps.rankingScore(task);
    }

    /// @inheritdoc ITaskRegistry
    function candidateBondOf(uint256 taskId) external view returns (uint256) {
        return _candidateBond(_known(taskId));
    }

    // ————— Views: participants and validation —————

    /// @inheritdoc ITaskRegistry
    function commitmentOf(uint256 taskId, address participant) external view returns (Commitment memory) {
        return _commitments[taskId][participant];
    }

    /// @inheritdoc ITaskRegistry
    function modelRootOf(uint256 taskId, address participant) external view returns (bytes32) {
        return _commitments[taskId][participant].modelRoot;
    }

    /// @inheritdoc ITaskRegistry
    function examinationOf(uint256 taskId) external view returns (Examination memory examination) {
        Task storage task = _tasks[taskId];
        address participant = task.candidate;
        if (participant == address(0)) return examination;
        uint256 matching = _commitments[taskId][participant].matchingStake;
        examination.participant = participant;
        examination.sealDeadline = task.schedule.sealDeadline;
        examination.openDeadline = task.schedule.openDeadline;
        examination.openedAt = task.openedAt;
        examination.windowEnd = task.schedule.windowEnd;
        examination.result = task.result;
        examination.matchingStake = matching;
        examination.totalStake = task.totalStake;
        examination.quorum = _isQuorum(matching, task.totalStake);
        examination.next = task.queue.front();
    }

    /// @inheritdoc ITaskRegistry
    function sealOf(uint256 taskId, address participant, address validator) external view returns (SealView memory) {
        return _seals[taskId][participant][validator];
    }

    /// @inheritdoc ITaskRegistry
    function settlementOf(uint256 taskId, address participant) public view returns (Settlement memory settlement) {
        Task storage task = _tasks[taskId];
        if (task.stage != Stage.Confirmed && task.stage != Stage.Void) {
            revert WrongPhase(taskId, _phase(taskId, task));
        }
        Commitment storage own = _commitments[taskId][participant];
        CommitmentState state = own.state;
        if (state == CommitmentState.None) revert NoCommitment(taskId, participant);
        bool atPublishersCost = task.stage == Stage.Void && task.voidReason != VoidReason.NoCandidate;
        if (atPublishersCost) {
            settlement.commitBond = task.params.commitBond;
            // Intervals by place instead of equal parts: exact to the unit, and the same whoever is settled first.
            uint256 pot = task.params.publisherBond / 2;
            settlement.compensation =
                (pot * (uint256(own.index) + 1)) / task.commitments -
                (pot * own.index) / task.commitments;
        } else if (state != CommitmentState.Committed) {
            settlement.commitBond = task.params.commitBond;
            bool keepsBond =
                state == CommitmentState.Candidate ||
                    state == CommitmentState.Unattested ||
                    state == CommitmentState.Winner;
            if (keepsBond) settlement.candidateBond = _candidateBond(task);
            if (state == CommitmentState.Winner) settlement.reward = task.params.reward;
        }
        settlement.settled = own.settled;
    }

    // ————— Views: ledger —————

    /// @inheritdoc ITaskRegistry
    function height() external view returns (uint256) {
        return _ledger.height;
    }

    /// @inheritdoc ITaskRegistry
    function head() external view returns (bytes32) {
        return _ledger.entries[_ledger.height].hash;
    }

    /// @inheritdoc ITaskRegistry
    function blockAt(uint256 height_) external view returns (Block memory) {
        if (height_ == 0 || height_ > _ledger.height) revert NoSuchBlock(height_);
        uint256 taskId = _ledger.entries[height_].taskId;
        Task storage task = _tasks[taskId];
        return _ledger.blockOf(height_, task, _commitments[taskId][task.candidate]);
    }

    // ————— Time —————

    /// @dev The only place where time decides. Every phase is [start, end).
    function _phase(uint256 taskId, Task storage task) private view returns (Phase) {
        Stage stage = task.stage;
        if (stage == Stage.None) return Phase.None;
        if (stage == Stage.Confirmed) return Phase.Confirmed;
        if (stage == Stage.Void) return Phase.Void;
        Schedule storage schedule = task.schedule;
        uint256 time = block.timestamp;
        if (stage == Stage.Published) {
            if (time < schedule.trainingStart) return Phase.Initialisation;
            if (time < schedule.trainingEnd) return Phase.Training;
            return time < schedule.keyDeadline ? Phase.AwaitKey : Phase.Advanceable;
        }
        if (stage == Stage.Released) {
            if (time < schedule.revealStart) return Phase.TestVote;
            return time < schedule.revealEnd ? Phase.Reveal : Phase.Advanceable;
        }
        if (task.openedAt == 0) {
            if (time < schedule.sealDeadline) return Phase.Seal;
            return time < schedule.openDeadline ? Phase.Open : Phase.Advanceable;
        }
        if (time < schedule.windowEnd) return Phase.Window;
        address participant = task.candidate;
        if (disputes != address(0)) {
            return IDisputes(disputes).isContested(taskId, participant) ? Phase.Window : Phase.Confirmable;
        }
        bool quorum = _isQuorum(_commitments[taskId][participant].matchingStake, task.totalStake);
        return quorum ? Phase.Confirmable : Phase.Advanceable;
    }

    // ————— Guards —————

    function _known(uint256 taskId) private view returns (Task storage task) {
        task = _tasks[taskId];
        if (task.stage == Stage.None) revert WrongPhase(taskId, Phase.None);
    }

    function _taskIn(uint256 taskId, Phase wanted) private view returns (Task storage task) {
        task = _tasks[taskId];
        Phase phase = _phase(taskId, task);
        if (phase != wanted) revert WrongPhase(taskId, phase);
    }

    /// @dev The examined candidate is opened and nothing is decided yet.
    function _openedTask(uint256 taskId) private view returns (Task storage task) {
        task = _tasks[taskId];
        Phase phase = _phase(taskId, task);
        if (phase != Phase.Window && phase != Phase.Confirmable) revert WrongPhase(taskId, phase);
    }

    function _stakeAt(address validator, uint256 time) private view returns (uint256 weight) {
        weight = stake.stakeAt(validator, time);
        if (weight == 0) revert NoStake(validator, time);
    }

    function _isQuorum(uint256 weight, uint256 total) private view returns (bool) {
        return TaskParameters.isQuorum(weight, total, quorumBps);
    }

    // ————— Transitions —————

    /// @dev Half of a lost bond is burned, so that fighting oneself never pays; the other half is the refuter's, or the
    /// validators' where nobody refuted.
    function _eliminate(uint256 taskId, Task storage task, Elimination reason, address refuter) private {
        Commitment storage candidate = _commitments[taskId][task.candidate];
        bool refuted = refuter != address(0);
        (uint256 slashed, bool found) = CandidateWalk.eliminate(task, candidate, taskId, reason, refuted);
        uint256 kept = slashed / 2;
        _burnHeld(taskId, task, slashed - kept, BurnReason.CandidateBond);
        if (refuted) _pay(taskId, task, refuter, kept, CreditReason.Refutation);
        if (!found) _void(taskId, task, VoidReason.NoCandidate);
    }

    /// @dev Where the publisher is at fault, half of its bond is burned and the rest is its victims'; else, and where there
    /// are none, all of it goes back.
    function _void(uint256 taskId, Task storage task, VoidReason reason) private {
        task.voidReason = reason;
        _end(taskId, task, Stage.Void);
        _pay(taskId, task, task.publisher, task.params.reward, CreditReason.RewardReturned);
        uint256 bond = task.params.publisherBond;
        if (reason == VoidReason.NoCandidate || task.commitments == 0) {
            _pay(taskId, task, task.publisher, bond, CreditReason.PublisherBond);
        } else {
            _burnHeld(taskId, task, bond - bond / 2, BurnReason.PublisherBond);
        }
        _returnFeePot(taskId, task);
        emit TaskVoided(taskId, reason);
    }

    function _end(uint256 taskId, Task storage task, Stage stage) private {
        task.stage = stage;
        _openTasks.remove(taskId);
    }

    // ————— A task's money —————

    function _candidateBond(Task storage task) private view returns (uint256) {
        return TaskParameters.candidateBond(task.params.reward, task.params.candidateBondBps);
    }

    function _hold(Task storage task, uint256 amount) private {
        task.escrow += amount;
        _pull(msg.sender, amount);
    }

    function _pay(uint256 taskId, Task storage task, address account, uint256 amount, CreditReason reason) private {
        task.escrow -= amount;
        _credit(account, amount, reason, taskId);
    }

    function _burnHeld(uint256 taskId, Task storage task, uint256 amount, BurnReason reason) private {
        task.escrow -= amount;
        _burn(amount, reason, taskId);
    }

    /// @dev What no validator earned. Bonds that were lost by silence or to a quorum are not the publisher's: with phases
    /// that leave nobody time to answer, or with a quorum of its own, it would earn those of all who fell for its task.
    function _returnFeePot(uint256 taskId, Task storage task) private {
        uint256 pot = task.feePot;
        uint256 silent = task.lostBySilence;
        task.feePot = 0;
        _burnHeld(taskId, task, silent, BurnReason.CandidateBond);
        _pay(taskId, task, task.publisher, pot - silent, CreditReason.ValidatorFeeReturned);
    }
}
