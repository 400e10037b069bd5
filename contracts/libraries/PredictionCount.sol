// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title Counting correct predictions
/// @notice Compares two byte strings a word of 32 bytes at a time.
library PredictionCount {
    /// @notice The longest strings that can be counted.
    uint256 internal constant MAX_LENGTH = 16384;

    uint256 private constant LOW_SEVEN = 0x7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f;
    uint256 private constant EVEN_BYTES = 0x00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff;
    uint256 private constant ONES_16 = 0x0001000100010001000100010001000100010001000100010001000100010001;

    /// @notice How many places hold the same byte in both strings.
    /// @dev Both have the same length of at most {MAX_LENGTH}: the caller's guard.
    function matches(bytes calldata a, bytes calldata b) internal pure returns (uint256 count) {
        uint256 whole = a.length / 32;
        uint256 rest = a.length % 32;
        // Everything below is bounded by the length: at most 512 words, sums of at most 16,384.
        unchecked {
            for (uint256 word = 0; word < whole;) {
                // A lane of one byte holds the sum of up to 255 words.
                uint256 end = word + 255 < whole ? word + 255 : whole;
                uint256 lanes = 0;
                for (; word < end; ++word) lanes += _equalBytes(_load(a, word) ^ _load(b, word));
                count += _sum(lanes);
            }
            if (rest != 0) {
                // What lies behind the strings' ends is shifted out, and the zeros shifted in are equal by themselves.
                uint256 behind = 32 - rest;
                uint256 difference = (_load(a, whole) ^ _load(b, whole)) >> (8 * behind);
                count += _sum(_equalBytes(difference)) - behind;
            }
        }
    }

    function _load(bytes calldata data, uint256 word) private pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := calldataload(add(data.offset, shl(5, word)))
        }
    }

    /// @dev 1 in every byte of `difference` that is zero, 0 in every other: a byte's low seven bits plus 127 carry into
    /// its top bit unless they are all zero, and no carry leaves a byte.
    function _equalBytes(uint256 difference) private pure returns (uint256) {
        unchecked {
            uint256 nonZero = ((difference & LOW_SEVEN) + LOW_SEVEN) | difference | LOW_SEVEN;
            return ~nonZero >> 7;
        }
    }

    /// @dev Sum of 32 lanes of one byte: first to 16 lanes of two bytes, then by a product into the top lane.
    function _sum(uint256 lanes) private pure returns (uint256) {
        unchecked {
            return (((lanes & EVEN_BYTES) + ((lanes >> 8) & EVEN_BYTES)) * ONES_16) >> 240;
        }
    }
}
