// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {Credits} from "./Credits.sol";
import {IDisputes, IPredictionDisputes} from "./interfaces/IDisputes.sol";
import {IModelDisputes} from "./interfaces/IModelDisputes.sol";
import {IPool} from "./interfaces/IPool.sol";
import {ITaskRegistry} from "./interfaces/ITaskRegistry.sol";
import {DisputeSteps} from "./libraries/DisputeSteps.sol";
import {Hashing} from "./libraries/Hashing.sol";
import {Seals} from "./libraries/Seals.sol";
import {WellFormed} from "./libraries/WellFormed.sol";

/// @title Disputes
/// @notice See {IPredictionDisputes} and {IModelDisputes}. The contract holds challengers' bonds and demands' prices;
/// candidates' bonds stay with the registry.
contract Disputes is IPredictionDisputes, IModelDisputes, Credits {
    /// @dev Who stands for predictions: the claimant for a candidate's, a validator for those that it sealed.
    struct Defence {
        // not decided, queued ones included
        uint32 challenges;
        uint8 running;
        // nothing else eliminates an opened candidate where there are disputes
        address refuter;
        // of a candidate: until when what was published on demand can be challenged; once it is refuted, until when the
        // seals on it can
        uint40 until;
    }

    /// @dev The demands of one candidate.
    struct Demands {
        // not decided, queued ones included
        uint32 demands;
        uint8 running;
        // until when units of a published architecture can be demanded
        uint40 until;
    }

    /// Challenges of one candidate, or of one validator's seal on it, whose clocks run at once, and as many demands: who
    /// stands for it can answer so many in one period.
    uint256 public constant RUNNING_CHALLENGES = 8;
    /// @inheritdoc IModelDisputes
    uint32 public constant OPENING = type(uint32).max;
    uint40 private constant MAX_ANSWER_PERIOD = 7 days;

    /// @inheritdoc IPredictionDisputes
    uint256 public immutable challengeBond;
    /// @inheritdoc IDisputes
    uint40 public immutable answerPeriod;
    /// @inheritdoc IModelDisputes
    uint256 public immutable demandPrice;
    address private immutable _deployer;

    /// @inheritdoc IPredictionDisputes
    ITaskRegistry public registry;
    /// @inheritdoc IPredictionDisputes
    uint256 public challengeCount;
    /// @inheritdoc IModelDisputes
    uint256 public demandCount;

    mapping(uint256 challengeId => Challenge) private _challenges;
    mapping(uint256 demandId => Demand) private _demands;
    /// @dev That of the candidate itself stands under no validator: a claimant can be one, and seal its own candidate.
    mapping(uint256 taskId => mapping(address participant => mapping(address validator => Defence))) private _defences;
    mapping(uint256 taskId => mapping(address participant => Demands)) private _demandsOf;
    mapping(uint256 taskId => mapping(address participant => mapping(uint256 part => uint256))) private _demandOfPart;
    /// @dev Who showed that the candidate's model is malformed.
    mapping(uint256 taskId => mapping(address participant => address)) private _malformedBy;

    /// @param challengeBond_ units of the asset; at least three times what answering costs
    /// @param answerPeriod_ seconds, 1 … 7 days
    /// @param demandPrice_ units of the asset; at least what publishing a unit costs
    constructor(IERC20 asset_, uint256 challengeBond_, uint40 answerPeriod_, uint256 demandPrice_) Credits(asset_) {
        if (challengeBond_ == 0) revert InvalidParameter("challengeBond");
        if (answerPeriod_ == 0 || answerPeriod_ > MAX_ANSWER_PERIOD) revert InvalidParameter("answerPeriod");
        if (demandPrice_ == 0) revert InvalidParameter("demandPrice");
        challengeBond = challengeBond_;
        answerPeriod = answerPeriod_;
        demandPrice = demandPrice_;
        _deployer = msg.sender;
    }

    /// @notice Sets the registry, once; it names this contract as its disputes, and is deployed after it.
    function bind(ITaskRegistry registry_) external {
        if (msg.sender != _deployer) revert OnlyDeployer();
        if (address(registry) != address(0)) revert AlreadyBound();
        if (registry_.disputes() != address(this) || registry_.asset() != asset) revert InvalidParameter("registry");
        registry = registry_;
    }

    // ————— Challenges —————

    /// @inheritdoc IPredictionDisputes
    function challenge(
        uint256 taskId,
        uint32 sample,
        uint32 count,
        bytes32[] calldata blocks,
        bytes calldata block_
    ) external nonReentrant returns (uint256 challengeId) {
        ITaskRegistry.Examination memory examined = _examined(taskId);
        uint40 until = _defences[taskId][examined.participant][address(0)].until;
        if (block.timestamp >= Math.max(examined.windowEnd, until)) revert NotChallengeable(taskId);
        // The result binds the count.
        _checkHash(_resultOf(count, blocks), examined.result);
        uint8 prediction = _predictionOf(sample, count, blocks, block_);
        return _challenge(taskId, examined.participant, address(0), sample, prediction);
    }

    /// @inheritdoc IPredictionDisputes
    function challengeSeal(
        uint256 taskId,
        address participant,
        address validator,
        uint32 sample,
        uint32 count,
        bytes32[] calldata blocks,
        bytes calldata block_
    ) external nonReentrant returns (uint256 challengeId) {
        bool lost = _defences[taskId][participant][validator].refuter != address(0);
        if (lost || block.timestamp >= sealsChallengeableUntil(taskId, participant)) {
            revert SealNotChallengeable(taskId, participant, validator);
        }
        Seals.check(address(registry), taskId, participant, validator, _resultOf(count, blocks), sample);
        uint8 prediction = _predictionOf(sample, count, blocks, block_);
        registry.stake().hold(validator);
        return _challenge(taskId, participant, validator, sample, prediction);
    }

    /// @inheritdoc IPredictionDisputes
    function advance(uint256 challengeId) external nonReentrant {
        Challenge storage own = _challenges[challengeId];
        if (_isMoot(own)) return _giveBack(challengeId, own);
        if (own.stage != Stage.Queued) revert WrongStage(challengeId, own.stage);
        Defence storage defence = _defenceOf(own);
        if (defence.running >= RUNNING_CHALLENGES) revert OutOfRange(defence.running, RUNNING_CHALLENGES);
        _run(challengeId, own, defence);
    }

    /// @inheritdoc IPredictionDisputes
    function timeOut(uint256 challengeId) external nonReentrant {
        Challenge storage own = _challenges[challengeId];
        Stage stage = own.stage;
        if (stage < Stage.Trace || stage > Stage.Proof) revert WrongStage(challengeId, stage);
        if (_isMoot(own)) return _giveBack(challengeId, own);
        if (block.timestamp < own.deadline) revert TooEarly(challengeId, own.deadline);
        _decide(challengeId, own, _isClaimantsMove(stage), 0, 0);
    }

    // ————— The claimant's answers —————

    /// @inheritdoc IPredictionDisputes
    function answerTrace(uint256 challengeId, ModelOpening calldata model, Trace calldata trace) external nonReentrant {
        Challenge storage own = _move(challengeId, Stage.Trace);
        // Nothing but the defender's word binds a trace: a stranger's could be a lie about a model that is right.
        if (!_isDefender(own)) revert NotYourMove(challengeId, msg.sender);
        own.trace = DisputeSteps.show(own, challengeId, model, trace);
        emit TraceAnswered(challengeId, trace.tensors, trace.logits);
        _await(challengeId, own, Stage.Tensor);
    }

    /// @inheritdoc IPredictionDisputes
    function answerRows(uint256 challengeId, bytes calldata rows) external nonReentrant {
        Challenge storage own = _move(challengeId, Stage.Rows);
        _checkLength(rows.length, 32 * uint256(own.height));
        _checkHash(keccak256(rows), own.disputed);
        emit RowsAnswered(challengeId, rows);
        _await(challengeId, own, Stage.Row);
    }

    /// @inheritdoc IPredictionDisputes
    function answerPositions(uint256 challengeId, bytes calldata positions) external nonReentrant {
        Challenge storage own = _move(challengeId, Stage.Positions);
        _checkLength(positions.length, 32 * uint256(own.width));
        _checkHash(keccak256(positions), own.disputed);
        emit PositionsAnswered(challengeId, positions);
        _await(challengeId, own, Stage.Column);
    }

    /// @inheritdoc IPredictionDisputes
    function answerValues(uint256 challengeId, bytes calldata values) external nonReentrant {
        Challenge storage own = _move(challengeId, Stage.Values);
        _checkLength(values.length, own.positionBytes);
        _checkHash(keccak256(values), own.disputed);
        emit ValuesAnswered(challengeId, values);
        _await(challengeId, own, Stage.Proof);
    }

    // ————— The challenger's moves —————

    /// @inheritdoc IPredictionDisputes
    function pickTensor(
        uint256 challengeId,
        ModelOpening calldata model,
        Trace calldata trace,
        uint16 step
    ) external nonReentrant {
        Challenge storage own = _move(challengeId, Stage.Tensor);
        bool logits = DisputeSteps.pick(own, challengeId, model, trace, step);
        _await(challengeId, own, logits ? Stage.Proof : Stage.Rows);
    }

    /// @inheritdoc IPredictionDisputes
    function pickRow(uint256 challengeId, bytes calldata rows, uint16 row) external nonReentrant {
        Challenge storage own = _move(challengeId, Stage.Row);
        own.row = row;
        own.disputed = _pick(own.disputed, rows, row);
        _await(challengeId, own, Stage.Positions);
    }

    /// @inheritdoc IPredictionDisputes
    function pickColumn(uint256 challengeId, bytes calldata positions, uint16 column) external nonReentrant {
        Challenge storage own = _move(challengeId, Stage.Column);
        own.column = column;
        own.disputed = _pick(own.disputed, positions, column);
        _await(challengeId, own, Stage.Values);
    }

    /// @inheritdoc IPredictionDisputes
    function prove(uint256 challengeId, Computation calldata c) external nonReentrant {
        Challenge storage own = _move(challengeId, Stage.Proof);
        (bool decided, int256 claimed, int256 computed) = DisputeSteps.compute(own, challengeId, registry, c);
        // The parts share one clock, or a challenger could hold the candidate up by one kernel row at a time.
        if (decided) _decide(challengeId, own, computed != claimed, claimed, computed);
        else emit Moved(challengeId, Stage.Proof, own.deadline);
    }

    // ————— Malformed models —————

    /// @inheritdoc IModelDisputes
    function showMalformedArchitecture(
        uint256 taskId,
        address participant,
        ModelOpening calldata model,
        SpaceOpening calldata space,
        TestOpening calldata test
    ) external nonReentrant {
        bytes32 modelRoot = _opened(taskId, participant);
        uint8 found = WellFormed.malformedArchitecture(address(registry), taskId, modelRoot, model, space, test);
        _refuteMalformed(taskId, participant, Malformation(found));
    }

    /// @inheritdoc IModelDisputes
    function showMalformedUnit(
        uint256 taskId,
        address participant,
        ModelOpening calldata model,
        uint32 layer,
        uint32 index,
        UnitOpening calldata unit
    ) external nonReentrant {
        bytes32 modelRoot = _opened(taskId, participant);
        uint8 found = WellFormed.malformedUnit(modelRoot, model, layer, index, unit);
        _refuteMalformed(taskId, participant, Malformation(found));
    }

    // ————— Availability —————

    /// @inheritdoc IModelDisputes
    function demand(uint256 taskId, uint32 layer, uint32 index) external nonReentrant returns (uint256 demandId) {
        ITaskRegistry.Examination memory examined = _examined(taskId);
        address participant = examined.participant;
        Demands storage demands = _demandsOf[taskId][participant];
        if (block.timestamp >= Math.max(examined.windowEnd, demands.until)) revert NotChallengeable(taskId);
        if (layer == OPENING && index != 0) revert OutOfRange(index, 1);
        uint256 part = (uint256(layer) << 32) | index;
        demandId = _demandOfPart[taskId][participant][part];
        if (demandId != 0) revert AlreadyDemanded(demandId);
        demandId = ++demandCount;
        _demandOfPart[taskId][participant][part] = demandId;
        Demand storage own = _demands[demandId];
        own.taskId = SafeCast.toUint64(taskId);
        own.participant = participant;
        own.challenger = msg.sender;
        own.stage = DemandStage.Queued;
        own.layer = layer;
        own.index = index;
        ++demands.demands;
        emit Demanded(demandId, taskId, participant, msg.sender, layer, index);
        if (demands.running < RUNNING_CHALLENGES) _runDemand(demandId, own, demands);
        _pull(msg.sender, demandPrice);
    }

    /// @inheritdoc IModelDisputes
    function answerModel(uint256 demandId, ModelOpening calldata model) external nonReentrant {
        Demand storage own = _answerable(demandId);
        if (own.layer != OPENING) revert NoSuchUnit(own.layer, own.index);
        WellFormed.checkModel(registry.modelRootOf(own.taskId, own.participant), model);
        emit ModelShown(demandId, model);
        _answered(demandId, own);
    }

    /// @inheritdoc IModelDisputes
    function answerUnit(
        uint256 demandId,
        ModelOpening calldata model,
        UnitOpening calldata unit
    ) external nonReentrant {
        Demand storage own = _answerable(demandId);
        if (own.layer == OPENING) revert NoSuchUnit(own.layer, own.index);
        bytes32 modelRoot = registry.modelRootOf(own.taskId, own.participant);
        if (WellFormed.checkUnit(modelRoot, model, own.layer, own.index, unit)) emit UnitShown(demandId, unit);
        _answered(demandId, own);
    }

    /// @inheritdoc IModelDisputes
    function expireDemand(uint256 demandId) external nonReentrant {
        Demand storage own = _demands[demandId];
        DemandStage stage = own.stage;
        if (stage != DemandStage.Queued && stage != DemandStage.Open) revert WrongDemandStage(demandId, stage);
        bool moot = _isRefuted(own.taskId, own.participant);
        if (!moot && stage == DemandStage.Queued) {
            Demands storage demands = _demandsOf[own.taskId][own.participant];
            if (demands.running >= RUNNING_CHALLENGES) revert OutOfRange(demands.running, RUNNING_CHALLENGES);
            return _runDemand(demandId, own, demands);
        }
        if (!moot && block.timestamp < own.deadline) revert DemandRunning(demandId, own.deadline);
        _closeDemand(demandId, own, moot ? DemandStage.Moot : DemandStage.Failed);
        _credit(own.challenger, demandPrice, CreditReason.DemandPrice, own.taskId);
        if (!moot) _refute(own.taskId, own.participant, own.challenger);
    }

    // ————— Validators —————

    /// @inheritdoc IModelDisputes
    function slashValidator(uint256 taskId, address participant, address validator) external nonReentrant {
        address refuter = _malformedBy[taskId][participant];
        bool lost = _defences[taskId][participant][validator].refuter != address(0);
        if (refuter == address(0) || lost || !Seals.isFalse(address(registry), taskId, participant, validator)) {
            revert NotSlashable(taskId, participant, validator);
        }
        if (_slash(taskId, participant, validator, refuter) == 0) revert NotSlashable(taskId, participant, validator);
    }

    // ————— Views —————

    /// @inheritdoc IPredictionDisputes
    function challengeOf(uint256 challengeId) external view returns (Challenge memory) {
        Challenge memory own = _challenges[challengeId];
        if (!own.ofSeal) own.defender = own.participant;
        return own;
    }

    /// @inheritdoc IPredictionDisputes
    function expectChallenge(uint256 challengeId, address challenger, uint32 sample) external view {
        Challenge storage own = _challenges[challengeId];
        if (own.challenger != challenger || own.sample != sample) revert WrongStage(challengeId, own.stage);
    }

    /// @inheritdoc IPredictionDisputes
    function openChallenges(uint256 taskId, address participant) external view returns (uint256) {
        return _defences[taskId][participant][address(0)].challenges;
    }

    /// @inheritdoc IPredictionDisputes
    function openSealChallenges(
        uint256 taskId,
        address participant,
        address validator
    ) external view returns (uint256) {
        return _defences[taskId][participant][validator].challenges;
    }

    /// @inheritdoc IPredictionDisputes
    function sealsChallengeableUntil(uint256 taskId, address participant) public view returns (uint40) {
        return _isRefuted(taskId, participant) ? _defences[taskId][participant][address(0)].until : 0;
    }

    /// @inheritdoc IModelDisputes
    function demandOf(uint256 demandId) external view returns (Demand memory) {
        return _demands[demandId];
    }

    /// @inheritdoc IModelDisputes
    function openDemands(uint256 taskId, address participant) external view returns (uint256) {
        return _demandsOf[taskId][participant].demands;
    }

    function isContested(uint256 taskId, address participant) external view returns (bool) {
        Defence storage defence = _defences[taskId][participant][address(0)];
        Demands storage demands = _demandsOf[taskId][participant];
        bool published = block.timestamp < defence.until && defence.refuter == address(0);
        return defence.challenges > 0 || demands.demands > 0 || published;
    }

    // ————— Guards —————

    /// @dev The examined candidate, opened.
    function _examined(uint256 taskId) private view returns (ITaskRegistry.Examination memory examined) {
        if (address(registry) == address(0)) revert NotBound();
        examined = registry.examinationOf(taskId);
        if (examined.openedAt == 0) revert NotChallengeable(taskId);
    }

    /// @dev The model of that candidate, or of one that was refuted otherwise, as long as the seals on it can be challenged.
    /// Whether the task has ended is for {ITaskRegistry-refute} to say.
    function _opened(uint256 taskId, address participant) private view returns (bytes32 modelRoot) {
        if (block.timestamp >= sealsChallengeableUntil(taskId, participant)) {
            if (_examined(taskId).participant != participant) revert NotChallengeable(taskId);
        }
        return registry.modelRootOf(taskId, participant);
    }

    /// @dev A pool is a contract, and acts by its manager; a validator answers itself.
    function _isDefender(Challenge storage own) private view returns (bool) {
        if (own.ofSeal) return msg.sender == own.defender;
        address participant = own.participant;
        if (msg.sender == participant) return true;
        return participant.code.length > 0 && IPool(participant).manager() == msg.sender;
    }

    function _resultOf(uint32 count, bytes32[] calldata blocks) private pure returns (bytes32) {
        return keccak256(abi.encode(Hashing.RESULT, count, blocks));
    }

    /// @dev The sample's prediction among those of a result.
    function _predictionOf(
        uint32 sample,
        uint32 count,
        bytes32[] calldata blocks,
        bytes calldata block_
    ) private pure returns (uint8) {
        if (sample >= count) revert NoSuchSample(sample, count);
        _checkHash(keccak256(block_), blocks[sample / Hashing.BLOCK_SIZE]);
        return uint8(block_[sample % Hashing.BLOCK_SIZE]);
    }

    /// @dev The demand, where it is open, its candidate still stands, and its clock has not run out.
    function _answerable(uint256 demandId) private view returns (Demand storage own) {
        own = _demands[demandId];
        if (own.stage != DemandStage.Open || _isRefuted(own.taskId, own.participant))
            revert WrongDemandStage(demandId, own.stage);
        if (block.timestamp >= own.deadline) revert DemandOver(demandId, own.deadline);
    }

    /// @dev The hash at an index of the hashes that were answered.
    function _pick(bytes32 answered, bytes calldata hashes, uint256 index) private pure returns (bytes32) {
        _checkHash(keccak256(hashes), answered);
        if (32 * index >= hashes.length) revert OutOfRange(index, hashes.length / 32);
        return bytes32(hashes[32 * index:]);
    }

    // ————— Clocks and outcomes —————

    /// @dev Begins, or queues, a challenge of the candidate's prediction, or of the one that a validator sealed.
    function _challenge(
        uint256 taskId,
        address participant,
        address validator,
        uint32 sample,
        uint8 prediction
    ) private returns (uint256 challengeId) {
        challengeId = ++challengeCount;
        Challenge storage own = _challenges[challengeId];
        own.taskId = SafeCast.toUint64(taskId);
        own.participant = participant;
        own.sample = sample;
        own.prediction = prediction;
        own.challenger = msg.sender;
        own.stage = Stage.Queued;
        own.disputed = registry.modelRootOf(taskId, participant);
        if (validator == address(0)) {
            emit Challenged(challengeId, taskId, participant, msg.sender, sample, prediction);
        } else {
            own.ofSeal = true;
            own.defender = validator;
            emit SealChallenged(challengeId, taskId, participant, validator, msg.sender, sample, prediction);
        }
        Defence storage defence = _defences[taskId][participant][validator];
        ++defence.challenges;
        if (defence.running < RUNNING_CHALLENGES) _run(challengeId, own, defence);
        _pull(msg.sender, challengeBond);
    }

    /// @dev The challenge, where it is in that stage, its defence still stands, and the caller may move in time. The
    /// defender's answers, but for the trace, may come from anybody who has them.
    function _move(uint256 challengeId, Stage stage) private view returns (Challenge storage own) {
        own = _challenges[challengeId];
        if (own.stage != stage || _isMoot(own)) revert WrongStage(challengeId, own.stage);
        if (!_isClaimantsMove(stage) && msg.sender != own.challenger) revert NotYourMove(challengeId, msg.sender);
        if (block.timestamp >= own.deadline) revert TooLate(challengeId, own.deadline);
    }

    function _await(uint256 challengeId, Challenge storage own, Stage stage) private {
        own.stage = stage;
        own.deadline = uint40(block.timestamp) + answerPeriod;
        emit Moved(challengeId, stage, own.deadline);
    }

    function _run(uint256 challengeId, Challenge storage own, Defence storage defence) private {
        ++defence.running;
        _await(challengeId, own, Stage.Trace);
    }

    /// @dev Half of what is lost is burned, so that fighting oneself never pays.
    function _decide(
        uint256 challengeId,
        Challenge storage own,
        bool refuted,
        int256 claimed,
        int256 computed
    ) private {
        _close(own, refuted ? Stage.Refuted : Stage.Upheld);
        emit Decided(challengeId, own.stage, claimed, computed);
        if (refuted) {
            _credit(own.challenger, challengeBond, CreditReason.ChallengeBond, own.taskId);
            if (own.ofSeal) _slash(own.taskId, own.participant, own.defender, own.challenger);
            else _refute(own.taskId, own.participant, own.challenger);
        } else {
            uint256 half = challengeBond / 2;
            address defender = own.ofSeal ? own.defender : own.participant;
            _credit(defender, half, CreditReason.ChallengeWon, own.taskId);
            _burn(challengeBond - half, BurnReason.ChallengeBond, own.taskId);
        }
    }

    /// @dev The candidate was refuted, or the validator slashed, otherwise: this challenge proves nothing any more.
    function _giveBack(uint256 challengeId, Challenge storage own) private {
        _close(own, Stage.Moot);
        emit Decided(challengeId, Stage.Moot, 0, 0);
        _credit(own.challenger, challengeBond, CreditReason.ChallengeBond, own.taskId);
    }

    function _close(Challenge storage own, Stage outcome) private {
        Defence storage defence = _defenceOf(own);
        if (own.stage != Stage.Queued) --defence.running;
        --defence.challenges;
        own.stage = outcome;
        own.deadline = 0;
        if (own.ofSeal) registry.stake().release(own.defender);
    }

    function _refute(uint256 taskId, address participant, address refuter) private {
        Defence storage defence = _defences[taskId][participant][address(0)];
        defence.refuter = refuter;
        defence.until = uint40(block.timestamp) + 2 * answerPeriod;
        registry.refute(taskId, participant, refuter);
    }

    /// @dev One seal costs its validator its stake once, whatever showed that it is false.
    function _slash(
        uint256 taskId,
        address participant,
        address validator,
        address refuter
    ) private returns (uint256 amount) {
        _defences[taskId][participant][validator].refuter = refuter;
        amount = registry.stake().slash(validator, refuter);
        emit ValidatorSlashed(taskId, participant, validator, amount);
    }

    function _refuteMalformed(uint256 taskId, address participant, Malformation found) private {
        if (found == Malformation.None) revert NotMalformed();
        // Shown before: the candidate has fallen, and its validators' stake is the first one's.
        if (_malformedBy[taskId][participant] != address(0)) revert NotChallengeable(taskId);
        _malformedBy[taskId][participant] = msg.sender;
        emit ModelRefuted(taskId, participant, msg.sender, found);
        // A friend may have refuted it otherwise to keep its validators' stake.
        if (!_isRefuted(taskId, participant)) _refute(taskId, participant, msg.sender);
    }

    function _runDemand(uint256 demandId, Demand storage own, Demands storage demands) private {
        ++demands.running;
        own.stage = DemandStage.Open;
        own.deadline = uint40(block.timestamp) + answerPeriod;
        emit DemandMoved(demandId, DemandStage.Open, own.deadline);
    }

    /// @dev Half the price pays for what was published; half is burned, so that demands of friends cost.
    function _answered(uint256 demandId, Demand storage own) private {
        _closeDemand(demandId, own, DemandStage.Answered);
        // Published at the last second, it would be known too late to be challenged; but no challenge, and no demand but
        // the one for the architecture, makes time for another one, or there would be no end.
        uint40 until = uint40(block.timestamp) + answerPeriod;
        _defences[own.taskId][own.participant][address(0)].until = until;
        if (own.layer == OPENING) _demandsOf[own.taskId][own.participant].until = until;
        uint256 half = demandPrice / 2;
        _credit(own.participant, half, CreditReason.DemandAnswered, own.taskId);
        _burn(demandPrice - half, BurnReason.DemandPrice, own.taskId);
    }

    function _closeDemand(uint256 demandId, Demand storage own, DemandStage outcome) private {
        Demands storage demands = _demandsOf[own.taskId][own.participant];
        if (own.stage == DemandStage.Open) --demands.running;
        --demands.demands;
        own.stage = outcome;
        own.deadline = 0;
        emit DemandMoved(demandId, outcome, 0);
    }

    function _isMoot(Challenge storage own) private view returns (bool) {
        Stage stage = own.stage;
        return stage >= Stage.Queued && stage <= Stage.Proof && _defenceOf(own).refuter != address(0);
    }

    function _isRefuted(uint256 taskId, address participant) private view returns (bool) {
        return _defences[taskId][participant][address(0)].refuter != address(0);
    }

    function _defenceOf(Challenge storage own) private view returns (Defence storage) {
        return _defences[own.taskId][own.participant][own.ofSeal ? own.defender : address(0)];
    }

    function _isClaimantsMove(Stage stage) private pure returns (bool) {
        return stage == Stage.Trace || stage == Stage.Rows || stage == Stage.Positions || stage == Stage.Values;
    }

    function _checkHash(bytes32 given, bytes32 wanted) private pure {
        if (given != wanted) revert HashMismatch();
    }

    function _checkLength(uint256 given, uint256 wanted) private pure {
        if (given != wanted) revert WrongLength(given, wanted);
    }
}
