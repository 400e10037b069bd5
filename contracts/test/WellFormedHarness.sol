// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IPredictionDisputes} from "../interfaces/IDisputes.sol";
import {IModelDisputes} from "../interfaces/IModelDisputes.sol";
import {ITaskRegistry} from "../interfaces/ITaskRegistry.sol";
import {Hashing} from "../libraries/Hashing.sol";
import {Networks} from "../libraries/Networks.sol";
import {WellFormed} from "../libraries/WellFormed.sol";

/// @title What the chain finds malformed, callable by tests
/// @dev Stands in for the registry with one task, whose hashes are those of what is given.
contract WellFormedHarness {
    ITaskRegistry.TaskView private _task;

    function setTask(
        bytes32 spaceHash,
        bytes32 testRoot,
        uint32 testCount,
        uint32 maxLuts,
        uint32 minThroughput
    ) external {
        _task.params.spaceHash = spaceHash;
        _task.params.testRoot = testRoot;
        _task.params.testCount = testCount;
        _task.params.maxLuts = maxLuts;
        _task.params.minThroughput = minThroughput;
    }

    function taskOf(uint256) external view returns (ITaskRegistry.TaskView memory) {
        return _task;
    }

    function malformedArchitecture(
        IPredictionDisputes.ModelOpening calldata model,
        IModelDisputes.SpaceOpening calldata space,
        IModelDisputes.TestOpening calldata test
    ) external view returns (uint8) {
        return WellFormed.malformedArchitecture(address(this), 1, _rootOf(model), model, space, test);
    }

    function malformedUnit(
        IPredictionDisputes.ModelOpening calldata model,
        uint32 layer,
        uint32 index,
        IPredictionDisputes.UnitOpening calldata unit
    ) external pure returns (uint8) {
        return WellFormed.malformedUnit(_rootOf(model), model, layer, index, unit);
    }

    function _rootOf(IPredictionDisputes.ModelOpening calldata model) private pure returns (bytes32) {
        bytes32 arch = Networks.hash(model.architecture);
        return keccak256(abi.encode(Hashing.MODEL, arch, model.units, model.unitsRoot));
    }
}
