// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IPredictionDisputes} from "../interfaces/IDisputes.sol";
import {ITaskRegistry} from "../interfaces/ITaskRegistry.sol";
import {Hashing} from "./Hashing.sol";

/// @title What validators have sealed
/// @dev Linked, like {DisputeSteps}.
library Seals {
    /// @notice Reverts unless the validator has sealed that result of the candidate, and the test set has the sample.
    function check(
        address registry,
        uint256 taskId,
        address participant,
        address validator,
        bytes32 result,
        uint32 sample
    ) external view {
        bytes32 made = ITaskRegistry(registry).sealOf(taskId, participant, validator).seal;
        if (made == 0) revert IPredictionDisputes.SealNotChallengeable(taskId, participant, validator);
        if (made != _sealOn(registry, taskId, participant, validator, result)) {
            revert IPredictionDisputes.HashMismatch();
        }
        // How many samples there are the sealed result says as well, but only its validator has checked that.
        (uint32 samples, ) = ITaskRegistry(registry).testSetOf(taskId);
        if (sample >= samples) revert IPredictionDisputes.NoSuchSample(sample, samples);
    }

    /// @notice Whether the validator has sealed another result than the zero result, which is that of a malformed model.
    function isFalse(
        address registry,
        uint256 taskId,
        address participant,
        address validator
    ) external view returns (bool) {
        bytes32 made = ITaskRegistry(registry).sealOf(taskId, participant, validator).seal;
        bytes32 truth = _sealOn(registry, taskId, participant, validator, 0);
        return made != 0 && made != truth;
    }

    function _sealOn(
        address registry,
        uint256 taskId,
        address participant,
        address validator,
        bytes32 result
    ) private view returns (bytes32) {
        bytes32 commitment = ITaskRegistry(registry).commitmentOf(taskId, participant).hash;
        return Hashing.validatorSealOf(registry, taskId, commitment, validator, result);
    }
}
