// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title Disputes over an examined candidate, or over a pool's split, as the task registry and pools see them
/// @notice The contract behind this interface decides by arithmetic; it tells the registry of a refuted candidate by
/// {ITaskRegistry-refute}, and a pool of a refuted split by {IPool-refuteSplit}.
interface IDisputes {
    /// @notice Whether a challenge or a demand against the candidate is queued or running: nothing is confirmed then.
    /// Of a pool that has won the task, whether one against its split is: nothing is claimed then.
    function isContested(uint256 taskId, address participant) external view returns (bool);
}
