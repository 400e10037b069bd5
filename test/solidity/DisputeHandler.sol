// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Test} from "forge-std/Test.sol";

import {Disputes} from "../../contracts/Disputes.sol";
import {IPredictionDisputes} from "../../contracts/interfaces/IDisputes.sol";
import {IModelDisputes} from "../../contracts/interfaces/IModelDisputes.sol";
import {ITaskRegistry} from "../../contracts/interfaces/ITaskRegistry.sol";
import {Hashing} from "../../contracts/libraries/Hashing.sol";
import {Operation, Step, TensorShape} from "../../contracts/libraries/Networks.sol";
import {Window} from "../../contracts/libraries/Traces.sol";
import {LocalAsset} from "../../contracts/local/LocalAsset.sol";
import {TaskRegistry} from "../../contracts/TaskRegistry.sol";
import {ValidatorStake} from "../../contracts/ValidatorStake.sol";
import {deployDisputed} from "./Deploy.sol";
import {DisputePlayer, Evaluated, Place} from "./DisputePlayer.sol";
import {EvaluatedNetworks} from "./EvaluatedNetworks.sol";

/// @notice Two claimants, of whom the first may lie, two challengers, and three validators, of which the first seals the
/// truth and the others whatever is claimed: they challenge, answer, press, sleep, demand, meddle, unbond and withdraw at
/// random. Who answers does it from its own truth or lie; whoever is silent runs out of time.
contract DisputeHandler is Test {
    struct HeldSeal {
        uint256 taskId;
        address participant;
        address validator;
    }

    uint32 private constant SAMPLES = 4;
    bytes32 private constant KEY = keccak256("key");

    LocalAsset public immutable asset;
    ValidatorStake public immutable stake;
    TaskRegistry public immutable registry;
    Disputes public immutable disputes;
    DisputePlayer private immutable _player;
    /// Which networks, and who lies.
    uint256 private immutable _seed;

    address public constant PUBLISHER = address(0xA0001);
    address public constant ADA = address(0xA0002);
    address public constant BEN = address(0xA0003);
    address public constant CLEO = address(0xA0004);
    address public constant DORA = address(0xA0005);
    address[3] private _validators = [address(0xA0006), address(0xA0007), address(0xA0008)];
    /// @notice Everyone who can hold a credit.
    address[] public accounts;

    /// @notice Proofs that were decided for the challenger, and for the claimant.
    uint256 public refuted;
    uint256 public upheld;
    uint256 public answeredDemands;
    uint256 public slashed;
    /// @notice Proofs that a validator lost, or won, over its seal.
    uint256 public sealsRefuted;
    uint256 public sealsUpheld;
    /// @notice Times that a game over a seal kept its validator's stake from leaving.
    uint256 public held;
    /// @dev Tasks in which Ada's model was shown to be malformed.
    mapping(uint256 taskId => bool) private _shown;
    /// @notice Seals that were held and released.
    uint256 public released;
    HeldSeal[] private _heldSeals;
    /// @dev Validators that lost a game over their seal on a candidate.
    mapping(uint256 taskId => mapping(address participant => mapping(address validator => bool))) private _lost;
    /// @notice What must never be: an honest side that lost by a proof, or a call that nobody may make and was taken.
    string[] public violations;

    constructor(uint256 seed) {
        _seed = seed;
        (asset, stake, registry, disputes) = deployDisputed(10_000, 6667, 1e18 + 1, 50, 1e17 + 1);
        _player = new DisputePlayer();
        accounts = [PUBLISHER, ADA, BEN, CLEO, DORA, _validators[0], _validators[1], _validators[2]];
        for (uint256 i = 0; i < accounts.length; ++i) {
            vm.startPrank(accounts[i]);
            asset.faucet(1e30);
            asset.approve(address(registry), type(uint256).max);
            asset.approve(address(stake), type(uint256).max);
            asset.approve(address(disputes), type(uint256).max);
            if (i > 4) stake.stake(1e18 + i);
            vm.stopPrank();
        }
        vm.warp(block.timestamp + 1);
    }

    // ————— What people do —————

    /// @notice One act by somebody.
    function act(uint256 seed) external {
        uint256 dice = _random(seed, "act") % 32;
        uint256 more = _random(seed, "more") % 16;
        if (more < 2 && registry.taskCount() > 0) return challengeSeal(seed);
        if (more == 2) return unbond(seed);
        if (more == 15 && registry.taskCount() > 0) return holdSeal(seed);
        if (more > 2 && more < 6) return _bringOn(_openChallenge(seed, true), seed);
        uint256 open = registry.openTaskCount();
        if (open == 0) return newTask();
        uint256 taskId = registry.taskCount();
        if (registry.phaseOf(taskId) != ITaskRegistry.Phase.Window && dice < 20) return progress(taskId);
        if (more == 6) meddle(taskId, seed);
        else if (dice < 4) challenge(taskId, seed);
        else if (dice < 22) for (uint256 i = 0; i <= seed % 3; ++i) move(_random(seed, "move") + i);
        else if (dice < 24) demand(taskId, seed);
        else if (dice < 26) answerDemand(seed);
        else if (dice == 26) meddle(taskId, seed);
        else if (dice == 27) accuse(taskId, seed);
        else if (dice == 28) withdraw(seed);
        else if (dice == 29) vm.warp(block.timestamp + (seed % 20));
        else if (seed % 4 > 0) return;
        else if (dice == 30) expire(seed);
        else progress(taskId);
    }

    /// @notice A task whose candidates are committed, revealed, and the first one examined.
    function newTask() public {
        uint256 taskId = registry.taskCount() + 1;
        ITaskRegistry.TaskParams memory params = _params(taskId);
        for (uint256 i = 0; i < 3; ++i) _stakeAgain(_validators[i]);
        vm.warp(block.timestamp + 1);
        vm.prank(PUBLISHER);
        registry.publish(params);
        vm.warp(registry.scheduleOf(taskId).trainingStart);
        _commit(taskId, ADA);
        _commit(taskId, BEN);
        vm.warp(registry.scheduleOf(taskId).trainingEnd);
        vm.prank(PUBLISHER);
        registry.release(taskId, KEY);
        vm.warp(registry.scheduleOf(taskId).revealStart);
        _reveal(taskId, ADA);
        _reveal(taskId, BEN);
        vm.warp(registry.scheduleOf(taskId).revealEnd);
        registry.advance(taskId);
    }

    /// @notice The next thing in a task that is due, or time until there is one. Anyone may do it.
    function progress(uint256 taskId) public {
        ITaskRegistry.Phase phase = registry.phaseOf(taskId);
        ITaskRegistry.Examination memory e = registry.examinationOf(taskId);
        if (phase == ITaskRegistry.Phase.Seal) {
            for (uint256 i = 0; i < 3; ++i) _seal(taskId, e.participant, _validators[i]);
            vm.warp(e.sealDeadline);
        } else if (phase == ITaskRegistry.Phase.Open) {
            registry.open(taskId, _predictions(taskId, e.participant), _labels(taskId), _parts(taskId));
        } else if (phase == ITaskRegistry.Phase.Window) {
            address[] memory all = new address[](3);
            for (uint256 i = 0; i < 3; ++i) all[i] = _validators[i];
            // solhint-disable-next-line no-empty-blocks
            try registry.attest(taskId, all) {} catch {}
            vm.warp(block.timestamp < e.windowEnd ? e.windowEnd : block.timestamp + 10);
        } else if (phase == ITaskRegistry.Phase.Confirmable) {
            registry.confirm(taskId);
        } else if (phase == ITaskRegistry.Phase.Advanceable) {
            registry.advance(taskId);
        }
    }

    /// @notice Cleo or Dora, or the claimant itself, challenges what is claimed of the first sample.
    function challenge(uint256 taskId, uint256 seed) public {
        address participant = registry.examinationOf(taskId).participant;
        // Of a malformed model no value is defined.
        if (isMalformed(taskId, participant)) return seed % 4 == 0 ? accuse(taskId, seed) : demand(taskId, seed);
        bytes memory predictions = _predictions(taskId, participant);
        bytes32[] memory blocks = new bytes32[](1);
        blocks[0] = keccak256(predictions);
        uint256 who = _random(seed, "who") % 9;
        vm.prank(
            who == 0
                ? participant
                : who < 5
                    ? CLEO
                    : DORA
        );
        // solhint-disable-next-line no-empty-blocks
        try disputes.challenge(taskId, 0, SAMPLES, blocks, predictions) {} catch {}
    }

    /// @notice Cleo, Dora or the validator itself challenges what a validator sealed of the first sample of a candidate,
    /// in this task or the one before: it is taken where the candidate was refuted a short time ago, and only there.
    function challengeSeal(uint256 seed) public {
        uint256 dice = _random(seed, "seal");
        uint256 taskId = registry.taskCount();
        if (taskId > 1 && dice % 4 == 0) --taskId;
        address participant = dice % 8 == 0 ? BEN : ADA;
        // What a malformed model's seals cost is {accuse}'s matter.
        if (isMalformed(taskId, participant)) return;
        address validator = _validators[(dice >> 8) % 3];
        bytes memory predictions = _sealedBy(taskId, participant, validator);
        bytes32[] memory blocks = new bytes32[](1);
        blocks[0] = keccak256(predictions);
        bool may =
            block.timestamp < disputes.sealsChallengeableUntil(taskId, participant) &&
                registry.sealOf(taskId, participant, validator).seal != 0 &&
                !_lost[taskId][participant][validator] &&
                _stakeOf(validator) > 0;
        uint256 who = (dice >> 16) % 9;
        vm.prank(
            who == 0
                ? validator
                : who < 5
                    ? CLEO
                    : DORA
        );
        try disputes.challengeSeal(taskId, participant, validator, 0, SAMPLES, blocks, predictions) {
            if (!may) violations.push("a seal was challenged that nobody may challenge");
        } catch {
            if (may) violations.push("a seal could not be challenged");
        }
    }

    /// @notice A validator begins to take its stake out, or takes out what is due: not while it plays for a seal.
    function unbond(uint256 seed) public {
        address validator = _validators[_random(seed, "validator") % 3];
        (uint256 amount, uint48 readyAt) = stake.unbondingOf(validator);
        if (amount == 0) {
            uint256 active = stake.stakeOf(validator);
            if (active == 0) return;
            vm.prank(validator);
            stake.beginUnbonding(active - (seed % 2) * (active / 3));
            return;
        }
        bool held_ = _plays(validator) || _heldSealsOf(validator) > 0;
        if (!held_ || seed % 2 == 0) _warpTo(readyAt);
        vm.prank(validator);
        try stake.finishUnbonding() {
            if (held_) violations.push("stake left in a game");
        } catch {
            if (!held_) violations.push("stake is stuck");
            else ++held;
        }
    }

    /// @notice Dora holds some seal, or releases one that is held: the first as long as the seal may be challenged, the second
    /// afterwards.
    function holdSeal(uint256 seed) public {
        uint256 dice = _random(seed, "hold");
        if (dice % 2 == 0 && _heldSeals.length > 0) return _release((dice >> 8) % _heldSeals.length);
        uint256 taskId = registry.taskCount();
        if (taskId > 1 && dice % 8 == 1) --taskId;
        HeldSeal memory seal = HeldSeal(taskId, dice % 3 == 0 ? BEN : ADA, _validators[(dice >> 8) % 3]);
        bool may =
            registry.sealOf(taskId, seal.participant, seal.validator).seal != 0 &&
                !stake.isSealHeld(taskId, seal.participant, seal.validator) &&
                _mayBeChallenged(taskId, seal.participant);
        vm.prank(DORA);
        try stake.holdSeal(taskId, seal.participant, seal.validator) {
            if (!may) violations.push("a seal was held that nobody may challenge");
            _heldSeals.push(seal);
        } catch {
            if (may) violations.push("a seal could not be held");
        }
    }

    /// @notice Some open challenge is brought one move on, by whoever has to move.
    function move(uint256 seed) public {
        _bringOn(_openChallenge(seed, false), seed);
    }

    function _bringOn(uint256 id, uint256 seed) private {
        if (id == 0) return;
        IPredictionDisputes.Challenge memory c = disputes.challengeOf(id);
        if (c.stage == IPredictionDisputes.Stage.Queued || _isDecided(c)) {
            // solhint-disable-next-line no-empty-blocks
            try disputes.advance(id) {} catch {}
        } else if (block.timestamp >= c.deadline) {
            _timeOut(id);
        } else if (c.stage == IPredictionDisputes.Stage.Trace) {
            Evaluated memory told = _toldIn(c);
            vm.startPrank(c.defender);
            disputes.answerTrace(id, _player.openModel(told), _player.showTrace(told));
            vm.stopPrank();
        } else if (_isAnswer(c.stage)) {
            _answer(id, c);
        } else {
            _press(id, c, seed);
        }
    }

    /// @notice Lets the clock of a challenge or a demand run out.
    function expire(uint256 seed) public {
        uint256 id = _openChallenge(seed, false);
        if (id != 0 && disputes.challengeOf(id).deadline != 0) {
            _warpTo(disputes.challengeOf(id).deadline);
            _timeOut(id);
        }
        id = _openDemand(seed);
        if (id != 0 && disputes.demandOf(id).deadline != 0) {
            _warpTo(disputes.demandOf(id).deadline);
            disputes.expireDemand(id);
        }
    }

    function demand(uint256 taskId, uint256 seed) public {
        uint256 dice = _random(seed, "part");
        vm.prank(dice % 2 == 0 ? CLEO : DORA);
        uint32 layer = dice % 5 == 0 ? type(uint32).max : uint32((dice >> 8) % 4);
        uint32 index = dice % 5 == 0 ? 0 : uint32((dice >> 16) % 12);
        // solhint-disable-next-line no-empty-blocks
        try disputes.demand(taskId, layer, index) {} catch {}
    }

    /// @notice Somebody publishes what is demanded.
    function answerDemand(uint256 seed) public {
        uint256 id = _openDemand(seed);
        if (id == 0) return;
        IModelDisputes.Demand memory d = disputes.demandOf(id);
        bool late = block.timestamp >= d.deadline || d.stage != IModelDisputes.DemandStage.Open;
        if (late || registry.commitmentOf(d.taskId, d.participant).state == ITaskRegistry.CommitmentState.Eliminated) {
            // solhint-disable-next-line no-empty-blocks
            try disputes.expireDemand(id) {} catch {}
            return;
        }
        Evaluated memory e = _model(d.taskId, d.participant);
        ++answeredDemands;
        if (d.layer == type(uint32).max) disputes.answerModel(id, _player.openModel(e));
        else disputes.answerUnit(id, _player.openModel(e), _wholeUnit(e, d.layer, d.index));
    }

    /// @notice Cleo shows some unit of the examined model, or of one that was refuted otherwise: the chain finds it malformed
    /// where it is, and only there; validators that sealed its result lose their stake.
    function accuse(uint256 taskId, uint256 seed) public {
        address participant = registry.examinationOf(taskId).participant;
        bool open = registry.phaseOf(taskId) == ITaskRegistry.Phase.Window;
        if (block.timestamp < disputes.sealsChallengeableUntil(taskId, ADA)) (participant, open) = (ADA, true);
        bool malformed = isMalformed(taskId, participant);
        Evaluated memory e = _model(taskId, participant);
        Step[] memory steps = _player.stepsOf(e.architecture);
        Step memory step = steps[malformed ? 0 : seed % steps.length];
        if (step.operation != Operation.Linear) return;
        uint32 index = malformed ? 0 : uint32(_random(seed, "unit") % step.output.channels);
        IPredictionDisputes.UnitOpening memory unit = _wholeUnit(e, uint32(step.layer), index);
        IPredictionDisputes.ModelOpening memory model = _player.openModel(e);
        vm.prank(CLEO);
        try disputes.showMalformedUnit(taskId, participant, model, uint32(step.layer), index, unit) {
            if (!malformed || _shown[taskId]) violations.push("a unit was shown to be malformed that is not, or twice");
            _shown[taskId] = true;
            _slash(taskId, participant);
        } catch {
            if (malformed && open && !_shown[taskId]) violations.push("a malformed unit stands");
        }
    }

    function _slash(uint256 taskId, address participant) private {
        for (uint256 i = 0; i < 3; ++i) {
            address validator = _validators[i];
            bool lied = registry.sealOf(taskId, participant, validator).seal != 0 && i > 0;
            bool may = lied && !_lost[taskId][participant][validator] && _stakeOf(validator) > 0;
            try disputes.slashValidator(taskId, participant, validator) {
                if (!may) violations.push("a validator was slashed that sealed the truth");
                if (_stakeOf(validator) > 0) violations.push("a slashed validator kept its stake");
                _lost[taskId][participant][validator] = true;
                ++slashed;
            } catch {
                if (may) violations.push("a validator was not slashed that sealed a malformed model");
            }
        }
    }

    /// @dev What a validator can lose.
    function _stakeOf(address validator) private view returns (uint256) {
        (uint256 unbonding, ) = stake.unbondingOf(validator);
        return stake.stakeOf(validator) + unbonding;
    }

    function _stakeAgain(address validator) private {
        if (stake.stakeOf(validator) > 0) return;
        vm.prank(validator);
        stake.stake(1e18 + 11);
    }

    /// @notice Calls that nobody may make: another's move, a clock that still runs, money of others.
    function meddle(uint256 taskId, uint256 seed) public {
        uint256 id = _openChallenge(seed, false);
        if (id == 0) return;
        IPredictionDisputes.Challenge memory c = disputes.challengeOf(id);
        Evaluated memory e = _toldIn(c);
        IPredictionDisputes.ModelOpening memory model = _player.openModel(e);
        IPredictionDisputes.Trace memory trace = _player.showTrace(e);
        address participant = c.participant;
        bytes[9] memory calls = [
            abi.encodeCall(disputes.answerTrace, (id, model, trace)),
            abi.encodeCall(disputes.pickTensor, (id, model, trace, 0)),
            abi.encodeCall(disputes.pickRow, (id, hex"", 0)),
            abi.encodeCall(disputes.answerRows, (id, abi.encode(seed))),
            abi.encodeCall(disputes.answerValues, (id, abi.encode(seed))),
            abi.encodeCall(registry.refute, (taskId, participant, PUBLISHER)),
            abi.encodeCall(stake.slash, (_validators[0], PUBLISHER)),
            abi.encodeCall(stake.hold, (_validators[0])),
            abi.encodeCall(stake.release, (_validators[0]))
        ];
        uint256 choice = _random(seed, "meddle") % 10;
        // A trace binds only its largest logit: it is what others would like to show most.
        if (c.stage == IPredictionDisputes.Stage.Trace && seed % 2 == 0) choice = 0;
        address target =
            choice < 5
                ? address(disputes)
                : choice == 5
                    ? address(registry)
                    : address(stake);
        bytes memory call = choice < 9 ? calls[choice] : abi.encodeCall(disputes.timeOut, (id));
        bool running = c.deadline > block.timestamp;
        if (choice == 9 && !running) return;
        vm.prank(choice == 0 && _isSeal(c) ? c.participant : PUBLISHER);
        (bool success, ) = (choice == 9 ? address(disputes) : target).call(call);
        if (success && choice == 9 && disputes.challengeOf(id).stage == IPredictionDisputes.Stage.Moot) return;
        if (success) violations.push("a call was taken that nobody may make");
    }

    function withdraw(uint256 seed) public {
        vm.startPrank(accounts[seed % accounts.length]);
        disputes.withdraw();
        registry.withdraw();
        vm.stopPrank();
    }

    // ————— To the end —————

    /// @notice By calls that anyone may make when time is over, every dispute and every task ends, and all are paid.
    function finish() external {
        for (uint256 i = 0; openDisputes() > 0; ++i) {
            require(i < 40, "a dispute is stuck");
            _closeAll();
        }
        for (uint256 taskId = 1; taskId <= registry.taskCount(); ++taskId) {
            for (uint256 i = 0; registry.phaseOf(taskId) < ITaskRegistry.Phase.Confirmed; ++i) {
                require(i < 60, "a task is stuck");
                progress(taskId);
            }
            _settle(taskId, ADA);
            _settle(taskId, BEN);
            address winner = registry.taskOf(taskId).winner;
            for (uint256 i = 0; winner != address(0) && i < 3; ++i) {
                if (registry.sealOf(taskId, winner, _validators[i]).attested) {
                    ITaskRegistry.SealView memory own = registry.sealOf(taskId, winner, _validators[i]);
                    if (!own.settled) registry.settleValidator(taskId, _validators[i]);
                }
            }
        }
        for (uint256 i = 0; i < 3; ++i) _leave(_validators[i]);
        for (uint256 i = 0; i < accounts.length; ++i) {
            vm.startPrank(accounts[i]);
            disputes.withdraw();
            registry.withdraw();
            stake.withdraw();
            vm.stopPrank();
        }
    }

    function _release(uint256 index) private {
        HeldSeal memory seal = _heldSeals[index];
        bool may = !_mayBeChallenged(seal.taskId, seal.participant);
        vm.prank(DORA);
        try stake.releaseSeal(seal.taskId, seal.participant, seal.validator) {
            if (!may) violations.push("a seal was released that may be challenged");
            _heldSeals[index] = _heldSeals[_heldSeals.length - 1];
            _heldSeals.pop();
            ++released;
        } catch {
            if (may) violations.push("a seal is held for ever");
        }
    }

    /// @dev The candidate is not decided, or was refuted a short time ago.
    function _mayBeChallenged(uint256 taskId, address participant) private view returns (bool) {
        if (block.timestamp < disputes.sealsChallengeableUntil(taskId, participant)) return true;
        bool stands = registry.commitmentOf(taskId, participant).state == ITaskRegistry.CommitmentState.Candidate;
        return stands && registry.phaseOf(taskId) < ITaskRegistry.Phase.Confirmed;
    }

    function _heldSealsOf(address validator) private view returns (uint256 count) {
        for (uint256 i = 0; i < _heldSeals.length; ++i) if (_heldSeals[i].validator == validator) ++count;
    }

    /// @dev When its games are over, and its seals released, nothing holds a validator's stake any more.
    function _leave(address validator) private {
        uint256 active = stake.stakeOf(validator);
        vm.startPrank(validator);
        if (active > 0) stake.beginUnbonding(active);
        (uint256 amount, uint48 readyAt) = stake.unbondingOf(validator);
        vm.stopPrank();
        _warpTo(readyAt);
        for (uint256 i = _heldSeals.length; i > 0; --i) {
            HeldSeal memory seal = _heldSeals[i - 1];
            if (seal.validator != validator) continue;
            _warpTo(disputes.sealsChallengeableUntil(seal.taskId, seal.participant));
            _release(i - 1);
        }
        if (amount == 0) return;
        vm.prank(validator);
        stake.finishUnbonding();
    }

    function _closeAll() private {
        for (uint256 id = 1; id <= disputes.challengeCount(); ++id) {
            IPredictionDisputes.Challenge memory c = disputes.challengeOf(id);
            if (!_isOpen(c.stage)) continue;
            if (c.deadline != 0) {
                _warpTo(c.deadline);
                _timeOut(id);
            } else {
                // solhint-disable-next-line no-empty-blocks
                try disputes.advance(id) {} catch {}
            }
        }
        for (uint256 id = 1; id <= disputes.demandCount(); ++id) {
            IModelDisputes.Demand memory d = disputes.demandOf(id);
            if (!_isOpenDemand(d.stage)) continue;
            _warpTo(d.deadline);
            // solhint-disable-next-line no-empty-blocks
            try disputes.expireDemand(id) {} catch {}
        }
    }

    function _settle(uint256 taskId, address participant) private {
        if (!registry.settlementOf(taskId, participant).settled) registry.settle(taskId, participant);
    }

    // ————— Moves —————

    function _answer(uint256 id, IPredictionDisputes.Challenge memory c) private {
        Evaluated memory told = _toldIn(c);
        TensorShape memory shape = _player.stepsOf(told.architecture)[c.step].output;
        bytes memory tensor = told.tensors[c.step];
        if (c.stage == IPredictionDisputes.Stage.Rows) disputes.answerRows(id, _player.rowHashes(tensor, shape));
        else if (c.stage == IPredictionDisputes.Stage.Positions)
            disputes.answerPositions(id, _player.positionHashes(tensor, shape, c.row));
        else disputes.answerValues(id, _player.valuesAt(tensor, shape, c.row, c.column));
    }

    function _press(uint256 id, IPredictionDisputes.Challenge memory c, uint256 seed) private {
        Evaluated memory own = _evaluated(c.taskId);
        Evaluated memory told = _toldIn(c);
        Place memory place = _disputed(own, told, uint256(keccak256(abi.encode(id))));
        if (c.stage == IPredictionDisputes.Stage.Proof) return _prove(id, c, place, seed);
        IPredictionDisputes.ModelOpening memory model = _player.openModel(own);
        IPredictionDisputes.Trace memory trace = _player.showTrace(told);
        TensorShape memory shape = _player.stepsOf(own.architecture)[place.step].output;
        bytes memory hashes;
        if (c.stage == IPredictionDisputes.Stage.Row) hashes = _player.rowHashes(told.tensors[place.step], shape);
        if (c.stage == IPredictionDisputes.Stage.Column)
            hashes = _player.positionHashes(told.tensors[place.step], shape, place.row);
        vm.prank(c.challenger);
        if (c.stage == IPredictionDisputes.Stage.Tensor) disputes.pickTensor(id, model, trace, uint16(place.step));
        else if (c.stage == IPredictionDisputes.Stage.Row) disputes.pickRow(id, hashes, uint16(place.row));
        else disputes.pickColumn(id, hashes, uint16(place.column));
    }

    function _prove(uint256 id, IPredictionDisputes.Challenge memory c, Place memory place, uint256 seed) private {
        Evaluated memory own = _evaluated(c.taskId);
        Step memory step = _player.stepsOf(own.architecture)[place.step];
        uint256 to = step.windowHeight;
        if (step.operation == Operation.Linear) to = c.kernelRow + 1 + (seed % (step.windowHeight - c.kernelRow));
        IPredictionDisputes.Computation memory computation = _player.openPart(own, place, c.kernelRow, to);
        Evaluated memory told = _toldIn(c);
        computation.trace = _player.showTrace(told);
        if (place.step < told.tensors.length) {
            computation.claimed = _player.valuesAt(told.tensors[place.step], step.output, place.row, place.column);
        }
        if (place.step == 0) computation.sample = _openSample(c.taskId);
        vm.prank(c.challenger);
        disputes.prove(id, computation);
        _note(id, c);
        IPredictionDisputes.Stage stage = disputes.challengeOf(id).stage;
        bool seal = _isSeal(c);
        if (stage == IPredictionDisputes.Stage.Refuted) seal ? ++sealsRefuted : ++refuted;
        if (stage == IPredictionDisputes.Stage.Upheld) seal ? ++sealsUpheld : ++upheld;
        bool lied = lies(c.taskId, c.participant) && !(seal && c.defender == _validators[0]);
        if (stage == IPredictionDisputes.Stage.Refuted && !lied) violations.push("an honest defender lost");
        if (stage == IPredictionDisputes.Stage.Upheld && lied) violations.push("an honest challenger lost");
    }

    function _timeOut(uint256 id) private {
        IPredictionDisputes.Challenge memory c = disputes.challengeOf(id);
        disputes.timeOut(id);
        _note(id, c);
    }

    /// @dev What a decided challenge has made of a validator.
    function _note(uint256 id, IPredictionDisputes.Challenge memory c) private {
        if (!_isSeal(c) || disputes.challengeOf(id).stage != IPredictionDisputes.Stage.Refuted) return;
        _lost[c.taskId][c.participant][c.defender] = true;
        if (_stakeOf(c.defender) > 0) violations.push("a refuted validator kept its stake");
    }

    /// @dev Whether another challenge has decided over the defender.
    function _isDecided(IPredictionDisputes.Challenge memory c) private view returns (bool) {
        if (_isSeal(c)) return _lost[c.taskId][c.participant][c.defender];
        return registry.commitmentOf(c.taskId, c.participant).state == ITaskRegistry.CommitmentState.Eliminated;
    }

    function _isSeal(IPredictionDisputes.Challenge memory c) private pure returns (bool) {
        return c.ofSeal;
    }

    /// @dev Whether a challenge of one of its seals is open.
    function _plays(address validator) private view returns (bool) {
        for (uint256 id = disputes.challengeCount(); id > 0; --id) {
            IPredictionDisputes.Challenge memory c = disputes.challengeOf(id);
            if (c.defender == validator && _isOpen(c.stage)) return true;
        }
        return false;
    }

    /// @dev The first value in which the two differ; where there is none, any that the challenger insists on.
    function _disputed(
        Evaluated memory own,
        Evaluated memory told,
        uint256 random
    ) private view returns (Place memory place) {
        Step[] memory steps = _player.stepsOf(own.architecture);
        place.step = random % steps.length;
        for (uint256 i = steps.length; i > 0; --i) {
            bool differs =
                i == steps.length
                    ? keccak256(abi.encode(own.logits)) != keccak256(abi.encode(told.logits))
                    : keccak256(own.tensors[i - 1]) != keccak256(told.tensors[i - 1]);
            if (differs) place.step = i - 1;
        }
        TensorShape memory shape = steps[place.step].output;
        uint256 index = _firstDifference(own, told, place.step, shape);
        if (index == type(uint256).max) index = (random >> 32) % (shape.height * shape.width * shape.channels);
        place.channel = index % shape.channels;
        place.column = (index / shape.channels) % shape.width;
        place.row = index / shape.channels / shape.width;
    }

    function _firstDifference(
        Evaluated memory own,
        Evaluated memory told,
        uint256 step,
        TensorShape memory shape
    ) private pure returns (uint256) {
        if (step == own.tensors.length) {
            for (uint256 i = 0; i < own.logits.length; ++i) if (own.logits[i] != told.logits[i]) return i;
            return type(uint256).max;
        }
        (bytes memory a, bytes memory b) = (own.tensors[step], told.tensors[step]);
        for (uint256 i = 0; i < a.length; ++i) if (a[i] != b[i]) return i / shape.valueBytes;
        return type(uint256).max;
    }

    function _wholeUnit(
        Evaluated memory e,
        uint32 layer,
        uint32 index
    ) private view returns (IPredictionDisputes.UnitOpening memory unit) {
        Step[] memory steps = _player.stepsOf(e.architecture);
        for (uint256 i = 0; i < steps.length; ++i) {
            bool has = steps[i].operation == Operation.Linear && steps[i].layer == layer;
            if (!has || index >= steps[i].output.channels) continue;
            Window memory all = Window(0, steps[i].windowHeight, 0, 0, 0, 0);
            return _player.openUnit(e, steps, Place(i, 0, 0, index), all);
        }
    }

    // ————— Which is open —————

    function openDisputes() public view returns (uint256 count) {
        return openChallenges() + openDemands();
    }

    function openChallenges() public view returns (uint256 count) {
        for (uint256 id = disputes.challengeCount(); id > 0; --id) {
            if (_isOpen(disputes.challengeOf(id).stage)) ++count;
        }
    }

    function openDemands() public view returns (uint256 count) {
        for (uint256 id = disputes.demandCount(); id > 0; --id) {
            if (_isOpenDemand(disputes.demandOf(id).stage)) ++count;
        }
    }

    /// @dev One of the last twelve that is open, from a random one on; 0 where none is.
    function _openChallenge(uint256 seed, bool ofSeal) private view returns (uint256) {
        uint256 count = disputes.challengeCount();
        for (uint256 i = 0; i < 12 && count > 0; ++i) {
            uint256 back = (_random(seed, "challenge") + i) % 12;
            if (back >= count) continue;
            IPredictionDisputes.Challenge memory c = disputes.challengeOf(count - back);
            if (_isOpen(c.stage) && (_isSeal(c) || !ofSeal)) return count - back;
        }
        return 0;
    }

    function _openDemand(uint256 seed) private view returns (uint256) {
        uint256 count = disputes.demandCount();
        for (uint256 i = 0; i < 12 && count > 0; ++i) {
            uint256 back = (_random(seed, "demand") + i) % 12;
            if (back < count && _isOpenDemand(disputes.demandOf(count - back).stage)) return count - back;
        }
        return 0;
    }

    function _isOpen(IPredictionDisputes.Stage stage) private pure returns (bool) {
        return stage >= IPredictionDisputes.Stage.Queued && stage <= IPredictionDisputes.Stage.Proof;
    }

    function _isOpenDemand(IModelDisputes.DemandStage stage) private pure returns (bool) {
        return stage == IModelDisputes.DemandStage.Queued || stage == IModelDisputes.DemandStage.Open;
    }

    function _isAnswer(IPredictionDisputes.Stage stage) private pure returns (bool) {
        return
            stage == IPredictionDisputes.Stage.Rows ||
            stage == IPredictionDisputes.Stage.Positions ||
            stage == IPredictionDisputes.Stage.Values;
    }

    function _warpTo(uint256 time) private {
        if (time > block.timestamp) vm.warp(time);
    }

    // ————— Truths and lies —————

    function _draw(uint256 taskId, string memory what) private view returns (uint256) {
        return _random(_seed + taskId, what);
    }

    function _evaluated(uint256 taskId) private view returns (Evaluated memory) {
        return abi.decode(EvaluatedNetworks.data(_draw(taskId, "network") % EvaluatedNetworks.COUNT), (Evaluated));
    }

    /// @dev The model that a participant committed to: the evaluated one, or that with a bias beyond every bound.
    function _model(uint256 taskId, address participant) private view returns (Evaluated memory e) {
        e = _evaluated(taskId);
        if (isMalformed(taskId, participant)) e.biases[0] = type(int32).max;
    }

    function isMalformed(uint256 taskId, address participant) public view returns (bool) {
        return participant == ADA && _draw(taskId, "malformed") % 4 == 0;
    }

    /// @notice Ada lies in two tasks of three, Ben never.
    function lies(uint256 taskId, address participant) public view returns (bool) {
        return participant == ADA && !isMalformed(taskId, participant) && _draw(taskId, "lies") % 3 != 0;
    }

    /// @dev What a claimant says of the sample: one value, or one logit, is another one.
    function _told(uint256 taskId, address participant) private view returns (Evaluated memory e) {
        e = _evaluated(taskId);
        if (!lies(taskId, participant)) return e;
        uint256 random = _draw(taskId, "lie");
        uint256 step = random % (e.tensors.length + 1);
        if (step == e.tensors.length) {
            uint256 class = (random >> 16) % e.logits.length;
            e.logits[class] = e.logits[class] > 0 ? int32(-1) : e.logits[class] + 1 + int32(uint32(random >> 200) >> 2);
            return e;
        }
        bytes memory tensor = e.tensors[step];
        uint256 at = (random >> 16) % tensor.length;
        tensor[at] = bytes1(uint8(tensor[at]) ^ 1);
    }

    /// @dev What the defender of a challenge says.
    function _toldIn(IPredictionDisputes.Challenge memory c) private view returns (Evaluated memory) {
        bool honest = _isSeal(c) && c.defender == _validators[0];
        return honest ? _evaluated(c.taskId) : _told(c.taskId, c.participant);
    }

    /// @dev The predictions whose result a validator seals: the true ones, or those that are claimed.
    function _sealedBy(uint256 taskId, address participant, address validator) private view returns (bytes memory) {
        bytes memory claimed = _predictions(taskId, participant);
        if (validator == _validators[0]) claimed[0] = _classOf(_evaluated(taskId).logits);
        return claimed;
    }

    // ————— The round —————

    function _parts(uint256 taskId) private view returns (ITaskRegistry.TestSetParts memory parts) {
        Evaluated memory e = _evaluated(taskId);
        parts.height = e.architecture.height;
        parts.width = e.architecture.width;
        parts.channels = e.architecture.channels;
        parts.classes = e.architecture.classes;
        parts.samplesRoot = _player.treeRoot(_leaves(e));
    }

    /// @dev The first sample is the network's; of the others nothing is known but a hash.
    function _leaves(Evaluated memory e) private pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](SAMPLES);
        for (uint32 i = 0; i < SAMPLES; ++i) {
            leaves[i] = keccak256(abi.encode(Hashing.SAMPLE, i, i == 0 ? keccak256(e.pixels) : bytes32(uint256(i))));
        }
    }

    function _openSample(uint256 taskId) private view returns (IPredictionDisputes.SampleOpening memory sample) {
        Evaluated memory e = _evaluated(taskId);
        bytes32[] memory leaves = _leaves(e);
        sample.pixels = e.pixels;
        sample.labels = Hashing.labels(_labels(taskId));
        sample.samplesRoot = _player.treeRoot(leaves);
        sample.siblings = _player.treeProof(leaves, 0);
    }

    function _params(uint256 taskId) private view returns (ITaskRegistry.TaskParams memory params) {
        ITaskRegistry.TestSetParts memory parts = _parts(taskId);
        params.descriptorCid = hex"01";
        params.keyHash = keccak256(abi.encode(Hashing.KEY, block.chainid, address(registry), PUBLISHER, KEY));
        params.testRoot = keccak256(
            abi.encode(
                Hashing.TEST,
                SAMPLES,
                parts.height,
                parts.width,
                parts.channels,
                parts.classes,
                Hashing.labels(_labels(taskId)),
                parts.samplesRoot
            )
        );
        params.spaceHash = bytes32(uint256(1));
        params.testCount = SAMPLES;
        params.maxModelBytes = 1;
        params.candidateBondBps = 777;
        params.difficulty = ITaskRegistry.Difficulty(1, 1, 1, 1, 1);
        params.phases = ITaskRegistry.PhaseLengths(0, 20, 10, 10, 20, 10, 10, 60, 400);
        // odd amounts: every division leaves a rest
        params.reward = 1e20 + 7;
        params.publisherBond = 1e18 + 3;
        params.commitBond = 1e17 + 1;
        params.commitFee = 1e15 + 1;
        params.validatorFee = 1e18 + 1;
    }

    /// @dev Ada's claims are all correct; Ben's one less.
    function _labels(uint256 taskId) private view returns (bytes memory) {
        return _predictions(taskId, ADA);
    }

    function _predictions(uint256 taskId, address participant) private view returns (bytes memory predictions) {
        predictions = participant == ADA ? bytes(hex"00000000") : bytes(hex"00000001");
        predictions[0] = _classOf(_told(taskId, participant).logits);
    }

    function _classOf(int32[] memory logits) private pure returns (bytes1) {
        uint256 largest = 0;
        for (uint256 i = 1; i < logits.length; ++i) if (logits[i] > logits[largest]) largest = i;
        return bytes1(uint8(largest));
    }

    function _opening(uint256 taskId, address participant) private view returns (ITaskRegistry.Opening memory) {
        return
            ITaskRegistry.Opening(
                _player.modelRoot(_model(taskId, participant)),
                hex"0155",
                1,
                2,
                bytes32(uint256(uint160(participant)))
            );
    }

    function _commit(uint256 taskId, address who) private {
        ITaskRegistry.Opening memory o = _opening(taskId, who);
        bytes32 commitment = keccak256(
            abi.encode(
                Hashing.COMMIT,
                block.chainid,
                address(registry),
                taskId,
                who,
                o.modelRoot,
                keccak256(o.modelCid),
                o.validationCorrect,
                o.validationTotal,
                o.salt
            )
        );
        vm.prank(who);
        registry.commit(taskId, commitment);
    }

    function _reveal(uint256 taskId, address who) private {
        ITaskRegistry.Opening memory o = _opening(taskId, who);
        bytes memory predictions = _predictions(taskId, who);
        bytes memory labels = _labels(taskId);
        uint32 correct = 0;
        for (uint256 i = 0; i < SAMPLES; ++i) if (predictions[i] == labels[i]) ++correct;
        bytes32 claimSeal = keccak256(
            abi.encode(
                Hashing.CLAIM,
                block.chainid,
                address(registry),
                taskId,
                who,
                o.modelRoot,
                Hashing.result(predictions)
            )
        );
        vm.prank(who);
        registry.reveal(taskId, o, correct, claimSeal);
    }

    /// @dev The first validator seals the truth, which of a malformed model is the zero result.
    function _seal(uint256 taskId, address participant, address who) private {
        // What has begun to unbond vouches for nothing.
        if (registry.sealOf(taskId, participant, who).seal != 0 || stake.stakeOf(who) == 0) return;
        bytes32 commitment = registry.commitmentOf(taskId, participant).hash;
        bool zero = who == _validators[0] && isMalformed(taskId, participant);
        bytes32 result = zero ? bytes32(0) : Hashing.result(_sealedBy(taskId, participant, who));
        bytes32 own = keccak256(
            abi.encode(Hashing.SEAL, block.chainid, address(registry), taskId, commitment, who, result)
        );
        vm.prank(who);
        registry.seal(taskId, participant, own);
    }

    // ————— Chance —————

    function _random(uint256 seed, string memory what) private pure returns (uint256) {
        return uint256(keccak256(abi.encode(seed, what)));
    }

    function accountCount() external view returns (uint256) {
        return accounts.length;
    }

    function violationCount() external view returns (uint256) {
        return violations.length;
    }
}
