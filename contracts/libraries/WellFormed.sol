// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {IPredictionDisputes} from "../interfaces/IDisputes.sol";
import {IModelDisputes} from "../interfaces/IModelDisputes.sol";
import {ITaskRegistry} from "../interfaces/ITaskRegistry.sol";
import {HardwareCost} from "./HardwareCost.sol";
import {Hashing} from "./Hashing.sol";
import {ModelOpenings} from "./ModelOpenings.sol";
import {Architecture, Networks, Operation, Step, TensorShape} from "./Networks.sol";

/// @title What a model must satisfy to count at all
/// @notice docs/evaluation.md, "Well-formed", as far as a model's root binds it: the same rules as the evaluators', which
/// a test compares. What a file alone can have wrong (its encoding, its size) no root binds: such a model cannot be
/// fetched, and its parts are demanded.
/// @dev Linked, like {DisputeSteps}.
library WellFormed {
    bytes32 private constant SPACE = keccak256("ponas.v1.space");

    /// No traced value reads more than this many values, so that one can be recomputed in a transaction.
    uint256 private constant MAX_FAN_IN = 16_384;
    /// Accumulators stay below this, so that they are exact in 32 bits on every machine.
    uint256 private constant ACCUMULATOR_LIMIT = 1 << 31;
    uint256 private constant HYPERPARAMETERS = 10;
    uint256 private constant DENSE_WEIGHT_BITS = 8;
    uint256 private constant PIXEL_MAX = 255;

    /// @dev A linear layer as its units see it.
    struct Layer {
        uint256 units;
        uint256 kernelRows;
        /// values that one kernel row reads
        uint256 rowLength;
        /// largest integer that one of them can be
        uint256 inputMax;
        /// of a signed weight
        uint256 weightBits;
        /// what rounding adds to an accumulator
        uint256 rounding;
    }

    // ————— Architectures —————

    /// @notice What is wrong with an architecture. Reverts where something does not open what it should.
    /// @return malformation as a number: libraries' interfaces know no enumerations of others
    function malformedArchitecture(
        address registry,
        uint256 taskId,
        bytes32 modelRoot,
        IPredictionDisputes.ModelOpening calldata model,
        IModelDisputes.SpaceOpening calldata space,
        IModelDisputes.TestOpening calldata test
    ) external view returns (uint8 malformation) {
        ITaskRegistry.TaskParams memory params = ITaskRegistry(registry).taskOf(taskId).params;
        ModelOpenings.verify(model, modelRoot);
        ModelOpenings.checkHash(_spaceHash(space), params.spaceHash);
        ModelOpenings.checkHash(_testRoot(test, params.testCount), params.testRoot);
        return uint8(_ofArchitecture(params, model, space, test));
    }

    function _ofArchitecture(
        ITaskRegistry.TaskParams memory params,
        IPredictionDisputes.ModelOpening calldata model,
        IModelDisputes.SpaceOpening calldata space,
        IModelDisputes.TestOpening calldata test
    ) private pure returns (IModelDisputes.Malformation) {
        Architecture calldata a = model.architecture;
        if (!Networks.isInRange(a) || !_isTiling(a)) return IModelDisputes.Malformation.Ranges;
        if (!_reads(a, test)) return IModelDisputes.Malformation.Input;
        if (!_fits(a, space)) return IModelDisputes.Malformation.Template;
        if (!_isMember(a, space.lists)) return IModelDisputes.Malformation.Space;
        Step[] memory steps = Networks.steps(a);
        if (model.units != _units(steps)) return IModelDisputes.Malformation.Units;
        if (_fanIn(a, steps) > MAX_FAN_IN) return IModelDisputes.Malformation.FanIn;
        if (!HardwareCost.isWithin(a, steps, params.maxLuts, params.minThroughput)) {
            return IModelDisputes.Malformation.Hardware;
        }
        return IModelDisputes.Malformation.None;
    }

    function _spaceHash(IModelDisputes.SpaceOpening calldata space) private pure returns (bytes32) {
        return
            keccak256(
                abi.encode(
                    SPACE,
                    space.lists,
                    space.depth,
                    space.pool,
                    space.hidden,
                    space.hiddenIntBits,
                    space.hiddenFracBits
                )
            );
    }

    function _testRoot(IModelDisputes.TestOpening calldata test, uint32 count) private pure returns (bytes32) {
        return
            keccak256(
                abi.encode(
                    Hashing.TEST,
                    count,
                    test.height,
                    test.width,
                    test.channels,
                    test.classes,
                    test.labels,
                    test.samplesRoot
                )
            );
    }

    /// @dev No tiling at all, or a tile for every layer and every layer in one group.
    function _isTiling(Architecture calldata a) private pure returns (bool) {
        if (a.tiles.length == 0 && a.groups.length == 0) return true;
        uint256 grouped = 0;
        for (uint256 i = 0; i < a.groups.length; ++i) {
            if (a.groups[i] == 0) return false;
            grouped += a.groups[i];
        }
        for (uint256 i = 0; i < a.tiles.length; ++i) {
            if (a.tiles[i][0] == 0 || a.tiles[i][1] == 0) return false;
        }
        return a.tiles.length == a.layers.length && grouped == a.layers.length;
    }

    function _reads(Architecture calldata a, IModelDisputes.TestOpening calldata test) private pure returns (bool) {
        return
            a.height == test.height &&
            a.width == test.width &&
            a.channels == test.channels &&
            a.classes == test.classes;
    }

    function _fits(Architecture calldata a, IModelDisputes.SpaceOpening calldata space) private pure returns (bool) {
        return
            a.layers.length == space.depth &&
            a.pool == space.pool &&
            a.hidden == space.hidden &&
            a.hiddenIntBits == space.hiddenIntBits &&
            a.hiddenFracBits == space.hiddenFracBits;
    }

    function _isMember(Architecture calldata a, uint16[][] calldata lists) private pure returns (bool) {
        if (lists.length != HYPERPARAMETERS) return false;
        for (uint256 i = 0; i < a.layers.length; ++i) {
            for (uint256 j = 0; j < HYPERPARAMETERS; ++j) {
                if (!_has(lists[j], a.layers[i][j])) return false;
            }
        }
        return true;
    }

    function _has(uint16[] calldata list, uint256 value) private pure returns (bool) {
        for (uint256 i = 0; i < list.length; ++i) {
            if (list[i] == value) return true;
        }
        return false;
    }

    function _units(Step[] memory steps) private pure returns (uint256 units) {
        for (uint256 i = 0; i < steps.length; ++i) {
            if (steps[i].operation == Operation.Linear) units += steps[i].output.channels;
        }
    }

    /// @dev The largest of all linear layers. Windows of pools and sums are no larger than the tensor (64 × 64).
    function _fanIn(Architecture calldata a, Step[] memory steps) private pure returns (uint256 largest) {
        TensorShape memory input = Networks.pixels(a);
        for (uint256 i = 0; i < steps.length; ++i) {
            Step memory step = steps[i];
            if (step.operation == Operation.Linear) {
                largest = Math.max(largest, step.windowHeight * step.windowWidth * input.channels);
            }
            input = step.output;
        }
    }

    // ————— Units —————

    /// @notice What is wrong with a unit that is opened with all its kernel rows. Reverts where something does not open
    /// what it should, or the layer has no such unit.
    function malformedUnit(
        bytes32 modelRoot,
        IPredictionDisputes.ModelOpening calldata model,
        uint32 layer,
        uint32 index,
        IPredictionDisputes.UnitOpening calldata unit
    ) external pure returns (uint8 malformation) {
        ModelOpenings.verify(model, modelRoot);
        return uint8(_ofUnit(model, layer, index, unit));
    }

    function _ofUnit(
        IPredictionDisputes.ModelOpening calldata model,
        uint32 layer,
        uint32 index,
        IPredictionDisputes.UnitOpening calldata unit
    ) private pure returns (IModelDisputes.Malformation) {
        // Shapes of an architecture out of its ranges are undefined: that is what there is to show of it.
        if (!Networks.isInRange(model.architecture)) return IModelDisputes.Malformation.Ranges;
        (bool found, Layer memory own) = _layer(model.architecture, layer);
        if (!found || index >= own.units) revert IModelDisputes.NoSuchUnit(layer, index);
        ModelOpenings.verifyLeaf(model, layer, index, unit);
        uint256 count = unit.rows.length;
        if (count != own.kernelRows) return IModelDisputes.Malformation.Unit;
        // Rows of equal length, whatever it is. Of unequal ones no part can be published, so they are demanded.
        uint256 size = unit.weights.length / count;
        ModelOpenings.verifyRows(unit, 0, count, size);
        if (size != 2 * own.rowLength) return IModelDisputes.Malformation.Unit;
        return _malformedWeights(own, unit);
    }

    /// @notice Whether the model has this unit; where it has, reverts unless it is opened with all its kernel rows.
    function checkUnit(
        bytes32 modelRoot,
        IPredictionDisputes.ModelOpening calldata model,
        uint32 layer,
        uint32 index,
        IPredictionDisputes.UnitOpening calldata unit
    ) external pure returns (bool exists) {
        ModelOpenings.verify(model, modelRoot);
        if (!Networks.isInRange(model.architecture)) revert IPredictionDisputes.MalformedArchitecture();
        (bool found, Layer memory own) = _layer(model.architecture, layer);
        if (!found || index >= own.units) return false;
        ModelOpenings.verifyLeaf(model, layer, index, unit);
        ModelOpenings.checkLength(unit.rows.length, own.kernelRows);
        ModelOpenings.verifyRows(unit, 0, own.kernelRows, 2 * own.rowLength);
        return true;
    }

    /// @notice Reverts unless the opening is that of the model's root.
    function checkModel(bytes32 modelRoot, IPredictionDisputes.ModelOpening calldata model) external pure {
        ModelOpenings.verify(model, modelRoot);
    }

    /// @dev Follows the network to the layer of this number.
    function _layer(Architecture calldata a, uint256 number) private pure returns (bool found, Layer memory own) {
        Step[] memory steps = Networks.steps(a);
        TensorShape memory input = Networks.pixels(a);
        uint256 inputMax = PIXEL_MAX;
        for (uint256 i = 0; i < steps.length; ++i) {
            Step memory step = steps[i];
            if (step.operation == Operation.Linear) {
                if (step.layer == number) {
                    own.units = step.output.channels;
                    own.kernelRows = step.windowHeight;
                    own.rowLength = step.windowWidth * input.channels;
                    own.inputMax = inputMax;
                    own.weightBits = _weightBits(a, number);
                    own.rounding = step.shift > 0 && step.requantised ? 1 << uint256(step.shift - 1) : 0;
                    return (true, own);
                }
                inputMax = step.max;
            } else if (step.operation == Operation.Sum) {
                inputMax *= step.windowHeight * step.windowWidth;
            }
            input = step.output;
        }
    }

    function _weightBits(Architecture calldata a, uint256 number) private pure returns (uint256) {
        if (number >= a.layers.length) return DENSE_WEIGHT_BITS;
        (, , uint256 integer, uint256 fraction) = Networks.bitsOf(a.layers[number]);
        return integer + fraction;
    }

    /// @dev |bias| + Σ|w|·xmax + rounding < 2^31, every weight in −2^(bits−1) … 2^(bits−1) − 1, only 0 without bits.
    function _malformedWeights(
        Layer memory own,
        IPredictionDisputes.UnitOpening calldata unit
    ) private pure returns (IModelDisputes.Malformation) {
        bytes calldata weights = unit.weights;
        uint256 below = own.weightBits == 0 ? 0 : 1 << (own.weightBits - 1);
        uint256 above = own.weightBits == 0 ? 0 : below - 1;
        uint256 sum = 0;
        bool stray = false;
        assembly ("memory-safe") {
            let at := weights.offset
            let end := add(at, weights.length)
            for {} lt(at, end) {
                at := add(at, 2)
            } {
                let weight := sar(240, calldataload(at))
                switch slt(weight, 0)
                case 0 {
                    stray := or(stray, gt(weight, above))
                    sum := add(sum, weight)
                }
                default {
                    let size := sub(0, weight)
                    stray := or(stray, gt(size, below))
                    sum := add(sum, size)
                }
            }
        }
        if (stray) return IModelDisputes.Malformation.Unit;
        int256 bias = unit.bias;
        uint256 bound = uint256(bias < 0 ? -bias : bias) + sum * own.inputMax + own.rounding;
        return bound < ACCUMULATOR_LIMIT ? IModelDisputes.Malformation.None : IModelDisputes.Malformation.Bound;
    }
}
