// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {ITaskRegistry} from "../interfaces/ITaskRegistry.sol";
import {CandidateQueue} from "./CandidateQueue.sol";
import {Task} from "./Task.sol";
import {TaskParameters} from "./TaskParameters.sol";

/// @title The walk through a task's candidates
/// @notice One is examined at a time: it stands, or it is eliminated and the next one is taken. What becomes of the
/// task's money is the registry's part.
/// @dev Linked, like {TaskSteps}: it runs in the registry's context.
library CandidateWalk {
    using CandidateQueue for CandidateQueue.Queue;

    /// @notice Takes the first candidate.
    /// @return found false where there is none
    function begin(Task storage task, uint256 taskId) external returns (bool found) {
        return _next(task, taskId);
    }

    /// @notice Takes the examined candidate out.
    /// @return slashed what it loses of its bond
    function eliminate(
        Task storage task,
        ITaskRegistry.Commitment storage candidate,
        uint256 taskId,
        ITaskRegistry.Elimination reason,
        bool refuted
    ) external returns (uint256 slashed, bool found) {
        if (reason == ITaskRegistry.Elimination.Unattested) {
            candidate.state = ITaskRegistry.CommitmentState.Unattested;
        } else {
            candidate.state = ITaskRegistry.CommitmentState.Eliminated;
            slashed = TaskParameters.candidateBond(task.params.reward, task.params.candidateBondBps);
        }
        emit ITaskRegistry.CandidateEliminated(taskId, task.candidate, reason, slashed);
        if (!refuted) {
            task.feePot += slashed / 2;
            if (reason != ITaskRegistry.Elimination.FalseClaim) task.lostBySilence += slashed / 2;
        }
        found = _next(task, taskId);
    }

    /// @dev Takes the next candidate, if there is one. Where the one before was opened, this one could be sealed in its
    /// window, but not after that: only so much of the seal period is over.
    function _next(Task storage task, uint256 taskId) private returns (bool found) {
        uint256 openedAt = task.openedAt;
        uint256 sealable = openedAt == 0 ? 0 : Math.min(block.timestamp, task.schedule.windowEnd) - openedAt;
        address next = task.queue.pop();
        found = next != address(0);
        task.candidate = next;
        task.openedAt = 0;
        task.result = 0;
        task.schedule.windowEnd = 0;
        uint40 sealDeadline = 0;
        uint40 openDeadline = 0;
        if (found) {
            ITaskRegistry.PhaseLengths storage phases = task.params.phases;
            sealDeadline = uint40(block.timestamp + Math.saturatingSub(phases.seal, sealable));
            openDeadline = sealDeadline + phases.open;
            emit ITaskRegistry.ExaminationBegun(taskId, next, sealDeadline, openDeadline);
        }
        task.schedule.sealDeadline = sealDeadline;
        task.schedule.openDeadline = openDeadline;
    }
}
