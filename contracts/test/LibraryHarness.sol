// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IPool} from "../interfaces/IPool.sol";
import {ITaskRegistry} from "../interfaces/ITaskRegistry.sol";
import {CandidateQueue} from "../libraries/CandidateQueue.sol";
import {Hashing} from "../libraries/Hashing.sol";
import {PointsTree} from "../libraries/PointsTree.sol";
import {PredictionCount} from "../libraries/PredictionCount.sol";
import {Ranking} from "../libraries/Ranking.sol";

/// @title The libraries' functions, callable by tests
contract LibraryHarness {
    using CandidateQueue for CandidateQueue.Queue;

    CandidateQueue.Queue private _queue;

    function result(bytes calldata predictions) external pure returns (bytes32) {
        return Hashing.result(predictions);
    }

    function labels(bytes calldata data) external pure returns (bytes32) {
        return Hashing.labels(data);
    }

    function testRoot(
        uint32 count,
        ITaskRegistry.TestSetParts calldata parts,
        bytes32 labelsHash
    ) external pure returns (bytes32) {
        return Hashing.testRoot(count, parts, labelsHash);
    }

    function commitment(
        uint256 taskId,
        address participant,
        ITaskRegistry.Opening calldata opening
    ) external view returns (bytes32) {
        return Hashing.commitment(taskId, participant, opening);
    }

    function key(address publisher, bytes32 key_) external view returns (bytes32) {
        return Hashing.key(publisher, key_);
    }

    function claimSeal(
        uint256 taskId,
        address participant,
        bytes32 modelRoot,
        bytes32 result_
    ) external view returns (bytes32) {
        return Hashing.claimSeal(taskId, participant, modelRoot, result_);
    }

    function validatorSeal(
        uint256 taskId,
        bytes32 commitment_,
        address validator,
        bytes32 result_
    ) external view returns (bytes32) {
        return Hashing.validatorSeal(taskId, commitment_, validator, result_);
    }

    function ledgerBlock(uint256 height, ITaskRegistry.Block calldata block_) external pure returns (bytes32) {
        return Hashing.ledgerBlock(height, block_);
    }

    function matches(bytes calldata a, bytes calldata b) external pure returns (uint256) {
        return PredictionCount.matches(a, b);
    }

    function score(ITaskRegistry.Difficulty calldata factors, uint256 reward) external pure returns (uint256) {
        return Ranking.score(factors, reward);
    }

    function verify(
        IPool.Split calldata split,
        IPool.PointsLeaf calldata leaf,
        IPool.SumNode[] calldata siblings
    ) external pure returns (bool valid, uint256 pre) {
        return PointsTree.verify(split, leaf, siblings);
    }

    function payment(uint256 reward, uint256 sum, uint256 pre, uint256 points) external pure returns (uint256) {
        return PointsTree.payment(reward, sum, pre, points);
    }

    function push(uint32 claimedCorrect, uint64 sequence, address participant) external {
        _queue.push(claimedCorrect, sequence, participant);
    }

    function pop() external returns (address) {
        return _queue.pop();
    }

    function front() external view returns (address) {
        return _queue.front();
    }
}
