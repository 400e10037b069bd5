// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IPredictionDisputes} from "../../contracts/interfaces/IDisputes.sol";
import {Hashing} from "../../contracts/libraries/Hashing.sol";
import {Architecture, Networks, Operation, Step, TensorShape} from "../../contracts/libraries/Networks.sol";
import {TensorOpening, Traces, Window} from "../../contracts/libraries/Traces.sol";

/// @notice A network, one sample, and what the evaluator makes of it; written by scripts/evaluated-networks.ts.
struct Evaluated {
    Architecture architecture;
    bytes pixels;
    /// values of every tensor, big-endian
    bytes[] tensors;
    int32[] logits;
    /// of every unit, in the order of the model's root
    int32[] biases;
    bytes[] weights;
}

/// @notice One value of a trace: `step` counts tensors, and behind the last one the logits.
struct Place {
    uint256 step;
    uint256 row;
    uint256 column;
    uint256 channel;
}

/// @title What both sides of a dispute show, made from values alone
/// @notice The hashes of docs/bytes.md a second time, so that what the contracts check is not what made it.
contract DisputePlayer {
    // ————— Shapes —————

    function stepsOf(Architecture calldata architecture) external pure returns (Step[] memory) {
        return Networks.steps(architecture);
    }

    function pixelsOf(Architecture calldata architecture) external pure returns (TensorShape memory) {
        return Networks.pixels(architecture);
    }

    function architectureHash(Architecture calldata architecture) external pure returns (bytes32) {
        return Networks.hash(architecture);
    }

    function inputOf(Evaluated memory e, Step[] memory steps, uint256 step) public view returns (TensorShape memory) {
        return step == 0 ? this.pixelsOf(e.architecture) : steps[step - 1].output;
    }

    function indexOf(TensorShape memory shape, Place memory place) public pure returns (uint256) {
        return (place.row * shape.width + place.column) * shape.channels + place.channel;
    }

    /// @notice The value at a place, as the evaluator made it.
    function valueAt(Evaluated memory e, Step[] memory steps, Place memory place) public pure returns (int256) {
        if (place.step == e.tensors.length) return e.logits[place.channel];
        TensorShape memory shape = steps[place.step].output;
        return int256(_read(e.tensors[place.step], indexOf(shape, place) * shape.valueBytes, shape.valueBytes));
    }

    // ————— Openings —————

    function openModel(Evaluated memory e) public view returns (IPredictionDisputes.ModelOpening memory) {
        bytes32[] memory units = unitHashes(e);
        return IPredictionDisputes.ModelOpening(e.architecture, uint32(units.length), treeRoot(units));
    }

    function modelRoot(Evaluated memory e) external view returns (bytes32) {
        IPredictionDisputes.ModelOpening memory model = openModel(e);
        bytes32 arch = this.architectureHash(e.architecture);
        return keccak256(abi.encode(keccak256("ponas.v1.model"), arch, model.units, model.unitsRoot));
    }

    function showTrace(Evaluated memory e) public view returns (IPredictionDisputes.Trace memory trace) {
        Step[] memory steps = this.stepsOf(e.architecture);
        trace.tensors = new bytes32[](e.tensors.length);
        for (uint256 i = 0; i < e.tensors.length; ++i) {
            trace.tensors[i] = keccak256(rowHashes(e.tensors[i], steps[i].output));
        }
        trace.logits = e.logits;
    }

    /// @notice The hashes of a tensor's rows, joined.
    function rowHashes(bytes memory values, TensorShape memory shape) public pure returns (bytes memory rows) {
        for (uint256 row = 0; row < shape.height; ++row) {
            rows = bytes.concat(rows, keccak256(positionHashes(values, shape, row)));
        }
    }

    /// @notice The hashes of a row's positions, joined.
    function positionHashes(
        bytes memory values,
        TensorShape memory shape,
        uint256 row
    ) public pure returns (bytes memory positions) {
        for (uint256 column = 0; column < shape.width; ++column) {
            positions = bytes.concat(positions, keccak256(valuesAt(values, shape, row, column)));
        }
    }

    /// @notice The values of all channels of a position.
    function valuesAt(
        bytes memory values,
        TensorShape memory shape,
        uint256 row,
        uint256 column
    ) public pure returns (bytes memory) {
        uint256 size = shape.channels * shape.valueBytes;
        return _slice(values, (row * shape.width + column) * size, size);
    }

    function openWindow(
        bytes memory values,
        TensorShape memory shape,
        Window memory window
    ) public pure returns (TensorOpening memory opening) {
        uint256 size = shape.channels * shape.valueBytes;
        opening.rows = rowHashes(values, shape);
        opening.positions = new bytes[](window.bottom - window.top);
        for (uint256 row = window.top; row < window.bottom; ++row) {
            opening.positions[row - window.top] = positionHashes(values, shape, row);
            uint256 start = (row * shape.width + window.left) * size;
            opening.values = bytes.concat(opening.values, _slice(values, start, (window.right - window.left) * size));
        }
    }

    /// @notice The kernel rows `from` … `to` − 1 of the place's unit.
    function openUnit(
        Evaluated memory e,
        Step[] memory steps,
        Place memory place,
        Window memory window
    ) public view returns (IPredictionDisputes.UnitOpening memory unit) {
        uint256 index = unitIndex(steps, place);
        Step memory step = steps[place.step];
        bytes memory weights = e.weights[index];
        uint256 size = weights.length / step.windowHeight;
        unit.bias = e.biases[index];
        unit.rows = _kernelRows(weights, step.windowHeight);
        unit.weights = _slice(weights, window.rowsBefore * size, (window.bottom - window.top) * size);
        unit.siblings = treeProof(unitHashes(e), index);
    }

    /// @notice Opens everything that one part of one value is computed from, as both sides agree on it.
    /// @param e what is opened: values of the challenger, which has them from the evaluator
    function openPart(
        Evaluated memory e,
        Place memory place,
        uint256 from,
        uint256 to
    ) external view returns (IPredictionDisputes.Computation memory c) {
        Step[] memory steps = this.stepsOf(e.architecture);
        Step memory step = steps[place.step];
        TensorShape memory input = inputOf(e, steps, place.step);
        Window memory window = Traces.window(step, input, place.row, place.column, from, to);
        c.model = openModel(e);
        c.channel = uint16(place.channel);
        c.toKernelRow = uint16(to);
        if (place.step > 0) c.input = openWindow(e.tensors[place.step - 1], input, window);
        if (step.operation == Operation.Linear) c.unit = openUnit(e, steps, place, window);
    }

    // ————— Units —————

    function unitIndex(Step[] memory steps, Place memory place) public pure returns (uint256 index) {
        for (uint256 i = 0; i < place.step; ++i) {
            if (steps[i].operation == Operation.Linear) index += steps[i].output.channels;
        }
        index += place.channel;
    }

    function unitHashes(Evaluated memory e) public view returns (bytes32[] memory hashes) {
        Step[] memory steps = this.stepsOf(e.architecture);
        hashes = new bytes32[](e.biases.length);
        uint256 index = 0;
        for (uint256 i = 0; i < steps.length; ++i) {
            if (steps[i].operation != Operation.Linear) continue;
            for (uint256 unit = 0; unit < steps[i].output.channels; ++unit) {
                bytes32[] memory rows = _kernelRows(e.weights[index], steps[i].windowHeight);
                hashes[index] = keccak256(
                    abi.encode(Hashing.UNIT, uint32(steps[i].layer), uint32(unit), e.biases[index], rows)
                );
                ++index;
            }
        }
    }

    function _kernelRows(bytes memory weights, uint256 count) private pure returns (bytes32[] memory rows) {
        rows = new bytes32[](count);
        uint256 size = weights.length / count;
        for (uint256 i = 0; i < count; ++i) rows[i] = keccak256(_slice(weights, i * size, size));
    }

    // ————— Trees —————

    function treeRoot(bytes32[] memory leaves) public pure returns (bytes32) {
        bytes32[] memory level = _padded(leaves);
        while (level.length > 1) level = _above(level);
        return level[0];
    }

    function treeProof(bytes32[] memory leaves, uint256 index) public pure returns (bytes32[] memory siblings) {
        bytes32[] memory level = _padded(leaves);
        uint256 height = 0;
        for (uint256 width = level.length; width > 1; width /= 2) ++height;
        siblings = new bytes32[](height);
        for (uint256 i = 0; i < height; ++i) {
            siblings[i] = level[(index >> i) ^ 1];
            level = _above(level);
        }
    }

    function _padded(bytes32[] memory leaves) private pure returns (bytes32[] memory level) {
        uint256 width = 1;
        while (width < leaves.length) width *= 2;
        level = new bytes32[](width);
        for (uint256 i = 0; i < leaves.length; ++i) level[i] = leaves[i];
    }

    function _above(bytes32[] memory level) private pure returns (bytes32[] memory above) {
        above = new bytes32[](level.length / 2);
        for (uint256 i = 0; i < above.length; ++i) {
            (bytes32 a, bytes32 b) = (level[2 * i], level[2 * i + 1]);
            above[i] = a < b ? keccak256(abi.encode(a, b)) : keccak256(abi.encode(b, a));
        }
    }

    // ————— Bytes —————

    function _slice(bytes memory data, uint256 start, uint256 size) private pure returns (bytes memory part) {
        part = new bytes(size);
        require(start + size <= data.length, "slice");
        assembly ("memory-safe") {
            mcopy(add(part, 32), add(add(data, 32), start), size)
        }
    }

    function _read(bytes memory data, uint256 at, uint256 size) private pure returns (uint256 value) {
        for (uint256 i = 0; i < size; ++i) value = (value << 8) | uint8(data[at + i]);
    }
}
