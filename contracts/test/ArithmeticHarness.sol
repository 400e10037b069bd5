// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Arithmetic} from "../libraries/Arithmetic.sol";
import {Architecture, Networks, Operation, Step, TensorShape} from "../libraries/Networks.sol";
import {TensorOpening, Traces, Window} from "../libraries/Traces.sol";

/// @title The arithmetic of disputes, callable by tests
contract ArithmeticHarness {
    /// @notice One value of a trace, or a logit, with what it is computed from.
    struct Value {
        uint256 step;
        uint256 row;
        uint256 column;
        uint256 channel;
        /// hash of the tensor that is read; of the pixels as a tensor too
        bytes32 tensor;
        TensorOpening opening;
        int256 bias;
        /// the kernel rows that lie on the tensor
        bytes weights;
    }

    function hash(Architecture calldata architecture) external pure returns (bytes32) {
        return Networks.hash(architecture);
    }

    function steps(Architecture calldata architecture) external pure returns (Step[] memory) {
        return Networks.steps(architecture);
    }

    /// @notice The values as the chain computes them.
    function compute(
        Architecture calldata architecture,
        Value[] calldata values
    ) external pure returns (int256[] memory results) {
        Step[] memory all = Networks.steps(architecture);
        TensorShape memory pixels = Networks.pixels(architecture);
        results = new int256[](values.length);
        for (uint256 i = 0; i < values.length; ++i) {
            Value calldata value = values[i];
            results[i] = _compute(all[value.step], value.step == 0 ? pixels : all[value.step - 1].output, value);
        }
    }

    function _compute(Step memory step, TensorShape memory input, Value calldata value) private pure returns (int256) {
        Window memory window = Traces.window(step, input, value.row, value.column, 0, step.windowHeight);
        Traces.verify(value.opening, value.tensor, input, window);
        bytes calldata values = value.opening.values;
        if (step.operation == Operation.MaxPool) return int256(Arithmetic.largest(input, value.channel, values));
        if (step.operation == Operation.Sum) return int256(Arithmetic.total(input, value.channel, values));
        int256 acc = value.bias + Arithmetic.partialSum(step, input, window, values, value.weights);
        return step.requantised ? int256(Arithmetic.requantise(acc, step.shift, step.max)) : acc;
    }
}
