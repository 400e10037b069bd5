// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {Architecture, Networks, Operation, Step, TensorShape} from "./Networks.sol";

/// @title What a tiled network costs on an FPGA
/// @notice docs/evaluation.md, "Hardware cost": look-up tables and throughput of the tiling that an architecture carries,
/// by the formulas of the paper's source, in whole numbers.
library HardwareCost {
    /// @dev Bits before and after the binary point.
    struct Format {
        uint256 integer;
        uint256 fraction;
    }

    /// @dev All that the cost of one layer follows from.
    struct Layer {
        uint256 channels;
        uint256 filters;
        /// multiplications for one pair of an input channel and a filter
        uint256 work;
        Format activation;
        Format weight;
        Format output;
    }

    uint256 private constant CLOCK_HZ = 100_000_000;
    /// Pixels stand for 0 … 1, in six fraction bits.
    uint256 private constant PIXEL_INTEGER_BITS = 1;
    uint256 private constant PIXEL_FRACTION_BITS = 6;
    /// Multipliers of activations with more integer bits than this are unknown.
    uint256 private constant MAX_MULTIPLIER_BITS = 4;

    /// @notice Whether the architecture carries a tiling that keeps within the bounds; 0 is no bound.
    /// @param a in its ranges; tiles and groups, where there are any, are as many as its layers
    function isWithin(
        Architecture calldata a,
        Step[] memory steps,
        uint256 maxLuts,
        uint256 minThroughput
    ) internal pure returns (bool) {
        if (maxLuts == 0 && minThroughput == 0) return true;
        if (a.tiles.length == 0) return false;
        Layer[] memory layers = _layers(a, steps);
        uint256 luts = 0;
        uint256 cycles = 0;
        uint256 index = 0;
        for (uint256 group = 0; group < a.groups.length; ++group) {
            // The layers of a group are on the device together, as a pipeline; the groups take turns.
            uint256 groupLuts = 0;
            uint256 groupCycles = 0;
            for (uint256 end = index + a.groups[group]; index < end; ++index) {
                Layer memory layer = layers[index];
                uint256 tn = a.tiles[index][0];
                uint256 tm = a.tiles[index][1];
                if (tn > layer.channels || tm > layer.filters) return false;
                (bool known, uint256 unitLuts) = _unitLuts(layer, tn);
                if (!known) return false;
                groupLuts += tm * unitLuts;
                groupCycles = Math.max(
                    groupCycles,
                    Math.ceilDiv(layer.filters, tm) * Math.ceilDiv(layer.channels, tn) * layer.work
                );
            }
            luts = Math.max(luts, groupLuts);
            cycles += groupCycles;
        }
        if (maxLuts > 0 && luts > maxLuts) return false;
        return minThroughput == 0 || cycles <= (CLOCK_HZ - 1) / minThroughput;
    }

    /// @dev Work counts the padded input's rows and columns.
    function _layers(Architecture calldata a, Step[] memory steps) private pure returns (Layer[] memory layers) {
        layers = new Layer[](a.layers.length);
        TensorShape memory input = Networks.pixels(a);
        Format memory activation = Format(PIXEL_INTEGER_BITS, PIXEL_FRACTION_BITS);
        for (uint256 i = 0; i < steps.length; ++i) {
            Step memory step = steps[i];
            if (step.operation == Operation.Linear && step.layer < layers.length) {
                Layer memory layer = layers[step.layer];
                layer.channels = input.channels;
                layer.filters = step.output.channels;
                layer.work =
                    _padded(input.height, step.output.height, step.strideHeight, step.windowHeight) *
                    _padded(input.width, step.output.width, step.strideWidth, step.windowWidth) *
                    step.windowHeight *
                    step.windowWidth;
                layer.activation = activation;
                (layer.output.integer, layer.output.fraction, layer.weight.integer, layer.weight.fraction) = Networks
                    .bitsOf(a.layers[step.layer]);
                activation = layer.output;
            }
            input = step.output;
        }
    }

    function _padded(uint256 size, uint256 out, uint256 stride, uint256 window) private pure returns (uint256) {
        return Math.max(size, (out - 1) * stride + window);
    }

    /// @dev The unit that computes one filter from `tn` channels at a time: multipliers, a tree of adders, the
    /// accumulator, and what cuts its sum to the output's bits.
    function _unitLuts(Layer memory layer, uint256 tn) private pure returns (bool known, uint256 luts) {
        uint256 integer = layer.activation.integer + layer.weight.integer;
        uint256 products = layer.activation.fraction + layer.weight.fraction;
        (known, luts) = _multiplierLuts(layer.activation.integer, layer.weight.integer + layer.weight.fraction);
        luts *= tn;
        for (uint256 terms = tn; terms > 1; terms = Math.ceilDiv(terms, 2)) {
            luts += (integer + products) * (terms / 2);
            ++integer;
        }
        integer = Math.max(integer, layer.output.integer);
        uint256 fraction = Math.max(products, layer.output.fraction);
        luts += integer + fraction + _truncationLuts(integer + 1, fraction, layer.output);
    }

    /// @dev By the activations' integer bits alone, and nothing where they have none or the weights fewer: so the source
    /// has it.
    function _multiplierLuts(
        uint256 activationBits,
        uint256 weightBits
    ) private pure returns (bool known, uint256 luts) {
        if (activationBits == 0 || weightBits < activationBits) return (true, 0);
        if (activationBits > MAX_MULTIPLIER_BITS) return (false, 0);
        if (activationBits == 1)
            return (
                true,
                weightBits == 1
                    ? 1
                    : weightBits == 2
                        ? 3
                        : weightBits + 2
            );
        if (activationBits == 2) return (true, weightBits == 2 ? 4 : 3 * weightBits + 2);
        if (activationBits == 3)
            return (
                true,
                weightBits == 3
                    ? 17
                    : weightBits == 6
                        ? 32
                        : 5 * weightBits + 1
            );
        return (true, 5 * weightBits + 9);
    }

    /// @dev Of a sum whose format is no narrower than the output's: excess ≥ 1, so nothing here falls below zero.
    function _truncationLuts(
        uint256 integer,
        uint256 fraction,
        Format memory output
    ) private pure returns (uint256 luts) {
        if (integer < 3 || fraction < 2) return 0;
        uint256 excess = integer - output.integer;
        uint256 cut = fraction - output.fraction;
        luts = integer + fraction - 2 - cut;
        if (excess > 1) --luts;
        if (excess == integer - 1 && cut == fraction - 1) --luts;
    }
}
