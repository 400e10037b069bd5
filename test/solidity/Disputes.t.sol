// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Test} from "forge-std/Test.sol";

import {Disputes} from "../../contracts/Disputes.sol";
import {DisputeHandler} from "./DisputeHandler.sol";

/// @notice What holds after any sequence of acts in disputes over networks whose values are the evaluator's.
contract DisputesTest is Test {
    DisputeHandler private _handler;
    /// Sequences of acts, and the first one's number; 1,000 were played once by hand, a sample otherwise.
    uint256 private _sequences;
    uint256 private _first;
    uint256 private constant ACTS = 100;

    function setUp() external {
        vm.warp(1_800_000_000);
        _sequences = vm.envOr("PONAS_INVARIANT_SEQUENCES", uint256(24));
        _first = vm.envOr("PONAS_INVARIANT_FIRST", uint256(0));
    }

    /// @notice Whatever people do: each contract holds what it owes, no honest side loses by a proof, every dispute and
    /// every task ends, and every unit but the burned ones goes to an account.
    function test_moneyIsConservedTheHonestNeverLoseAndEverythingEnds() external {
        uint256 refuted = 0;
        uint256 upheld = 0;
        uint256 answered = 0;
        uint256 slashed = 0;
        uint256 sealsRefuted = 0;
        uint256 sealsUpheld = 0;
        uint256 held = 0;
        uint256 released = 0;
        for (uint256 i = _first; i < _first + _sequences; ++i) {
            this.sequence(i);
            refuted += _handler.refuted();
            upheld += _handler.upheld();
            answered += _handler.answeredDemands();
            slashed += _handler.slashed();
            sealsRefuted += _handler.sealsRefuted();
            sealsUpheld += _handler.sealsUpheld();
            held += _handler.held();
            released += _handler.released();
        }
        // The acts are worth something: games are played to both ends, and demands are answered.
        assertGt(refuted, _sequences / 4, "hardly any liar was refuted");
        assertGt(upheld, _sequences / 4, "hardly any claim was upheld");
        assertGt(answered, _sequences / 4, "hardly any demand was answered");
        assertGt(slashed, _sequences / 12, "hardly any validator was slashed");
        assertGt(sealsRefuted, _sequences / 12, "hardly any false seal was refuted");
        assertGt(sealsUpheld, _sequences / 12, "hardly any true seal was upheld");
        assertGt(held, _sequences / 24, "hardly any stake was held");
        assertGt(released, _sequences / 4, "hardly any held seal was released");
    }

    /// @dev Called by the test itself, so that each sequence begins with empty memory.
    function sequence(uint256 seed) external {
        vm.warp(1_800_000_000);
        _handler = new DisputeHandler(1000 * seed);
        uint256 random = seed;
        for (uint256 i = 0; i < ACTS; ++i) {
            random = uint256(keccak256(abi.encode(random)));
            _handler.act(random);
            _check();
        }
        _handler.finish();
        _check();
        assertEq(_handler.openDisputes(), 0, "a dispute is open");
        assertEq(_handler.registry().openTaskCount(), 0, "a task is open");
        assertEq(_handler.disputes().owed(), _handler.disputes().burned(), "disputes kept something");
        assertEq(_handler.registry().owed(), _handler.registry().burned(), "the registry kept something");
        assertEq(_handler.stake().owed(), _handler.stake().burned(), "the stake contract kept something");
    }

    function _check() private view {
        if (_handler.violationCount() > 0) revert(_handler.violations(0));
        Disputes disputes = _handler.disputes();
        uint256 parts = disputes.burned();
        for (uint256 i = 0; i < _handler.accountCount(); ++i) parts += disputes.creditOf(_handler.accounts(i));
        parts += _handler.openChallenges() * disputes.challengeBond();
        parts += _handler.openDemands() * disputes.demandPrice();
        assertEq(disputes.owed(), parts, "disputes: owed");
        assertEq(_handler.asset().balanceOf(address(disputes)), parts, "disputes: balance");

        parts = _handler.registry().burned();
        for (uint256 taskId = 1; taskId <= _handler.registry().taskCount(); ++taskId) {
            parts += _handler.registry().taskOf(taskId).escrow;
        }
        for (uint256 i = 0; i < _handler.accountCount(); ++i) {
            parts += _handler.registry().creditOf(_handler.accounts(i));
        }
        assertEq(_handler.registry().owed(), parts, "registry: owed");
        assertEq(_handler.asset().balanceOf(address(_handler.registry())), parts, "registry: balance");

        parts = _handler.stake().burned();
        for (uint256 i = 0; i < _handler.accountCount(); ++i) {
            address who = _handler.accounts(i);
            (uint256 unbonding, ) = _handler.stake().unbondingOf(who);
            parts += _handler.stake().stakeOf(who) + unbonding + _handler.stake().creditOf(who);
        }
        assertEq(_handler.asset().balanceOf(address(_handler.stake())), parts, "stake: balance");
    }
}
