// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Step, TensorShape} from "./Networks.sol";
import {Window} from "./Traces.sol";

/// @title The integer arithmetic of a network, one value at a time
/// @notice The same integers as the canonical evaluation (docs/evaluation.md, "Layers"). Lengths are checked by the
/// caller: `values` holds the window's positions row by row, all channels of each.
library Arithmetic {
    /// @notice The part of an accumulator that comes from the given kernel rows; the bias is not in it.
    /// @param window what these kernel rows read of the tensor
    /// @param values of the window's positions, row by row
    /// @param weights int16 big-endian, of those kernel rows that lie on the tensor, each of the kernel's whole width
    function partialSum(
        Step memory step,
        TensorShape memory input,
        Window memory window,
        bytes calldata values,
        bytes calldata weights
    ) internal pure returns (int256) {
        uint256 rowBytes = (window.right - window.left) * input.channels * input.valueBytes;
        return _sumOfRows(step, input, window, values, rowBytes, weights);
    }

    /// @notice The same, read from all pixels of a sample.
    function partialSumOfPixels(
        Step memory step,
        TensorShape memory input,
        Window memory window,
        bytes calldata pixels,
        bytes calldata weights
    ) internal pure returns (int256) {
        // Kernel rows that lie below the sample read nothing, and start behind its last pixel.
        if (window.top == window.bottom) return 0;
        uint256 start = (window.top * input.width + window.left) * input.channels;
        return _sumOfRows(step, input, window, pixels[start:], input.width * input.channels, weights);
    }

    /// @param rowBytes from the first value of one of the window's rows to that of the next
    function _sumOfRows(
        Step memory step,
        TensorShape memory input,
        Window memory window,
        bytes calldata values,
        uint256 rowBytes,
        bytes calldata weights
    ) private pure returns (int256 sum) {
        uint256 count = (window.right - window.left) * input.channels;
        uint256 kernelRowBytes = 2 * step.windowWidth * input.channels;
        uint256 v;
        uint256 w;
        assembly ("memory-safe") {
            v := values.offset
            w := weights.offset
        }
        // Columns of the kernel that lie before the tensor read zeros.
        w += 2 * window.columnsBefore * input.channels;
        for (uint256 row = window.top; row < window.bottom; ++row) {
            sum += _dot(v, input.valueBytes, w, count);
            v += rowBytes;
            w += kernelRowBytes;
        }
    }

    /// @notice Rule 3: y = ⌊(acc + 2^(shift−1)) / 2^shift⌋, or acc · 2^(−shift) where shift ≤ 0, clamped to 0 … max.
    function requantise(int256 acc, int256 shift, uint256 max) internal pure returns (uint256) {
        // An arithmetic shift to the right is a division that rounds down.
        int256 y = shift > 0 ? (acc + (int256(1) << uint256(shift - 1))) >> uint256(shift) : acc << uint256(-shift);
        if (y <= 0) return 0;
        return uint256(y) > max ? max : uint256(y);
    }

    /// @notice The largest value of a channel in a window.
    function largest(
        TensorShape memory input,
        uint256 channel,
        bytes calldata values
    ) internal pure returns (uint256 found) {
        uint256 stride = input.channels * input.valueBytes;
        for (uint256 at = channel * input.valueBytes; at < values.length; at += stride) {
            uint256 value = _value(values, at, input.valueBytes);
            if (value > found) found = value;
        }
    }

    /// @notice The sum of a channel over a window.
    function total(
        TensorShape memory input,
        uint256 channel,
        bytes calldata values
    ) internal pure returns (uint256 sum) {
        uint256 stride = input.channels * input.valueBytes;
        for (uint256 at = channel * input.valueBytes; at < values.length; at += stride) {
            sum += _value(values, at, input.valueBytes);
        }
    }

    /// @notice The value at an index among values of so many bytes.
    function valueAt(bytes calldata values, uint256 index, uint256 valueBytes) internal pure returns (uint256) {
        return _value(values, index * valueBytes, valueBytes);
    }

    function _value(bytes calldata values, uint256 at, uint256 size) private pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := shr(sub(256, shl(3, size)), calldataload(add(values.offset, at)))
        }
    }

    /// @dev Σ values·weights over `count` pairs of the calldata; no sum of a well-formed network comes near 2^255.
    function _dot(uint256 v, uint256 valueBytes, uint256 w, uint256 count) private pure returns (int256 sum) {
        assembly ("memory-safe") {
            let end := add(w, shl(1, count))
            // Sixteen activations and sixteen weights at a time.
            if eq(valueBytes, 2) {
                let whole := add(w, shl(1, and(count, not(15))))
                for {} lt(w, whole) {} {
                    let x := calldataload(v)
                    let y := calldataload(w)
                    sum := add(sum, mul(shr(240, x), sar(240, y)))
                    sum := add(sum, mul(shr(240, shl(16, x)), sar(240, shl(16, y))))
                    sum := add(sum, mul(shr(240, shl(32, x)), sar(240, shl(32, y))))
                    sum := add(sum, mul(shr(240, shl(48, x)), sar(240, shl(48, y))))
                    sum := add(sum, mul(shr(240, shl(64, x)), sar(240, shl(64, y))))
                    sum := add(sum, mul(shr(240, shl(80, x)), sar(240, shl(80, y))))
                    sum := add(sum, mul(shr(240, shl(96, x)), sar(240, shl(96, y))))
                    sum := add(sum, mul(shr(240, shl(112, x)), sar(240, shl(112, y))))
                    sum := add(sum, mul(shr(240, shl(128, x)), sar(240, shl(128, y))))
                    sum := add(sum, mul(shr(240, shl(144, x)), sar(240, shl(144, y))))
                    sum := add(sum, mul(shr(240, shl(160, x)), sar(240, shl(160, y))))
                    sum := add(sum, mul(shr(240, shl(176, x)), sar(240, shl(176, y))))
                    sum := add(sum, mul(shr(240, shl(192, x)), sar(240, shl(192, y))))
                    sum := add(sum, mul(shr(240, shl(208, x)), sar(240, shl(208, y))))
                    sum := add(sum, mul(shr(240, shl(224, x)), sar(240, shl(224, y))))
                    sum := add(sum, mul(and(x, 0xffff), signextend(1, y)))
                    v := add(v, 32)
                    w := add(w, 32)
                }
            }
            let drop := sub(256, shl(3, valueBytes))
            for {} lt(w, end) {} {
                sum := add(sum, mul(shr(drop, calldataload(v)), sar(240, calldataload(w))))
                v := add(v, valueBytes)
                w := add(w, 2)
            }
        }
    }
}
