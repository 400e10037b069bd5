// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title Disputes over an examined candidate, as the task registry sees them
/// @notice The contract behind this interface decides by arithmetic; it tells the registry of a refuted candidate by
/// {ITaskRegistry-refute}.
interface IDisputes {
    /// @notice Whether a challenge or a demand against the candidate is queued or running: nothing is confirmed then.
    function isContested(uint256 taskId, address participant) external view returns (bool);
}
