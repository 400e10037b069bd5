// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Test} from "forge-std/Test.sol";

import {ITaskRegistry} from "../../contracts/interfaces/ITaskRegistry.sol";
import {DisputeHandler} from "./DisputeHandler.sol";

/// @notice Whole rounds with one dispute each, over networks whose values are the evaluator's: any network, any lie, any
/// place that a challenger insists on, sums in any parts.
contract DisputeGamesTest is Test {
    uint256 private constant TASK = 1;
    /// Games a run: 40 of each of 256 runs once by hand.
    uint256 private _games;

    function setUp() external {
        _games = vm.envOr("PONAS_DISPUTE_GAMES", uint256(1));
    }

    function testFuzz_theClaimantLosesWhereItLiesAndOnlyThere(uint256 seed) external {
        for (uint256 i = 0; i < _games; ++i) this.game(uint256(keccak256(abi.encode(seed, i))) >> 8);
    }

    /// @dev Called by the test itself, so that each game begins with empty memory.
    function game(uint256 seed) external {
        DisputeHandler handler = _opened(seed);
        address ada = handler.ADA();
        bool malformed = handler.isMalformed(TASK, ada);
        if (malformed) handler.accuse(TASK, seed);
        else handler.challenge(TASK, seed);
        for (uint256 i = 0; i < 40 && handler.openChallenges() > 0; ++i)
            handler.move(uint256(keccak256(abi.encode(i))));
        assertEq(handler.openChallenges(), 0, "a game did not end");
        bool eliminated = handler.registry().commitmentOf(TASK, ada).state == ITaskRegistry.CommitmentState.Eliminated;
        assertEq(eliminated, malformed || handler.lies(TASK, ada), "the wrong side lost");
        assertEq(handler.refuted() + handler.upheld() + (malformed ? 1 : 0), 1, "no arithmetic decided");
        if (handler.violationCount() > 0) revert(handler.violations(0));
    }

    function testFuzz_aValidatorLosesItsStakeWhereItSealedALieAndOnlyThere(uint256 seed) external {
        for (uint256 i = 0; i < _games; ++i) this.gameOfSeal(uint256(keccak256(abi.encode(seed, i))) >> 8);
    }

    /// @dev The claimant is silent, whether it had lied or not; then a validator answers for its seal.
    function gameOfSeal(uint256 seed) external {
        DisputeHandler handler = _opened(seed);
        if (handler.isMalformed(TASK, handler.ADA())) return;
        handler.challenge(TASK, seed);
        handler.expire(seed);
        for (uint256 i = 0; handler.openChallenges() == 0; ++i) {
            handler.challengeSeal(uint256(keccak256(abi.encode(seed, i))));
        }
        for (uint256 i = 0; i < 40 && handler.openChallenges() > 0; ++i)
            handler.move(uint256(keccak256(abi.encode(i))));
        assertEq(handler.openChallenges(), 0, "a game did not end");
        assertEq(handler.sealsRefuted() + handler.sealsUpheld(), 1, "no arithmetic decided");
        if (handler.violationCount() > 0) revert(handler.violations(0));
    }

    /// @dev Ada's candidate is sealed, opened, and in its window.
    function _opened(uint256 seed) private returns (DisputeHandler handler) {
        vm.warp(1_800_000_000);
        handler = new DisputeHandler(seed);
        handler.newTask();
        while (handler.registry().phaseOf(TASK) != ITaskRegistry.Phase.Window) handler.progress(TASK);
    }
}
