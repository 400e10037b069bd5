// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ITaskRegistry} from "../interfaces/ITaskRegistry.sol";
import {PredictionCount} from "./PredictionCount.sol";

/// @title Ranges of a task's parameters
library TaskParameters {
    uint256 internal constant BPS = 10_000;
    uint256 internal constant MIN_CANDIDATE_BOND_BPS = 500;
    uint256 internal constant MAX_CID_LENGTH = 64;
    uint256 internal constant MAX_PHASE = 30 days;
    /// @dev Answer periods from a seal to the challenge of it, beside the windows: eight moves of a game over the
    /// candidate before, in whose window this one can be sealed, eight of the game that refutes this one, and two in
    /// which its seals can be challenged; a running challenge holds the stake itself.
    uint256 internal constant PERIODS_OF_DISPUTES = 18;

    /// @notice Reverts with the name of the first parameter that is out of its range.
    /// @param unbondingPeriod validators' stake must outlast what it sealed
    /// @param answerPeriod of the deployment's disputes, 0 without: a quorum ends the window with the short one, and a
    /// challenger needs a period to get its message mined
    function check(
        ITaskRegistry.TaskParams calldata params,
        uint256 unbondingPeriod,
        uint256 answerPeriod
    ) internal pure {
        _require(isCid(params.descriptorCid), "descriptorCid");
        _require(params.keyHash != 0, "keyHash");
        _require(params.testRoot != 0, "testRoot");
        _require(params.spaceHash != 0, "spaceHash");
        _require(params.testCount > 0 && params.testCount <= PredictionCount.MAX_LENGTH, "testCount");
        _require(params.minCorrect <= params.testCount, "minCorrect");
        _require(params.maxModelBytes > 0, "maxModelBytes");
        _require(
            params.candidateBondBps >= MIN_CANDIDATE_BOND_BPS && params.candidateBondBps <= BPS,
            "candidateBondBps"
        );
        _require(params.difficulty.networkFlops > 0, "networkFlops");
        _require(params.difficulty.bandwidth > 0, "bandwidth");
        _require(params.reward > 0, "reward");

        ITaskRegistry.PhaseLengths calldata phases = params.phases;
        _require(phases.initialisation <= MAX_PHASE, "initialisation");
        _require(_isLength(phases.training), "training");
        _require(_isLength(phases.keyRelease), "keyRelease");
        _require(_isLength(phases.testVote), "testVote");
        _require(_isLength(phases.reveal), "reveal");
        _require(_isLength(phases.seal), "seal");
        _require(_isLength(phases.open), "open");
        _require(_isLength(phases.longWindow), "longWindow");
        _require(_isLength(phases.shortWindow) && phases.shortWindow <= phases.longWindow, "shortWindow");
        _require(phases.shortWindow >= answerPeriod, "shortWindow");
        // From a seal that is made as soon as the candidate before is opened.
        uint256 examination = uint256(phases.seal) + phases.open + 2 * uint256(phases.longWindow);
        _require(examination + PERIODS_OF_DISPUTES * answerPeriod <= unbondingPeriod, "seal + open + 2 * longWindow");
    }

    /// @notice Whether any task could be published: one second of seal and of open, and two windows of a period.
    function leavesRoom(uint256 unbondingPeriod, uint256 answerPeriod) internal pure returns (bool) {
        return 2 + (PERIODS_OF_DISPUTES + 2) * answerPeriod <= unbondingPeriod || answerPeriod == 0;
    }

    /// @notice Whether the bytes are as long as a content identifier may be; what they say is not the chain's matter.
    function isCid(bytes calldata cid) internal pure returns (bool) {
        return cid.length > 0 && cid.length <= MAX_CID_LENGTH;
    }

    /// @notice A candidate's bond, rounded up.
    function candidateBond(uint256 reward, uint256 bps) internal pure returns (uint256) {
        return (reward * bps + BPS - 1) / BPS;
    }

    /// @notice Nobody is no quorum of nobody.
    function isQuorum(uint256 weight, uint256 total, uint256 quorumBps) internal pure returns (bool) {
        return weight > 0 && weight * BPS >= total * quorumBps;
    }

    function _isLength(uint256 phase) private pure returns (bool) {
        return phase > 0 && phase <= MAX_PHASE;
    }

    function _require(bool holds, string memory parameter) private pure {
        if (!holds) revert ITaskRegistry.InvalidParameter(parameter);
    }
}
