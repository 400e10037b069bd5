// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Test} from "forge-std/Test.sol";

import {IPool} from "../../contracts/interfaces/IPool.sol";
import {PointsTree} from "../../contracts/libraries/PointsTree.sol";

/// @notice Trees of random sizes and points: an honest one pays the reward to the last unit; a tampered proof proves
/// nothing.
contract PointsTreeTest is Test {
    uint256 private constant MAX_LEAVES = 33;

    function verify(
        IPool.Split calldata split,
        IPool.PointsLeaf calldata leaf,
        IPool.SumNode[] calldata siblings
    ) external pure returns (bool, uint256) {
        return PointsTree.verify(split, leaf, siblings);
    }

    // ————— A tree —————

    function _leaf(uint256 seed, uint256 index, uint256 count) private pure returns (IPool.PointsLeaf memory) {
        uint256 random = uint256(keccak256(abi.encode(seed, index)));
        // every size of points, zero too, and together below 2^128
        uint256 points = ((random >> 128) / count) >> (random % 140);
        return IPool.PointsLeaf(uint32(index), address(uint160(0x1000 + index)), uint128(points));
    }

    function _node(IPool.SumNode memory a, IPool.SumNode memory b) private pure returns (IPool.SumNode memory) {
        return IPool.SumNode(keccak256(abi.encode(PointsTree.NODE, a.hash, a.sum, b.hash, b.sum)), a.sum + b.sum);
    }

    function _levels(uint256 seed, uint256 count) private pure returns (IPool.SumNode[][] memory levels, uint8 depth) {
        while (1 << depth < count) ++depth;
        levels = new IPool.SumNode[][](depth + 1);
        levels[0] = new IPool.SumNode[](1 << depth);
        for (uint256 i = 0; i < count; ++i) {
            IPool.PointsLeaf memory leaf = _leaf(seed, i, count);
            bytes32 hash = keccak256(abi.encode(PointsTree.LEAF, leaf.index, leaf.miner, leaf.points));
            levels[0][i] = IPool.SumNode(hash, leaf.points);
        }
        for (uint256 level = 1; level <= depth; ++level) {
            levels[level] = new IPool.SumNode[](1 << (depth - level));
            for (uint256 i = 0; i < levels[level].length; ++i) {
                levels[level][i] = _node(levels[level - 1][2 * i], levels[level - 1][2 * i + 1]);
            }
        }
    }

    function _split(
        IPool.SumNode[][] memory levels,
        uint8 depth,
        uint256 count
    ) private pure returns (IPool.Split memory) {
        IPool.SumNode memory top = levels[depth][0];
        bytes32 root = keccak256(abi.encode(PointsTree.ROOT, depth, uint32(count), top.hash, top.sum));
        return IPool.Split(root, depth, uint32(count), top.sum);
    }

    function _proof(
        IPool.SumNode[][] memory levels,
        uint256 index
    ) private pure returns (IPool.SumNode[] memory siblings) {
        siblings = new IPool.SumNode[](levels.length - 1);
        for (uint256 i = 0; i < siblings.length; ++i) siblings[i] = levels[i][(index >> i) ^ 1];
    }

    // ————— Laws —————

    function testFuzz_anHonestTreePaysTheRewardToTheLastUnit(uint256 seed, uint256 size, uint128 reward) external view {
        uint256 count = 1 + (size % MAX_LEAVES);
        (IPool.SumNode[][] memory levels, uint8 depth) = _levels(seed, count);
        IPool.Split memory split = _split(levels, depth, count);
        vm.assume(split.sum > 0);
        uint256 paid = 0;
        uint256 left = 0;
        for (uint256 i = 0; i < count; ++i) {
            IPool.PointsLeaf memory leaf = _leaf(seed, i, count);
            (bool valid, uint256 pre) = this.verify(split, leaf, _proof(levels, i));
            assertTrue(valid, "an honest proof");
            assertEq(pre, left, "the points to the left");
            paid += PointsTree.payment(reward, split.sum, pre, leaf.points);
            left += leaf.points;
        }
        assertEq(paid, reward, "dust");
    }

    function testFuzz_aTamperedProofProvesNothing(
        uint256 seed,
        uint256 size,
        uint256 at,
        uint256 change
    ) external view {
        uint256 count = 2 + (size % (MAX_LEAVES - 1));
        (IPool.SumNode[][] memory levels, uint8 depth) = _levels(seed, count);
        IPool.Split memory split = _split(levels, depth, count);
        uint256 index = at % count;
        IPool.PointsLeaf memory leaf = _leaf(seed, index, count);
        IPool.SumNode[] memory siblings = _proof(levels, index);
        uint256 place = (change >> 8) % siblings.length;
        uint128 bit = uint128(1 << ((change >> 16) % 128));
        uint256 kind = change % 6;
        if (kind == 0) leaf.points ^= bit;
        else if (kind == 1) leaf.miner = address(uint160(leaf.miner) ^ bit);
        else if (kind == 2) leaf.index ^= uint32(1 << ((change >> 16) % 32));
        else if (kind == 3) siblings[place].sum ^= bit;
        else if (kind == 4) siblings[place].hash ^= bytes32(uint256(bit));
        else split.sum ^= bit;
        (bool valid, ) = this.verify(split, leaf, siblings);
        assertFalse(valid);
    }

    /// @notice However the sums of a tree lie, payments by proofs of different leaves never exceed the reward: here a
    /// tree whose maker gave the left half any number it liked.
    function testFuzz_aLyingTreeNeverOverpays(uint256 seed, uint128 reward, uint128 lie) external view {
        uint256 count = 8;
        (IPool.SumNode[][] memory levels, uint8 depth) = _levels(seed, count);
        levels[2][0].sum = lie;
        uint256 total = uint256(levels[2][0].sum) + levels[2][1].sum;
        vm.assume(total > 0 && total <= type(uint128).max);
        levels[3][0] = _node(levels[2][0], levels[2][1]);
        IPool.Split memory split = _split(levels, depth, count);
        uint256 paid = 0;
        for (uint256 i = 0; i < count; ++i) {
            IPool.PointsLeaf memory leaf = _leaf(seed, i, count);
            (bool valid, uint256 pre) = this.verify(split, leaf, _proof(levels, i));
            if (valid) paid += PointsTree.payment(reward, split.sum, pre, leaf.points);
        }
        assertLe(paid, reward);
    }
}
