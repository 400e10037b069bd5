// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IPredictionDisputes} from "../interfaces/IDisputes.sol";
import {Step, TensorShape} from "./Networks.sol";

/// @notice The part of a tensor that one value reads: half-open ranges of rows and columns, cut to the tensor.
struct Window {
    uint256 top;
    uint256 bottom;
    uint256 left;
    uint256 right;
    /// kernel rows and columns that lie before the tensor, and read zeros
    uint256 rowsBefore;
    uint256 columnsBefore;
}

/// @notice What opens a window of a tensor.
struct TensorOpening {
    /// the hashes of all rows, joined
    bytes rows;
    /// for each row of the window the hashes of all its positions, joined
    bytes[] positions;
    /// the values of all channels of the window's positions, joined row by row
    bytes values;
}

/// @title Openings of traced tensors
/// @notice position = keccak256(channel values, big-endian), row = keccak256(positions joined), tensor = keccak256(rows
/// joined) (docs/bytes.md, "trace"). All lengths are known, so nothing else can be opened under a hash.
library Traces {
    /// @notice What the kernel rows `from` … `to` − 1 of the window at (row, column) read of a tensor.
    function window(
        Step memory step,
        TensorShape memory input,
        uint256 row,
        uint256 column,
        uint256 from,
        uint256 to
    ) internal pure returns (Window memory part) {
        uint256 top = row * step.strideHeight;
        uint256 left = column * step.strideWidth;
        (part.top, part.bottom) = _cut(top + from, top + to, step.paddingTop, input.height);
        (part.left, part.right) = _cut(left, left + step.windowWidth, step.paddingLeft, input.width);
        part.rowsBefore = part.top + step.paddingTop - top;
        part.columnsBefore = part.left + step.paddingLeft - left;
    }

    /// @notice Reverts unless the opening is the tensor's window.
    function verify(
        TensorOpening calldata opening,
        bytes32 tensor,
        TensorShape memory shape,
        Window memory part
    ) internal pure {
        bytes calldata rows = opening.rows;
        if (rows.length != 32 * shape.height || keccak256(rows) != tensor) revert IPredictionDisputes.OpeningMismatch();
        if (opening.positions.length != part.bottom - part.top) revert IPredictionDisputes.OpeningMismatch();
        uint256 size = shape.channels * shape.valueBytes;
        uint256 width = part.right - part.left;
        if (opening.values.length != opening.positions.length * width * size)
            revert IPredictionDisputes.OpeningMismatch();
        for (uint256 i = 0; i < opening.positions.length; ++i) {
            bytes calldata positions = opening.positions[i];
            if (positions.length != 32 * shape.width) revert IPredictionDisputes.OpeningMismatch();
            if (keccak256(positions) != _word(rows, part.top + i)) revert IPredictionDisputes.OpeningMismatch();
            for (uint256 j = 0; j < width; ++j) {
                uint256 start = (i * width + j) * size;
                bytes32 position = keccak256(opening.values[start:start + size]);
                if (position != _word(positions, part.left + j)) revert IPredictionDisputes.OpeningMismatch();
            }
        }
    }

    function _cut(
        uint256 from,
        uint256 to,
        uint256 padding,
        uint256 size
    ) private pure returns (uint256 first, uint256 end) {
        first = from > padding ? from - padding : 0;
        end = to > padding ? to - padding : 0;
        if (end > size) end = size;
        if (first > end) first = end;
    }

    /// @dev The index is below the number of words: lengths are checked before.
    function _word(bytes calldata words, uint256 index) private pure returns (bytes32 word) {
        assembly ("memory-safe") {
            word := calldataload(add(words.offset, shl(5, index)))
        }
    }
}
