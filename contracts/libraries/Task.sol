// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ITaskRegistry} from "../interfaces/ITaskRegistry.sol";
import {CandidateQueue} from "./CandidateQueue.sol";

/// @dev How far calls have brought a task; time does the rest (docs/states.md).
enum Stage {
    None,
    Published,
    Released,
    Examining,
    Confirmed,
    Void
}

/// @dev A task as the registry stores it.
struct Task {
    address publisher;
    Stage stage;
    ITaskRegistry.VoidReason voidReason;
    uint64 lastSequence;
    ITaskRegistry.Schedule schedule;
    uint32 commitments;
    uint32 revealed;
    // all stake at the last second of the reveal phase; known from the examination on
    uint128 totalStake;
    bytes32 key;
    uint256 votesAgainst;
    uint256 escrow;
    // validators' fee and slashed halves; after confirmation, what validators have not been credited yet
    uint256 feePot;
    // the part of the fee pot that stems from candidates that were not opened in time or contradicted
    uint256 lostBySilence;
    // after confirmation, the attested stake of the validators that have not been credited yet
    uint256 unsettledStake;
    // under examination, and after confirmation the winner
    address candidate;
    uint40 openedAt;
    bytes32 result;
    ITaskRegistry.TaskParams params;
    CandidateQueue.Queue queue;
}
