// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {ITaskRegistry} from "../interfaces/ITaskRegistry.sol";
import {CandidateQueue} from "./CandidateQueue.sol";
import {Hashing} from "./Hashing.sol";
import {Ledger, LedgerEntry, Ledgers} from "./Ledgers.sol";
import {PredictionCount} from "./PredictionCount.sol";
import {Ranking} from "./Ranking.sol";
import {Stage, Task} from "./Task.sol";
import {TaskParameters} from "./TaskParameters.sol";

/// @title The bulky steps of a task
/// @notice What the registry does to one task's storage where neither money nor another task is concerned. Phases are
/// checked by the registry.
/// @dev Linked, not inlined: together with these the registry would exceed the size limit of contracts. They run in the
/// registry's context, whose address the hashes bind and whose events these are.
library TaskSteps {
    using CandidateQueue for CandidateQueue.Queue;
    using Ledgers for Ledger;

    /// @notice Stores a new task; the parameters are checked.
    /// @param unbondingPeriod seconds for which validators' stake cannot leave
    /// @param answerPeriod seconds of a move in a dispute; 0 without disputes
    function publish(
        Task storage task,
        uint256 taskId,
        ITaskRegistry.TaskParams calldata params,
        uint256 unbondingPeriod,
        uint256 answerPeriod
    ) external {
        TaskParameters.check(params, unbondingPeriod, answerPeriod);
        task.publisher = msg.sender;
        task.stage = Stage.Published;
        task.feePot = params.validatorFee;

        ITaskRegistry.Schedule storage schedule = task.schedule;
        uint40 publishedAt = uint40(block.timestamp);
        uint40 trainingStart = publishedAt + params.phases.initialisation;
        uint40 trainingEnd = trainingStart + params.phases.training;
        schedule.publishedAt = publishedAt;
        schedule.trainingStart = trainingStart;
        schedule.trainingEnd = trainingEnd;
        schedule.keyDeadline = trainingEnd + params.phases.keyRelease;

        task.params = params;
        emit ITaskRegistry.TaskPublished(taskId, msg.sender, params.reward, params.descriptorCid);
    }

    /// @notice Keeps the released key, which must be the task's, and fixes the times that follow from it.
    function release(Task storage task, uint256 taskId, bytes32 key) external {
        if (Hashing.key(task.publisher, key) != task.params.keyHash) revert ITaskRegistry.WrongKey();
        task.key = key;
        task.stage = Stage.Released;
        ITaskRegistry.Schedule storage schedule = task.schedule;
        ITaskRegistry.PhaseLengths storage phases = task.params.phases;
        schedule.releasedAt = uint40(block.timestamp);
        schedule.revealStart = schedule.releasedAt + phases.testVote;
        schedule.revealEnd = schedule.revealStart + phases.reveal;
        emit ITaskRegistry.KeyReleased(taskId, key);
    }

    /// @notice Opens the caller's commitment.
    /// @return candidate whether it claims enough to be a candidate
    function reveal(
        Task storage task,
        ITaskRegistry.Commitment storage own,
        uint256 taskId,
        ITaskRegistry.Opening calldata opening,
        uint32 claimedCorrect,
        bytes32 claimSeal
    ) external returns (bool candidate) {
        if (own.state == ITaskRegistry.CommitmentState.None) revert ITaskRegistry.NoCommitment(taskId, msg.sender);
        if (own.state != ITaskRegistry.CommitmentState.Committed) {
            revert ITaskRegistry.AlreadyRevealed(taskId, msg.sender);
        }
        bytes32 actual = Hashing.commitment(taskId, msg.sender, opening);
        if (actual != own.hash) revert ITaskRegistry.WrongOpening(own.hash, actual);
        uint32 total = task.params.testCount;
        if (claimedCorrect > total) revert ITaskRegistry.ClaimTooLarge(claimedCorrect, total);

        ++task.revealed;
        candidate = claimedCorrect > 0 && claimedCorrect >= task.params.minCorrect;
        if (candidate) {
            if (claimSeal == 0) revert ITaskRegistry.ZeroHash();
            if (!TaskParameters.isCid(opening.modelCid)) revert ITaskRegistry.InvalidCid(opening.modelCid.length);
            own.state = ITaskRegistry.CommitmentState.Candidate;
            own.claimedCorrect = claimedCorrect;
            own.modelRoot = opening.modelRoot;
            own.claimSeal = claimSeal;
            own.modelCid = opening.modelCid;
            task.queue.push(claimedCorrect, own.sequence, msg.sender);
        } else {
            own.state = ITaskRegistry.CommitmentState.Withdrawn;
        }
        emit ITaskRegistry.Revealed(taskId, msg.sender, opening.modelRoot, opening.modelCid, claimedCorrect, candidate);
    }

    /// @notice Opens the examined candidate: reverts unless the predictions open the claimant's seal and the labels are
    /// the test set's, then counts.
    /// @return stands whether as many are correct as was claimed
    function open(
        Task storage task,
        ITaskRegistry.Commitment storage candidate,
        uint256 taskId,
        bytes calldata predictions,
        bytes calldata labels,
        ITaskRegistry.TestSetParts calldata parts
    ) external returns (bool stands) {
        (bytes32 result, uint32 correct) = _count(task, candidate, taskId, predictions, labels, parts);
        stands = correct == candidate.claimedCorrect;
        uint40 windowEnd = 0;
        if (stands) {
            windowEnd = uint40(block.timestamp) + task.params.phases.longWindow;
            task.result = result;
            task.openedAt = uint40(block.timestamp);
            task.schedule.windowEnd = windowEnd;
        }
        emit ITaskRegistry.Opened(taskId, task.candidate, correct, result, windowEnd);
        emit ITaskRegistry.PredictionsShown(taskId, task.candidate, predictions);
    }

    /// @notice Counts the validators whose seals match the opened result, each once. What makes a quorum of them ends the
    /// window early.
    function attest(
        Task storage task,
        ITaskRegistry.Commitment storage candidate,
        mapping(address validator => ITaskRegistry.SealView) storage seals,
        uint256 taskId,
        address[] calldata validators,
        uint256 quorumBps
    ) external {
        uint128 added = 0;
        for (uint256 i = 0; i < validators.length; ++i) {
            address validator = validators[i];
            ITaskRegistry.SealView storage their = seals[validator];
            // A batch must not fail because somebody sent a part of it first.
            if (their.seal == 0 || their.attested) continue;
            if (their.seal != Hashing.validatorSeal(taskId, candidate.hash, validator, task.result)) continue;
            their.attested = true;
            added += their.stake;
            emit ITaskRegistry.Attested(taskId, task.candidate, validator, their.stake);
        }
        if (added == 0) revert ITaskRegistry.NothingAttested();
        uint128 before = candidate.matchingStake;
        uint128 matching = before + added;
        candidate.matchingStake = matching;

        uint256 total = task.totalStake;
        if (TaskParameters.isQuorum(before, total, quorumBps)) return;
        if (!TaskParameters.isQuorum(matching, total, quorumBps)) return;
        uint256 shortEnd = Math.max(block.timestamp, uint256(task.openedAt) + task.params.phases.shortWindow);
        if (shortEnd < task.schedule.windowEnd) task.schedule.windowEnd = uint40(shortEnd);
        emit ITaskRegistry.QuorumReached(taskId, task.candidate, task.schedule.windowEnd);
    }

    /// @notice Reverts unless validators with a quorum of all stake have sealed `result`, which is not the opened one.
    /// @param validators ascending, so that none counts twice
    function contradict(
        Task storage task,
        ITaskRegistry.Commitment storage candidate,
        mapping(address validator => ITaskRegistry.SealView) storage seals,
        uint256 taskId,
        bytes32 result,
        address[] calldata validators,
        uint256 quorumBps
    ) external view {
        uint256 shown = 0;
        address previous = address(0);
        for (uint256 i = 0; i < validators.length && result != task.result; ++i) {
            address validator = validators[i];
            if (validator <= previous) revert ITaskRegistry.NotAscending(validator);
            previous = validator;
            ITaskRegistry.SealView storage their = seals[validator];
            if (their.seal == Hashing.validatorSeal(taskId, candidate.hash, validator, result)) shown += their.stake;
        }
        uint256 total = task.totalStake;
        if (!TaskParameters.isQuorum(shown, total, quorumBps)) revert ITaskRegistry.NotContradicted(shown, total);
    }

    /// @notice Appends the block of the examined candidate.
    function append(
        Ledger storage ledger,
        Task storage task,
        ITaskRegistry.Commitment storage winner,
        uint256 taskId
    ) external {
        uint256 height = ++ledger.height;
        LedgerEntry storage entry = ledger.entries[height];
        entry.taskId = SafeCast.toUint216(taskId);
        entry.time = uint40(block.timestamp);
        ITaskRegistry.Block memory block_ = ledger.blockOf(height, task, winner);
        block_.hash = Hashing.ledgerBlock(height, block_);
        entry.hash = block_.hash;
        emit ITaskRegistry.BlockConfirmed(
            height,
            taskId,
            block_.winner,
            block_.hash,
            block_.parent,
            block_.modelRoot,
            block_.modelCid,
            block_.correct,
            block_.total
        );
    }

    /// @notice Takes a validator's share out of the fee pot, once.
    function settleValidator(
        Task storage task,
        ITaskRegistry.SealView storage their,
        address validator
    ) external returns (uint256 share) {
        if (!their.attested) revert ITaskRegistry.NotAttested(validator);
        if (their.settled) revert ITaskRegistry.AlreadySettled();
        their.settled = true;
        // Of what is left, by what stake is left: the last one gets the last unit.
        share = Math.mulDiv(task.feePot, their.stake, task.unsettledStake);
        task.feePot -= share;
        task.unsettledStake -= their.stake;
    }

    /// @notice See {ITaskRegistry-rankingScore}.
    function rankingScore(Task storage task) external view returns (uint256) {
        return Ranking.score(task.params.difficulty, task.params.reward);
    }

    function _count(
        Task storage task,
        ITaskRegistry.Commitment storage candidate,
        uint256 taskId,
        bytes calldata predictions,
        bytes calldata labels,
        ITaskRegistry.TestSetParts calldata parts
    ) private view returns (bytes32 result, uint32 correct) {
        uint32 total = task.params.testCount;
        if (predictions.length != total) revert ITaskRegistry.WrongLength(total, predictions.length);
        if (labels.length != total) revert ITaskRegistry.WrongLength(total, labels.length);
        result = Hashing.result(predictions);
        bytes32 claimSeal = Hashing.claimSeal(taskId, task.candidate, candidate.modelRoot, result);
        if (claimSeal != candidate.claimSeal) revert ITaskRegistry.WrongPredictions(candidate.claimSeal, claimSeal);
        bytes32 testRoot = Hashing.testRoot(total, parts, Hashing.labels(labels));
        if (testRoot != task.params.testRoot) revert ITaskRegistry.WrongTestSet(task.params.testRoot, testRoot);
        correct = uint32(PredictionCount.matches(predictions, labels));
    }
}
