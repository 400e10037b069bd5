// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Test} from "forge-std/Test.sol";

import {ITaskRegistry} from "../../contracts/interfaces/ITaskRegistry.sol";
import {CandidateQueue} from "../../contracts/libraries/CandidateQueue.sol";
import {Ranking} from "../../contracts/libraries/Ranking.sol";
import {TaskParameters} from "../../contracts/libraries/TaskParameters.sol";
import {LocalAsset} from "../../contracts/local/LocalAsset.sol";
import {ValidatorStake} from "../../contracts/ValidatorStake.sol";

/// @notice The order in which candidates leave the queue, against sorting by hand.
contract CandidateQueueTest is Test {
    using CandidateQueue for CandidateQueue.Queue;

    CandidateQueue.Queue private _queue;

    function testFuzz_givesTheLargestClaimAndThenTheEarliest(uint32[20] calldata claims, uint8 range) external {
        for (uint256 i = 0; i < claims.length; ++i) {
            // few different claims, so that there are ties
            _queue.push(claims[i] % (1 + uint32(range % 6)), uint64(claims.length - i), address(uint160(i + 1)));
        }
        uint256 lastClaim = type(uint256).max;
        uint256 lastSequence = 0;
        for (uint256 i = 0; i < claims.length; ++i) {
            address next = _queue.front();
            assertEq(_queue.pop(), next);
            uint256 index = uint160(next) - 1;
            uint256 claim = claims[index] % (1 + uint32(range % 6));
            uint256 sequence = claims.length - index;
            assertLe(claim, lastClaim, "a larger claim came later");
            if (claim == lastClaim) assertGt(sequence, lastSequence, "an earlier one of equal claims came later");
            (lastClaim, lastSequence) = (claim, sequence);
        }
        assertEq(_queue.front(), address(0));
        assertEq(_queue.pop(), address(0));
    }
}

/// @notice Integer arithmetic of scores and bonds.
contract RankingTest is Test {
    function testFuzz_neverOverflowsAndGrowsWithTheWork(
        ITaskRegistry.Difficulty memory factors,
        uint128 reward
    ) external pure {
        vm.assume(factors.networkFlops > 0 && factors.bandwidth > 0 && reward > 0);
        uint256 score = Ranking.score(factors, reward);
        if (factors.flops < type(uint128).max) {
            ++factors.flops;
            assertGe(Ranking.score(factors, reward), score, "more work for the same reward ranks before less");
        }
    }

    function testFuzz_aCandidatesBondIsItsPartOfTheRewardRoundedUp(uint128 reward, uint16 bps) external pure {
        uint256 bond = TaskParameters.candidateBond(reward, bps);
        assertGe(bond * TaskParameters.BPS, uint256(reward) * bps);
        if (bond > 0) assertLt((bond - 1) * TaskParameters.BPS, uint256(reward) * bps);
    }
}

/// @notice Stake on record against a plain journal.
contract StakeHistoryTest is Test {
    struct Entry {
        uint256 time;
        uint256 stake;
        uint256 total;
    }

    LocalAsset private _asset;
    ValidatorStake private _stake;
    Entry[] private _journal;

    function setUp() external {
        vm.warp(1_800_000_000);
        _asset = new LocalAsset();
        _stake = new ValidatorStake(_asset, 100);
        for (uint160 i = 1; i <= 2; ++i) {
            vm.startPrank(address(i));
            _asset.faucet(type(uint128).max);
            _asset.approve(address(_stake), type(uint256).max);
            vm.stopPrank();
        }
    }

    function testFuzz_isWhatTheJournalSays(uint256 seed) external {
        address watched = address(1);
        for (uint256 i = 0; i < 24; ++i) {
            uint256 random = uint256(keccak256(abi.encode(seed, i)));
            // often the same second twice
            vm.warp(block.timestamp + (random % 3));
            address who = address(uint160(1 + ((random >> 8) % 2)));
            uint256 amount = 1 + ((random >> 16) % 1000);
            (uint256 unbonding, ) = _stake.unbondingOf(who);
            vm.startPrank(who);
            if ((random >> 32) % 3 == 0) _stake.stake(amount);
            else if ((random >> 32) % 3 == 1 && _stake.stakeOf(who) >= amount) _stake.beginUnbonding(amount);
            else if (unbonding > 0) _stake.cancelUnbonding();
            vm.stopPrank();
            _journal.push(Entry(block.timestamp, _stake.stakeOf(watched), _stake.totalStake()));
        }
        uint256 end = block.timestamp;
        vm.warp(end + 1);
        uint256 entry = 0;
        for (uint256 time = _journal[0].time; time <= end; ++time) {
            while (entry + 1 < _journal.length && _journal[entry + 1].time <= time) ++entry;
            assertEq(_stake.stakeAt(watched, time), _journal[entry].stake, "one validator's");
            assertEq(_stake.totalStakeAt(time), _journal[entry].total, "all");
        }
    }
}
