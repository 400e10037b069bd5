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

    // ————— Every value of one channel —————

    /// @notice One unit of a linear step, or one channel of another one, and everything that it reads.
    struct Channel {
        uint256 step;
        uint256 channel;
        /// all values of the tensor that is read, big-endian
        bytes tensor;
        int256 bias;
        /// of the whole unit
        bytes weights;
    }

    /// @notice What the channel's positions `from` … `to` − 1 are.
    /// @dev Sums are computed in two parts, whose border differs from position to position.
    function computeChannel(
        Architecture calldata architecture,
        Channel calldata channel,
        uint256 from,
        uint256 to
    ) external view returns (int256[] memory results) {
        Step[] memory all = Networks.steps(architecture);
        Step memory step = all[channel.step];
        TensorShape memory input = channel.step == 0 ? Networks.pixels(architecture) : all[channel.step - 1].output;
        results = new int256[](to - from);
        for (uint256 i = from; i < to; ++i) {
            uint256 border = step.operation == Operation.Linear ? 1 + (i % step.windowHeight) : step.windowHeight;
            int256 acc = channel.bias + _partAt(step, input, channel, i, 0, border);
            if (border < step.windowHeight) acc += _partAt(step, input, channel, i, border, step.windowHeight);
            if (step.requantised) acc = int256(Arithmetic.requantise(acc, step.shift, step.max));
            results[i - from] = acc;
        }
    }

    /// @notice What a window's values come to before the bias. Called by this contract itself, since the library reads
    /// calldata.
    /// @param values those of the window, or all pixels of a sample
    function part(
        Step calldata step,
        TensorShape calldata input,
        Window calldata window,
        uint256 channel,
        bytes calldata values,
        bytes calldata weights
    ) external pure returns (int256) {
        if (step.operation == Operation.MaxPool) return int256(Arithmetic.largest(input, channel, values));
        if (step.operation == Operation.Sum) return int256(Arithmetic.total(input, channel, values));
        if (input.valueBytes == 1) return Arithmetic.partialSumOfPixels(step, input, window, values, weights);
        return Arithmetic.partialSum(step, input, window, values, weights);
    }

    function _partAt(
        Step memory step,
        TensorShape memory input,
        Channel calldata channel,
        uint256 position,
        uint256 from,
        uint256 to
    ) private view returns (int256) {
        uint256 columns = step.output.width;
        Window memory window = Traces.window(step, input, position / columns, position % columns, from, to);
        bytes memory values = input.valueBytes == 1 ? channel.tensor : _read(input, window, channel.tensor);
        bytes calldata weights = channel.weights;
        if (step.operation == Operation.Linear) {
            uint256 size = 2 * step.windowWidth * input.channels;
            weights = weights[window.rowsBefore * size:][:(window.bottom - window.top) * size];
        }
        return this.part(step, input, window, channel.channel, values, weights);
    }

    function _read(
        TensorShape memory input,
        Window memory window,
        bytes calldata tensor
    ) private pure returns (bytes memory values) {
        uint256 size = input.channels * input.valueBytes;
        uint256 width = (window.right - window.left) * size;
        values = new bytes((window.bottom - window.top) * width);
        for (uint256 row = window.top; row < window.bottom; ++row) {
            bytes calldata line = tensor[(row * input.width + window.left) * size:][:width];
            uint256 at = (row - window.top) * width;
            assembly ("memory-safe") {
                calldatacopy(add(add(values, 32), at), line.offset, line.length)
            }
        }
    }
}
