// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Test} from "forge-std/Test.sol";

import {IPredictionDisputes} from "../../contracts/interfaces/IDisputes.sol";
import {Operation, Step, TensorShape} from "../../contracts/libraries/Networks.sol";
import {TensorOpening, Traces, Window} from "../../contracts/libraries/Traces.sol";
import {ArithmeticHarness} from "../../contracts/test/ArithmeticHarness.sol";
import {DisputePlayer, Evaluated, Place} from "./DisputePlayer.sol";
import {EvaluatedNetworks} from "./EvaluatedNetworks.sol";

/// @notice One value after another against what the evaluator made.
contract DisputeArithmeticTest is Test {
    DisputePlayer private _player;
    ArithmeticHarness private _harness;

    function setUp() external {
        _player = new DisputePlayer();
        _harness = new ArithmeticHarness();
    }

    function testFuzz_theChainComputesWhatTheEvaluatorMade(uint256 seed) external view {
        (Evaluated memory e, Step[] memory steps, Place memory place) = _draw(seed);
        ArithmeticHarness.Value[] memory values = new ArithmeticHarness.Value[](1);
        values[0] = _open(e, steps, place);
        int256[] memory computed = _harness.compute(e.architecture, values);
        assertEq(computed[0], _player.valueAt(e, steps, place));
    }

    function testFuzz_noOtherBytesOpenAWindow(uint256 seed) external {
        (Evaluated memory e, Step[] memory steps, Place memory place) = _draw(seed);
        ArithmeticHarness.Value[] memory values = new ArithmeticHarness.Value[](1);
        values[0] = _open(e, steps, place);
        TensorOpening memory opening = values[0].opening;
        uint256 dice = uint256(keccak256(abi.encode(seed, "flip")));
        bytes memory target = dice % 3 == 0 ? opening.rows : opening.values;
        if (dice % 3 == 1 && opening.positions.length > 0) target = opening.positions[dice % opening.positions.length];
        if (target.length == 0) target = opening.rows;
        uint256 at = (dice >> 8) % target.length;
        target[at] = bytes1(uint8(target[at]) ^ uint8(1 << ((dice >> 128) % 8)));
        vm.expectRevert(IPredictionDisputes.OpeningMismatch.selector);
        _harness.compute(e.architecture, values);
    }

    function _draw(uint256 seed) private view returns (Evaluated memory e, Step[] memory steps, Place memory place) {
        e = abi.decode(EvaluatedNetworks.data(seed % EvaluatedNetworks.COUNT), (Evaluated));
        steps = _player.stepsOf(e.architecture);
        uint256 random = uint256(keccak256(abi.encode(seed)));
        place.step = random % steps.length;
        TensorShape memory shape = steps[place.step].output;
        place.row = (random >> 32) % shape.height;
        place.column = (random >> 64) % shape.width;
        place.channel = (random >> 96) % shape.channels;
    }

    function _open(
        Evaluated memory e,
        Step[] memory steps,
        Place memory place
    ) private view returns (ArithmeticHarness.Value memory value) {
        Step memory step = steps[place.step];
        TensorShape memory input = _player.inputOf(e, steps, place.step);
        Window memory window = Traces.window(step, input, place.row, place.column, 0, step.windowHeight);
        bytes memory read = place.step == 0 ? e.pixels : e.tensors[place.step - 1];
        value.step = place.step;
        value.row = place.row;
        value.column = place.column;
        value.channel = place.channel;
        value.tensor = keccak256(_player.rowHashes(read, input));
        value.opening = _player.openWindow(read, input, window);
        if (step.operation != Operation.Linear) return value;
        value.bias = e.biases[_player.unitIndex(steps, place)];
        value.weights = _player.openUnit(e, steps, place, window).weights;
    }
}
