// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {Credits} from "./Credits.sol";
import {IPredictionDisputes} from "./interfaces/IDisputes.sol";
import {ITaskRegistry} from "./interfaces/ITaskRegistry.sol";
import {Arithmetic} from "./libraries/Arithmetic.sol";
import {Hashing} from "./libraries/Hashing.sol";
import {Networks, Operation, Step, TensorShape} from "./libraries/Networks.sol";
import {Traces, Window} from "./libraries/Traces.sol";

/// @title Disputes
/// @notice See {IPredictionDisputes}. The contract holds challengers' bonds; candidates' bonds stay with the registry.
contract Disputes is IPredictionDisputes, Credits {
    /// @dev The challenges of one candidate.
    struct Candidate {
        // not decided, queued ones included
        uint64 open;
        uint64 running;
        // nothing else eliminates an opened candidate where there are disputes
        bool refuted;
    }

    /// Challenges of one candidate whose clocks run at once: a claimant can answer so many in one period.
    uint256 public constant RUNNING_CHALLENGES = 8;
    uint40 private constant MAX_ANSWER_PERIOD = 7 days;

    /// @inheritdoc IPredictionDisputes
    uint256 public immutable challengeBond;
    /// @inheritdoc IPredictionDisputes
    uint40 public immutable answerPeriod;

    /// @inheritdoc IPredictionDisputes
    ITaskRegistry public registry;
    /// @inheritdoc IPredictionDisputes
    uint256 public challengeCount;

    mapping(uint256 challengeId => Challenge) private _challenges;
    mapping(uint256 taskId => mapping(address participant => Candidate)) private _candidates;

    /// @param challengeBond_ units of the asset; at least three times what answering costs
    /// @param answerPeriod_ seconds, 1 … 7 days
    constructor(IERC20 asset_, uint256 challengeBond_, uint40 answerPeriod_) Credits(asset_) {
        if (challengeBond_ == 0) revert InvalidParameter("challengeBond");
        if (answerPeriod_ == 0 || answerPeriod_ > MAX_ANSWER_PERIOD) revert InvalidParameter("answerPeriod");
        challengeBond = challengeBond_;
        answerPeriod = answerPeriod_;
    }

    /// @notice Sets the registry, once; it names this contract as its disputes, and is deployed after it.
    function bind(ITaskRegistry registry_) external {
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
        ITaskRegistry registry_ = registry;
        if (address(registry_) == address(0)) revert NotBound();
        ITaskRegistry.Examination memory examined = registry_.examinationOf(taskId);
        // A late challenge would keep the window open for another one, and so for ever.
        if (examined.openedAt == 0 || block.timestamp >= examined.windowEnd) revert NotChallengeable(taskId);
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
        own.disputed = registry_.commitmentOf(taskId, examined.participant).modelRoot;
        Candidate storage candidate = _candidates[taskId][examined.participant];
        ++candidate.open;
        emit Challenged(challengeId, taskId, examined.participant, msg.sender, sample, own.prediction);
        if (candidate.running < RUNNING_CHALLENGES) _run(challengeId, own, candidate);
        _pull(msg.sender, challengeBond);
    }

    /// @inheritdoc IPredictionDisputes
    function advance(uint256 challengeId) external nonReentrant {
        Challenge storage own = _challenges[challengeId];
        if (_isMoot(own)) return _giveBack(challengeId, own);
        if (own.stage != Stage.Queued) revert WrongStage(challengeId, own.stage);
        Candidate storage candidate = _candidateOf(own);
        if (candidate.running >= RUNNING_CHALLENGES) revert OutOfRange(candidate.running, RUNNING_CHALLENGES);
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
        Step[] memory steps = _steps(own.disputed, model);
        _checkLength(trace.tensors.length, steps.length - 1);
        _checkLength(trace.logits.length, model.architecture.classes);
        uint256 largest = 0;
        for (uint256 i = 1; i < trace.logits.length; ++i) {
            if (trace.logits[i] > trace.logits[largest]) largest = i;
        }
        if (largest != own.prediction) revert WrongClass(largest, own.prediction);
        own.trace = _hashOf(challengeId, trace);
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
        _checkHash(_hashOf(challengeId, trace), own.trace);
        Step[] memory steps = _steps(own.disputed, model);
        if (step >= steps.length) revert OutOfRange(step, steps.length);
        own.step = step;
        if (step == steps.length - 1) return _await(challengeId, own, Stage.Proof);
        TensorShape memory shape = steps[step].output;
        own.height = uint16(shape.height);
        own.width = uint16(shape.width);
        own.positionBytes = uint32(shape.channels * shape.valueBytes);
        own.disputed = trace.tensors[step];
        _await(challengeId, own, Stage.Rows);
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
        _checkHash(_hashOf(challengeId, c.trace), own.trace);
        Step[] memory steps = _steps(registry.commitmentOf(own.taskId, own.participant).modelRoot, c.model);
        Step memory step = steps[own.step];
        if (c.channel >= step.output.channels) revert OutOfRange(c.channel, step.output.channels);
        uint256 from = own.kernelRow;
        // The value is chosen with the first part.
        if (from > 0 && c.channel != own.channel) revert OutOfRange(c.channel, own.channel);
        uint256 to = c.toKernelRow;
        if (to <= from || to > step.windowHeight) revert OutOfRange(to, step.windowHeight);
        // Only a linear step is long enough to be computed in parts.
        if (step.operation != Operation.Linear && to != step.windowHeight) revert OutOfRange(to, step.windowHeight);

        int256 computed = _compute(own, c, steps, step, from, to);
        if (to < step.windowHeight) {
            own.channel = c.channel;
            own.kernelRow = uint16(to);
            own.sum = SafeCast.toInt64(computed);
            return _await(challengeId, own, Stage.Proof);
        }
        int256 claimed = _claimed(own, c, steps.length, step);
        _decide(challengeId, own, computed != claimed, claimed, computed);
    }

    // ————— Views —————

    /// @inheritdoc IPredictionDisputes
    function challengeOf(uint256 challengeId) external view returns (Challenge memory) {
        return _challenges[challengeId];
    }

    /// @inheritdoc IPredictionDisputes
    function openChallenges(uint256 taskId, address participant) external view returns (uint256) {
        return _candidates[taskId][participant].open;
    }

    function isContested(uint256 taskId, address participant) external view returns (bool) {
        return _candidates[taskId][participant].open > 0;
    }

    // ————— Computation —————

    /// @dev The value, or before the last kernel row the sum so far.
    function _compute(
        Challenge storage own,
        Computation calldata c,
        Step[] memory steps,
        Step memory step,
        uint256 from,
        uint256 to
    ) private view returns (int256) {
        uint256 index = own.step;
        TensorShape memory input = index == 0 ? Networks.pixels(c.model.architecture) : steps[index - 1].output;
        Window memory window = Traces.window(step, input, own.row, own.column, from, to);
        if (index > 0) Traces.verify(c.input, c.trace.tensors[index - 1], input, window);
        if (step.operation == Operation.MaxPool) {
            return int256(Arithmetic.largest(input, c.channel, c.input.values));
        }
        if (step.operation == Operation.Sum) return int256(Arithmetic.total(input, c.channel, c.input.values));
        int256 sum = own.sum + _weighted(own, c, step, input, window);
        if (to < step.windowHeight) return sum;
        sum += c.unit.bias;
        return step.requantised ? int256(Arithmetic.requantise(sum, step.shift, step.max)) : sum;
    }

    /// @dev What the given kernel rows add to the accumulator.
    function _weighted(
        Challenge storage own,
        Computation calldata c,
        Step memory step,
        TensorShape memory input,
        Window memory window
    ) private view returns (int256) {
        _verifyUnit(c, step, input, window);
        bytes calldata weights = c.unit.weights;
        if (own.step > 0) return Arithmetic.partialSum(step, input, window, c.input.values, weights);
        _verifySample(own, c);
        return Arithmetic.partialSumOfPixels(step, input, window, c.sample.pixels, weights);
    }

    /// @dev What the claimant says that the value is.
    function _claimed(
        Challenge storage own,
        Computation calldata c,
        uint256 steps,
        Step memory step
    ) private view returns (int256) {
        if (own.step == steps - 1) return c.trace.logits[c.channel];
        _checkHash(keccak256(c.claimed), own.disputed);
        return int256(Arithmetic.valueAt(c.claimed, c.channel, step.output.valueBytes));
    }

    /// @dev The weights are those of the kernel rows that lie on the tensor, of unit `channel` of the step's layer.
    function _verifyUnit(
        Computation calldata c,
        Step memory step,
        TensorShape memory input,
        Window memory window
    ) private pure {
        UnitOpening calldata unit = c.unit;
        _checkLength(unit.rows.length, step.windowHeight);
        uint256 size = 2 * step.windowWidth * input.channels;
        uint256 rows = window.bottom - window.top;
        _checkLength(unit.weights.length, rows * size);
        for (uint256 i = 0; i < rows; ++i) {
            _checkHash(keccak256(unit.weights[i * size:(i + 1) * size]), unit.rows[window.rowsBefore + i]);
        }
        bytes32 leaf = keccak256(abi.encode(Hashing.UNIT, uint32(step.layer), uint32(c.channel), unit.bias, unit.rows));
        if (!MerkleProof.verifyCalldata(unit.siblings, c.model.unitsRoot, leaf)) revert HashMismatch();
    }

    function _verifySample(Challenge storage own, Computation calldata c) private view {
        SampleOpening calldata sample = c.sample;
        ITaskRegistry.TaskParams memory params = registry.taskOf(own.taskId).params;
        _checkLength(
            sample.pixels.length,
            uint256(c.model.architecture.height) * c.model.architecture.width * c.model.architecture.channels
        );
        bytes32 root = keccak256(
            abi.encode(
                Hashing.TEST,
                params.testCount,
                c.model.architecture.height,
                c.model.architecture.width,
                c.model.architecture.channels,
                c.model.architecture.classes,
                sample.labels,
                sample.samplesRoot
            )
        );
        _checkHash(root, params.testRoot);
        bytes32 leaf = keccak256(abi.encode(Hashing.SAMPLE, own.sample, keccak256(sample.pixels)));
        if (!MerkleProof.verifyCalldata(sample.siblings, sample.samplesRoot, leaf)) revert HashMismatch();
    }

    /// @dev The steps of the candidate's own architecture.
    function _steps(bytes32 modelRoot, ModelOpening calldata model) private pure returns (Step[] memory) {
        bytes32 root = keccak256(
            abi.encode(Hashing.MODEL, Networks.hash(model.architecture), model.units, model.unitsRoot)
        );
        _checkHash(root, modelRoot);
        return Networks.steps(model.architecture);
    }

    function _hashOf(uint256 challengeId, Trace calldata trace) private pure returns (bytes32) {
        return keccak256(abi.encode(Hashing.TRACE, challengeId, trace.tensors, trace.logits));
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
        ++candidate.running;
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
            _candidateOf(own).refuted = true;
            registry.refute(own.taskId, own.participant, own.challenger);
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
        if (own.stage != Stage.Queued) --candidate.running;
        --candidate.open;
        own.stage = outcome;
        own.deadline = 0;
    }

    function _isMoot(Challenge storage own) private view returns (bool) {
        Stage stage = own.stage;
        return stage >= Stage.Queued && stage <= Stage.Proof && _candidateOf(own).refuted;
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
