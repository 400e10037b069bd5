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
import {WellFormed} from "./libraries/WellFormed.sol";

/// @title Disputes
/// @notice See {IPredictionDisputes} and {IModelDisputes}. The contract holds challengers' bonds and demands' prices;
/// candidates' bonds stay with the registry.
contract Disputes is IPredictionDisputes, IModelDisputes, Credits {
    /// @dev The challenges and demands of one candidate.
    struct Candidate {
        // not decided, queued ones included
        uint32 challenges;
        uint8 runningChallenges;
        uint32 demands;
        uint8 runningDemands;
        // nothing else eliminates an opened candidate where there are disputes
        address refuter;
        // until when what was published on demand can be challenged, and units of a published architecture be demanded
        uint40 challengeableUntil;
        uint40 demandableUntil;
    }

    /// Challenges of one candidate whose clocks run at once, and as many demands: a claimant can answer so many in one
    /// period.
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
    mapping(uint256 taskId => mapping(address participant => Candidate)) private _candidates;
    mapping(uint256 taskId => mapping(address participant => mapping(uint256 part => uint256))) private _demandOfPart;
    /// @dev Who showed that the candidate's model is malformed.
    mapping(uint256 taskId => mapping(address participant => address)) private _malformedBy;
    mapping(uint256 taskId => mapping(address participant => mapping(address validator => bool))) private _slashed;

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
        uint40 until = _candidates[taskId][examined.participant].challengeableUntil;
        if (block.timestamp >= Math.max(examined.windowEnd, until)) revert NotChallengeable(taskId);
        // The result binds the count.
        if (keccak256(abi.encode(Hashing.RESULT, count, blocks)) != examined.result) revert HashMismatch();
        if (sample >= count) revert NoSuchSample(sample, count);
        if (keccak256(block_) != blocks[sample / Hashing.BLOCK_SIZE]) revert HashMismatch();

        challengeId = ++challengeCount;
        Challenge storage own = _challenges[challengeId];
        own.taskId = SafeCast.toUint64(taskId);
        own.participant = examined.participant;
        own.sample = sample;
        own.prediction = uint8(block_[sample % Hashing.BLOCK_SIZE]);
        own.challenger = msg.sender;
        own.stage = Stage.Queued;
        own.disputed = registry.modelRootOf(taskId, examined.participant);
        Candidate storage candidate = _candidates[taskId][examined.participant];
        ++candidate.challenges;
        emit Challenged(challengeId, taskId, examined.participant, msg.sender, sample, own.prediction);
        if (candidate.runningChallenges < RUNNING_CHALLENGES) _run(challengeId, own, candidate);
        _pull(msg.sender, challengeBond);
    }

    /// @inheritdoc IPredictionDisputes
    function advance(uint256 challengeId) external nonReentrant {
        Challenge storage own = _challenges[challengeId];
        if (_isMoot(own)) return _giveBack(challengeId, own);
        if (own.stage != Stage.Queued) revert WrongStage(challengeId, own.stage);
        Candidate storage candidate = _candidateOf(own);
        if (candidate.runningChallenges >= RUNNING_CHALLENGES) {
            revert OutOfRange(candidate.runningChallenges, RUNNING_CHALLENGES);
        }
        _run(challengeId, own, candidate);
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
        // Nothing but the claimant's word binds a trace: a stranger's could be a lie about a model that is right.
        if (msg.sender != own.participant && !_manages(own.participant)) revert NotYourMove(challengeId, msg.sender);
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
        ModelOpening calldata model,
        SpaceOpening calldata space,
        TestOpening calldata test
    ) external nonReentrant {
        (address participant, bytes32 modelRoot) = _opened(taskId);
        uint8 found = WellFormed.malformedArchitecture(address(registry), taskId, modelRoot, model, space, test);
        _refuteMalformed(taskId, participant, Malformation(found));
    }

    /// @inheritdoc IModelDisputes
    function showMalformedUnit(
        uint256 taskId,
        ModelOpening calldata model,
        uint32 layer,
        uint32 index,
        UnitOpening calldata unit
    ) external nonReentrant {
        (address participant, bytes32 modelRoot) = _opened(taskId);
        uint8 found = WellFormed.malformedUnit(modelRoot, model, layer, index, unit);
        _refuteMalformed(taskId, participant, Malformation(found));
    }

    // ————— Availability —————

    /// @inheritdoc IModelDisputes
    function demand(uint256 taskId, uint32 layer, uint32 index) external nonReentrant returns (uint256 demandId) {
        ITaskRegistry.Examination memory examined = _examined(taskId);
        address participant = examined.participant;
        uint40 until = _candidates[taskId][participant].demandableUntil;
        if (block.timestamp >= Math.max(examined.windowEnd, until)) revert NotChallengeable(taskId);
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
        Candidate storage candidate = _candidates[taskId][participant];
        ++candidate.demands;
        emit Demanded(demandId, taskId, participant, msg.sender, layer, index);
        if (candidate.runningDemands < RUNNING_CHALLENGES) _runDemand(demandId, own, candidate);
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
        Candidate storage candidate = _candidates[own.taskId][own.participant];
        bool moot = candidate.refuter != address(0);
        if (!moot && stage == DemandStage.Queued) {
            if (candidate.runningDemands >= RUNNING_CHALLENGES) {
                revert OutOfRange(candidate.runningDemands, RUNNING_CHALLENGES);
            }
            return _runDemand(demandId, own, candidate);
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
        bytes32 commitment = registry.commitmentOf(taskId, participant).hash;
        bytes32 made = registry.sealOf(taskId, participant, validator).seal;
        // A malformed model's true result is the zero result.
        bytes32 truth = Hashing.validatorSealOf(address(registry), taskId, commitment, validator, 0);
        if (refuter == address(0) || made == 0 || made == truth || _slashed[taskId][participant][validator]) {
            revert NotSlashable(taskId, participant, validator);
        }
        _slashed[taskId][participant][validator] = true;
        uint256 amount = registry.stake().slash(validator, refuter);
        if (amount == 0) revert NotSlashable(taskId, participant, validator);
        emit ValidatorSlashed(taskId, participant, validator, amount);
    }

    // ————— Views —————

    /// @inheritdoc IPredictionDisputes
    function challengeOf(uint256 challengeId) external view returns (Challenge memory) {
        return _challenges[challengeId];
    }

    /// @inheritdoc IPredictionDisputes
    function expectChallenge(uint256 challengeId, address challenger, uint32 sample) external view {
        Challenge storage own = _challenges[challengeId];
        if (own.challenger != challenger || own.sample != sample) revert WrongStage(challengeId, own.stage);
    }

    /// @inheritdoc IPredictionDisputes
    function openChallenges(uint256 taskId, address participant) external view returns (uint256) {
        return _candidates[taskId][participant].challenges;
    }

    /// @inheritdoc IModelDisputes
    function demandOf(uint256 demandId) external view returns (Demand memory) {
        return _demands[demandId];
    }

    /// @inheritdoc IModelDisputes
    function openDemands(uint256 taskId, address participant) external view returns (uint256) {
        return _candidates[taskId][participant].demands;
    }

    function isContested(uint256 taskId, address participant) external view returns (bool) {
        Candidate storage candidate = _candidates[taskId][participant];
        return candidate.challenges > 0 || candidate.demands > 0 || block.timestamp < candidate.challengeableUntil;
    }

    // ————— Guards —————

    /// @dev The examined candidate, opened.
    function _examined(uint256 taskId) private view returns (ITaskRegistry.Examination memory examined) {
        if (address(registry) == address(0)) revert NotBound();
        examined = registry.examinationOf(taskId);
        if (examined.openedAt == 0) revert NotChallengeable(taskId);
    }

    /// @dev The same; whether its task has ended is for {ITaskRegistry-refute} to say.
    function _opened(uint256 taskId) private view returns (address participant, bytes32 modelRoot) {
        participant = _examined(taskId).participant;
        modelRoot = registry.modelRootOf(taskId, participant);
    }

    /// @dev A pool is a contract, and acts by its manager.
    function _manages(address participant) private view returns (bool) {
        return participant.code.length > 0 && IPool(participant).manager() == msg.sender;
    }

    /// @dev The demand, where it is open, its candidate still stands, and its clock has not run out.
    function _answerable(uint256 demandId) private view returns (Demand storage own) {
        own = _demands[demandId];
        bool moot = _candidates[own.taskId][own.participant].refuter != address(0);
        if (own.stage != DemandStage.Open || moot) revert WrongDemandStage(demandId, own.stage);
        if (block.timestamp >= own.deadline) revert DemandOver(demandId, own.deadline);
    }

    /// @dev The hash at an index of the hashes that were answered.
    function _pick(bytes32 answered, bytes calldata hashes, uint256 index) private pure returns (bytes32) {
        _checkHash(keccak256(hashes), answered);
        if (32 * index >= hashes.length) revert OutOfRange(index, hashes.length / 32);
        return bytes32(hashes[32 * index:]);
    }

    // ————— Clocks and outcomes —————

    /// @dev The challenge, where it is in that stage, its candidate still stands, and the caller may move in time. A
    /// claimant's answers may come from anybody who has them.
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

    function _run(uint256 challengeId, Challenge storage own, Candidate storage candidate) private {
        ++candidate.runningChallenges;
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
            _refute(own.taskId, own.participant, own.challenger);
        } else {
            uint256 half = challengeBond / 2;
            _credit(own.participant, half, CreditReason.ChallengeWon, own.taskId);
            _burn(challengeBond - half, BurnReason.ChallengeBond, own.taskId);
        }
    }

    /// @dev Another challenge has refuted the candidate: this one proves nothing any more.
    function _giveBack(uint256 challengeId, Challenge storage own) private {
        _close(own, Stage.Moot);
        emit Decided(challengeId, Stage.Moot, 0, 0);
        _credit(own.challenger, challengeBond, CreditReason.ChallengeBond, own.taskId);
    }

    function _close(Challenge storage own, Stage outcome) private {
        Candidate storage candidate = _candidateOf(own);
        if (own.stage != Stage.Queued) --candidate.runningChallenges;
        --candidate.challenges;
        own.stage = outcome;
        own.deadline = 0;
    }

    function _refute(uint256 taskId, address participant, address refuter) private {
        _candidates[taskId][participant].refuter = refuter;
        registry.refute(taskId, participant, refuter);
    }

    function _refuteMalformed(uint256 taskId, address participant, Malformation found) private {
        if (found == Malformation.None) revert NotMalformed();
        _malformedBy[taskId][participant] = msg.sender;
        emit ModelRefuted(taskId, participant, msg.sender, found);
        _refute(taskId, participant, msg.sender);
    }

    function _runDemand(uint256 demandId, Demand storage own, Candidate storage candidate) private {
        ++candidate.runningDemands;
        own.stage = DemandStage.Open;
        own.deadline = uint40(block.timestamp) + answerPeriod;
        emit DemandMoved(demandId, DemandStage.Open, own.deadline);
    }

    /// @dev Half the price pays for what was published; half is burned, so that demands of friends cost.
    function _answered(uint256 demandId, Demand storage own) private {
        _closeDemand(demandId, own, DemandStage.Answered);
        // Published at the last second, it would be known too late to be challenged; but no challenge, and no demand but
        // the one for the architecture, makes time for another one, or there would be no end.
        Candidate storage candidate = _candidates[own.taskId][own.participant];
        candidate.challengeableUntil = uint40(block.timestamp) + answerPeriod;
        if (own.layer == OPENING) candidate.demandableUntil = candidate.challengeableUntil;
        uint256 half = demandPrice / 2;
        _credit(own.participant, half, CreditReason.DemandAnswered, own.taskId);
        _burn(demandPrice - half, BurnReason.DemandPrice, own.taskId);
    }

    function _closeDemand(uint256 demandId, Demand storage own, DemandStage outcome) private {
        Candidate storage candidate = _candidates[own.taskId][own.participant];
        if (own.stage == DemandStage.Open) --candidate.runningDemands;
        --candidate.demands;
        own.stage = outcome;
        own.deadline = 0;
        emit DemandMoved(demandId, outcome, 0);
    }

    function _isMoot(Challenge storage own) private view returns (bool) {
        Stage stage = own.stage;
        return stage >= Stage.Queued && stage <= Stage.Proof && _candidateOf(own).refuter != address(0);
    }

    function _candidateOf(Challenge storage own) private view returns (Candidate storage) {
        return _candidates[own.taskId][own.participant];
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
