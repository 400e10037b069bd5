// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {IPredictionDisputes} from "../interfaces/IDisputes.sol";
import {ITaskRegistry} from "../interfaces/ITaskRegistry.sol";
import {Arithmetic} from "./Arithmetic.sol";
import {Hashing} from "./Hashing.sol";
import {ModelOpenings} from "./ModelOpenings.sol";
import {Networks, Operation, Step, TensorShape} from "./Networks.sol";
import {Traces, Window} from "./Traces.sol";

/// @title The moves of a challenge that read the model
/// @notice What a trace must look like, which tensor is disputed, and what the chain computes of it. Whose move it is,
/// clocks and money are the part of the disputes contract.
/// @dev Linked: a contract that held this as well would be too large. It runs in that contract's context.
library DisputeSteps {
    /// @notice Reverts unless the trace fits the model and its largest logit is that of the claimed class.
    /// @return hash of the trace, as it is stored
    function show(
        IPredictionDisputes.Challenge storage own,
        uint256 challengeId,
        IPredictionDisputes.ModelOpening calldata model,
        IPredictionDisputes.Trace calldata trace
    ) external view returns (bytes32) {
        ModelOpenings.verify(model, own.disputed);
        if (!Networks.isInRange(model.architecture)) revert IPredictionDisputes.MalformedArchitecture();
        ModelOpenings.checkLength(trace.tensors.length, Networks.steps(model.architecture).length - 1);
        ModelOpenings.checkLength(trace.logits.length, model.architecture.classes);
        uint256 largest = 0;
        for (uint256 i = 1; i < trace.logits.length; ++i) {
            if (trace.logits[i] > trace.logits[largest]) largest = i;
        }
        if (largest != own.prediction) revert IPredictionDisputes.WrongClass(largest, own.prediction);
        return _hashOf(challengeId, trace);
    }

    /// @notice Takes the first wrong tensor, or behind the last one the logits.
    /// @return logits true where it is these
    function pick(
        IPredictionDisputes.Challenge storage own,
        uint256 challengeId,
        IPredictionDisputes.ModelOpening calldata model,
        IPredictionDisputes.Trace calldata trace,
        uint16 number
    ) external returns (bool logits) {
        ModelOpenings.checkHash(_hashOf(challengeId, trace), own.trace);
        ModelOpenings.verify(model, own.disputed);
        Step[] memory steps = Networks.steps(model.architecture);
        if (number >= steps.length) revert IPredictionDisputes.OutOfRange(number, steps.length);
        own.step = number;
        if (number == steps.length - 1) return true;
        TensorShape memory shape = steps[number].output;
        own.height = uint16(shape.height);
        own.width = uint16(shape.width);
        own.positionBytes = uint32(shape.channels * shape.valueBytes);
        own.disputed = trace.tensors[number];
    }

    /// @notice Computes the disputed value, or a part of its sum.
    /// @return decided false where kernel rows are left
    /// @return claimed the value as the claimant has it
    /// @return computed as the chain has it
    function compute(
        IPredictionDisputes.Challenge storage own,
        uint256 challengeId,
        ITaskRegistry registry,
        IPredictionDisputes.Computation calldata c
    ) external returns (bool decided, int256 claimed, int256 computed) {
        ModelOpenings.checkHash(_hashOf(challengeId, c.trace), own.trace);
        ModelOpenings.verify(c.model, registry.modelRootOf(own.taskId, own.participant));
        Step[] memory steps = Networks.steps(c.model.architecture);
        bool whole = _checkPart(own, steps[own.step], c.channel, c.toKernelRow);
        computed = _compute(own, registry, c, steps);
        if (whole) return (true, _claimed(own, c, steps), computed);
        own.channel = c.channel;
        own.kernelRow = c.toKernelRow;
        own.sum = SafeCast.toInt64(computed);
    }

    /// @dev Whether kernel rows up to `to` are all of them.
    function _checkPart(
        IPredictionDisputes.Challenge storage own,
        Step memory step,
        uint256 channel,
        uint256 to
    ) private view returns (bool whole) {
        if (channel >= step.output.channels) revert IPredictionDisputes.OutOfRange(channel, step.output.channels);
        uint256 from = own.kernelRow;
        // The value is chosen with the first part.
        if (from > 0 && channel != own.channel) revert IPredictionDisputes.OutOfRange(channel, own.channel);
        whole = to == step.windowHeight;
        // Only a linear step is long enough to be computed in parts.
        if (to <= from || to > step.windowHeight || (step.operation != Operation.Linear && !whole)) {
            revert IPredictionDisputes.OutOfRange(to, step.windowHeight);
        }
    }

    /// @dev The value, or before the last kernel row the sum so far.
    function _compute(
        IPredictionDisputes.Challenge storage own,
        ITaskRegistry registry,
        IPredictionDisputes.Computation calldata c,
        Step[] memory steps
    ) private view returns (int256) {
        uint256 index = own.step;
        Step memory step = steps[index];
        TensorShape memory input = index == 0 ? Networks.pixels(c.model.architecture) : steps[index - 1].output;
        Window memory window = Traces.window(step, input, own.row, own.column, own.kernelRow, c.toKernelRow);
        if (index > 0) Traces.verify(c.input, c.trace.tensors[index - 1], input, window);
        if (step.operation == Operation.MaxPool) {
            return int256(Arithmetic.largest(input, c.channel, c.input.values));
        }
        if (step.operation == Operation.Sum) return int256(Arithmetic.total(input, c.channel, c.input.values));
        _verifyUnit(c, step, input, window);
        bytes calldata weights = c.unit.weights;
        int256 sum = own.sum;
        if (index > 0) {
            sum += Arithmetic.partialSum(step, input, window, c.input.values, weights);
        } else {
            _verifySample(own, registry, c);
            sum += Arithmetic.partialSumOfPixels(step, input, window, c.sample.pixels, weights);
        }
        if (c.toKernelRow < step.windowHeight) return sum;
        sum += c.unit.bias;
        return step.requantised ? int256(Arithmetic.requantise(sum, step.shift, step.max)) : sum;
    }

    /// @dev What the claimant says that the value is.
    function _claimed(
        IPredictionDisputes.Challenge storage own,
        IPredictionDisputes.Computation calldata c,
        Step[] memory steps
    ) private view returns (int256) {
        if (own.step == steps.length - 1) return c.trace.logits[c.channel];
        ModelOpenings.checkHash(keccak256(c.claimed), own.disputed);
        return int256(Arithmetic.valueAt(c.claimed, c.channel, steps[own.step].output.valueBytes));
    }

    /// @dev The weights are those of the kernel rows that lie on the tensor, of unit `channel` of the step's layer.
    function _verifyUnit(
        IPredictionDisputes.Computation calldata c,
        Step memory step,
        TensorShape memory input,
        Window memory window
    ) private pure {
        IPredictionDisputes.UnitOpening calldata unit = c.unit;
        ModelOpenings.checkLength(unit.rows.length, step.windowHeight);
        uint256 rows = window.bottom - window.top;
        uint256 size = 2 * step.windowWidth * input.channels;
        ModelOpenings.verifyRows(unit, window.rowsBefore, rows, size);
        ModelOpenings.verifyLeaf(c.model, uint32(step.layer), c.channel, unit);
    }

    function _verifySample(
        IPredictionDisputes.Challenge storage own,
        ITaskRegistry registry,
        IPredictionDisputes.Computation calldata c
    ) private view {
        IPredictionDisputes.SampleOpening calldata sample = c.sample;
        (uint32 count, bytes32 testRoot) = registry.testSetOf(own.taskId);
        TensorShape memory shape = Networks.pixels(c.model.architecture);
        ModelOpenings.checkLength(sample.pixels.length, shape.height * shape.width * shape.channels);
        bytes32 root = keccak256(
            abi.encode(
                Hashing.TEST,
                count,
                shape.height,
                shape.width,
                shape.channels,
                c.model.architecture.classes,
                sample.labels,
                sample.samplesRoot
            )
        );
        ModelOpenings.checkHash(root, testRoot);
        bytes32 leaf = keccak256(abi.encode(Hashing.SAMPLE, own.sample, keccak256(sample.pixels)));
        if (!MerkleProof.verifyCalldata(sample.siblings, sample.samplesRoot, leaf)) {
            revert IPredictionDisputes.HashMismatch();
        }
    }

    function _hashOf(uint256 challengeId, IPredictionDisputes.Trace calldata trace) private pure returns (bytes32) {
        return keccak256(abi.encode(Hashing.TRACE, challengeId, trace.tensors, trace.logits));
    }
}
