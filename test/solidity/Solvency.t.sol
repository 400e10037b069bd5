// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Test} from "forge-std/Test.sol";

import {IPool} from "../../contracts/interfaces/IPool.sol";
import {RoundHandler} from "./RoundHandler.sol";

/// @notice What holds after any sequence of acts.
contract SolvencyTest is Test {
    RoundHandler private _handler;

    function setUp() external {
        vm.warp(1_800_000_000);
        _handler = new RoundHandler();
        targetContract(address(_handler));
        bytes4[] memory acts = new bytes4[](7);
        acts[0] = RoundHandler.publish.selector;
        acts[1] = RoundHandler.push.selector;
        acts[2] = RoundHandler.changeStake.selector;
        acts[3] = RoundHandler.withdraw.selector;
        acts[4] = RoundHandler.managePool.selector;
        acts[5] = RoundHandler.pass.selector;
        acts[6] = RoundHandler.wild.selector;
        targetSelector(FuzzSelector(address(_handler), acts));
    }

    // ————— Invariants —————

    function invariant_everyContractHoldsWhatItOwes() external view {
        _checkSolvency();
    }

    function invariant_theLedgerIsAChain() external view {
        _checkLedger();
    }

    function invariant_allStakeIsTheSumOfStakes() external view {
        uint256 sum = 0;
        for (uint256 i = 0; i < _handler.peopleCount(); ++i) sum += _handler.stake().stakeOf(_handler.people(i));
        assertEq(_handler.stake().totalStake(), sum);
    }

    // ————— To the end —————

    /// @notice Whatever people did, every task ends, and every unit but the burned ones goes to an account.
    function testFuzz_everyTaskEndsAndEveryUnitComesBack(uint256 seed) external {
        _act(seed);
        _checkSolvency();
        _handler.finish();
        _checkSolvency();
        _checkLedger();

        for (uint256 taskId = 1; taskId <= _handler.registry().taskCount(); ++taskId) {
            assertEq(_handler.registry().taskOf(taskId).escrow, 0, "a task kept something");
        }
        assertEq(_handler.registry().openTaskCount(), 0, "a task is still open");
        assertEq(_handler.registry().owed(), _handler.registry().burned(), "the registry kept something");
        assertEq(_handler.stake().owed(), 0, "the stake kept something");
        assertEq(_handler.pool().owed(), _handler.pool().burned(), "the pool kept something");
    }

    /// @notice The acts above are worth something: between them they reach every end of a task and of a reward.
    function test_theActsReachEveryEnd() external {
        uint256[4] memory ends;
        uint256[6] memory states;
        uint256 splits;
        uint256 receipts;
        for (uint256 seed = 0; seed < 24; ++seed) {
            _handler = new RoundHandler();
            _act(seed);
            _handler.finish();
            for (uint256 taskId = 1; taskId <= _handler.registry().taskCount(); ++taskId) {
                ++ends[uint256(_handler.registry().taskOf(taskId).voidReason)];
                for (uint256 i = 0; i < _handler.accountCount(); ++i) {
                    uint256 state = uint256(_handler.registry().commitmentOf(taskId, _handler.accounts(i)).state);
                    if (state > 0) ++states[state - 1];
                }
                IPool.TaskAccount memory account = _handler.pool().accountOf(taskId);
                if (account.postedAt > 0) ++splits;
                else if (account.reward > 0) ++receipts;
            }
        }
        for (uint256 i = 0; i < ends.length; ++i) assertGt(ends[i], 2, "an end was hardly reached");
        for (uint256 i = 0; i < states.length; ++i) assertGt(states[i], 3, "a commitment's state was hardly reached");
        assertGt(splits, 1, "hardly any split");
        assertGt(receipts, 1, "hardly any reward without a split");
    }

    function _act(uint256 seed) private {
        uint256 random = seed;
        for (uint256 i = 0; i < 160; ++i) {
            random = uint256(keccak256(abi.encode(random)));
            uint256 dice = random % 32;
            if (dice < 2) _handler.publish(random >> 8);
            else if (dice < 4) _handler.changeStake(random >> 8, uint96(random >> 100));
            else if (dice == 4) _handler.withdraw(random >> 8, uint128(random >> 100));
            else if (dice < 8) _handler.managePool(random >> 8, random >> 16, uint96(random >> 100));
            else if (dice == 8) _handler.wild(random >> 8, random >> 16, bytes32(random));
            else _handler.push(random >> 8, random >> 16);
        }
    }

    // ————— Parts —————

    function _checkSolvency() private view {
        uint256 parts = _handler.registry().burned();
        for (uint256 taskId = 1; taskId <= _handler.registry().taskCount(); ++taskId) {
            parts += _handler.registry().taskOf(taskId).escrow;
        }
        for (uint256 i = 0; i < _handler.accountCount(); ++i)
            parts += _handler.registry().creditOf(_handler.accounts(i));
        assertEq(_handler.registry().owed(), parts, "registry: owed");
        assertEq(_handler.asset().balanceOf(address(_handler.registry())), parts, "registry: balance");

        parts = 0;
        for (uint256 i = 0; i < _handler.peopleCount(); ++i) {
            address who = _handler.people(i);
            (uint256 unbonding, ) = _handler.stake().unbondingOf(who);
            parts += _handler.stake().stakeOf(who) + unbonding + _handler.stake().creditOf(who);
        }
        assertEq(_handler.stake().owed(), parts, "stake: owed");
        assertEq(_handler.asset().balanceOf(address(_handler.stake())), parts, "stake: balance");

        parts = _handler.pool().float() + _handler.pool().burned();
        for (uint256 taskId = 1; taskId <= _handler.registry().taskCount(); ++taskId) {
            IPool.TaskAccount memory account = _handler.pool().accountOf(taskId);
            parts += account.unclaimed + account.stake + account.bonds;
            if (!account.feePaid) parts += account.fee;
        }
        for (uint256 i = 0; i < _handler.peopleCount(); ++i) parts += _handler.pool().creditOf(_handler.people(i));
        assertEq(_handler.pool().owed(), parts, "pool: owed");
        assertEq(_handler.asset().balanceOf(address(_handler.pool())), parts, "pool: balance");
    }

    function _checkLedger() private view {
        uint256 height = _handler.registry().height();
        bytes32 parent = 0;
        for (uint256 i = 1; i <= height; ++i) {
            assertEq(_handler.registry().blockAt(i).parent, parent, "a block's parent");
            parent = _handler.registry().blockAt(i).hash;
        }
        assertEq(_handler.registry().head(), parent, "the head");
    }
}
