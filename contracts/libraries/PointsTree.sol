// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {IPool} from "../interfaces/IPool.sol";

/// @title Points trees
/// @notice The Merkle sum tree of docs/bytes.md over (index, miner, points): a leaf's place is given by the bits of its
/// index, and every node carries the points under it, so that a proof also tells the points to the leaf's left.
library PointsTree {
    bytes32 internal constant LEAF = keccak256("ponas.v1.points-leaf");
    bytes32 internal constant NODE = keccak256("ponas.v1.points-node");
    bytes32 internal constant ROOT = keccak256("ponas.v1.points-root");

    /// @notice Indices have 32 bits.
    uint256 internal constant MAX_DEPTH = 32;

    /// @notice Whether the proof leads to the posted root, and the points to the left of the leaf.
    /// @dev Sums that reach 2^128 prove nothing. With every sum on the path checked this way, two valid proofs of one
    /// root give intervals [pre, pre + points) within [0, sum) that do not overlap.
    function verify(
        IPool.Split memory split,
        IPool.PointsLeaf calldata leaf,
        IPool.SumNode[] calldata siblings
    ) internal pure returns (bool valid, uint256 pre) {
        if (leaf.index >= split.count || siblings.length != split.depth) return (false, 0);
        bytes32 hash = keccak256(abi.encode(LEAF, leaf.index, leaf.miner, leaf.points));
        uint256 sum = leaf.points;
        uint256 path = leaf.index;
        for (uint256 i = 0; i < siblings.length; ++i) {
            bytes32 otherHash = siblings[i].hash;
            uint256 otherSum = siblings[i].sum;
            if (path & 1 == 1) {
                hash = keccak256(abi.encode(NODE, otherHash, otherSum, hash, sum));
                pre += otherSum;
            } else {
                hash = keccak256(abi.encode(NODE, hash, sum, otherHash, otherSum));
            }
            sum += otherSum;
            if (sum > type(uint128).max) return (false, 0);
            path >>= 1;
        }
        // Bits of the index beyond the depth would let one leaf stand under several indices.
        if (path != 0 || sum != split.sum) return (false, 0);
        valid = split.root == keccak256(abi.encode(ROOT, split.depth, split.count, hash, split.sum));
    }

    /// @notice What a leaf is paid of `reward`: ⌊R(pre + p) / S⌋ − ⌊R·pre / S⌋.
    function payment(uint256 reward, uint256 sum, uint256 pre, uint256 points) internal pure returns (uint256) {
        return Math.mulDiv(reward, pre + points, sum) - Math.mulDiv(reward, pre, sum);
    }
}
