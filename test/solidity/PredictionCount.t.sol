// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Test} from "forge-std/Test.sol";

import {PredictionCount} from "../../contracts/libraries/PredictionCount.sol";

/// @notice The word-wise count against a plain loop.
contract PredictionCountTest is Test {
    function count(bytes calldata a, bytes calldata b) external pure returns (uint256) {
        return PredictionCount.matches(a, b);
    }

    function _plain(bytes memory a, bytes memory b) private pure returns (uint256 equal) {
        for (uint256 i = 0; i < a.length; ++i) if (a[i] == b[i]) ++equal;
    }

    /// @dev Random bytes, of which about `alike` of 256 are the same in both.
    function _pair(uint256 seed, uint256 length, uint256 alike) private pure returns (bytes memory a, bytes memory b) {
        a = new bytes(length);
        b = new bytes(length);
        uint256 word = seed;
        for (uint256 i = 0; i < length; ++i) {
            if (i % 10 == 0) word = uint256(keccak256(abi.encode(seed, i)));
            a[i] = bytes1(uint8(word));
            b[i] = uint8(word >> 8) < alike ? a[i] : bytes1(uint8(word >> 16));
            word >>= 24;
        }
    }

    function testFuzz_equalsAPlainLoop(uint256 seed, uint256 length, uint8 alike) external view {
        (bytes memory a, bytes memory b) = _pair(seed, length % 600, alike);
        assertEq(this.count(a, b), _plain(a, b));
    }

    function testFuzz_equalsAPlainLoopOnAnyBytes(bytes calldata a, uint256 seed) external view {
        bytes memory b = new bytes(a.length);
        for (uint256 i = 0; i < a.length; ++i) {
            uint256 bits = uint256(keccak256(abi.encode(seed, i)));
            // one bit apart, or the same: the nearest misses
            b[i] = bits & 1 == 0 ? a[i] : bytes1(uint8(a[i]) ^ uint8(1 << ((bits >> 1) % 8)));
        }
        assertEq(this.count(a, b), _plain(a, b));
    }

    function test_isRightAtTheLimits() external view {
        uint16[8] memory lengths = [0, 1, 31, 32, 33, 255 * 32, 255 * 32 + 1, 16384];
        for (uint256 i = 0; i < lengths.length; ++i) {
            bytes memory a = new bytes(lengths[i]);
            assertEq(this.count(a, a), lengths[i], "all equal");
            bytes memory b = new bytes(lengths[i]);
            for (uint256 j = 0; j < b.length; ++j) b[j] = 0x80;
            assertEq(this.count(a, b), 0, "none equal");
        }
    }

    /// @dev Bytes that lie behind the strings in calldata must not count.
    function test_readsNothingBehindTheStrings() external view {
        bytes memory a = hex"01";
        bytes memory b = hex"02";
        assertEq(this.count(a, b), 0);
        assertEq(this.count(hex"0102030405", hex"0102990405"), 4);
    }
}
