// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Architecture} from "../libraries/Networks.sol";
import {TensorOpening} from "../libraries/Traces.sol";
import {ITaskRegistry} from "./ITaskRegistry.sol";

/// @title Disputes over an examined candidate, or over a pool's split, as the task registry and pools see them
/// @notice The contract behind this interface decides by arithmetic; it tells the registry of a refuted candidate by
/// {ITaskRegistry-refute}, and a pool of a refuted split by {IPool-refuteSplit}.
interface IDisputes {
    /// @notice Whether a challenge or a demand against the candidate is queued or running, or what was published on demand
    /// may still be challenged: nothing is confirmed then.
    /// Of a pool that has won the task, whether one against its split is: nothing is claimed then.
    function isContested(uint256 taskId, address participant) external view returns (bool);

    /// @notice Seconds for each move; no task's short window is shorter.
    function answerPeriod() external view returns (uint40);
}

/// @title Challenges of single predictions
/// @notice The game of docs/protocol.md, "Disputes". A challenger names a sample; the claimant shows what its model makes
/// of it, tensor by tensor, as hashes; the challenger follows them to the first value that is wrong, and computes that
/// value on chain from the values before it and one unit of the model. Whoever is wrong, or silent, loses its bond.
interface IPredictionDisputes is IDisputes {
    /// @notice Whose move a challenge waits for. Where a seal is challenged, its validator has the claimant's part.
    enum Stage {
        None,
        /// more challenges of this candidate run than may at once; no clock runs
        Queued,
        /// claimant: the tensors' hashes and the logits
        Trace,
        /// challenger: which of them is the first wrong one
        Tensor,
        /// claimant: the hashes of its rows
        Rows,
        /// challenger: which row
        Row,
        /// claimant: the hashes of the row's positions
        Positions,
        /// challenger: which position
        Column,
        /// claimant: the position's values
        Values,
        /// challenger: the computation of one of them
        Proof,
        /// decided for the challenger
        Refuted,
        /// decided for the defender
        Upheld,
        /// the candidate was refuted, or the validator slashed, by something else first; the bond went back
        Moot
    }

    /// @notice A challenge as it stands.
    struct Challenge {
        uint64 taskId;
        Stage stage;
        uint32 sample;
        /// the claimed class of the sample
        uint8 prediction;
        /// the second at which whose move it is loses; 0 while no clock runs
        uint40 deadline;
        /// the disputed step of the trace, and the disputed position of its tensor
        uint16 step;
        uint16 row;
        uint16 column;
        /// rows and columns of the disputed tensor
        uint16 height;
        uint16 width;
        /// the value that is being computed
        uint16 channel;
        address participant;
        /// bytes of one of the disputed tensor's positions
        uint32 positionBytes;
        /// the first kernel row that is not summed yet
        uint16 kernelRow;
        /// whether a validator's seal on the candidate is challenged, not the candidate itself
        bool ofSeal;
        address challenger;
        /// of the kernel rows before
        int64 sum;
        /// hash of the trace
        bytes32 trace;
        /// hash of what is opened next: of the model, of a tensor, of a row, of a position
        bytes32 disputed;
        /// who answers: the participant, and for it, where it is a pool, its manager; for a seal its validator
        address defender;
    }

    /// @notice What a model's root binds beside the weights.
    struct ModelOpening {
        Architecture architecture;
        uint32 units;
        bytes32 unitsRoot;
    }

    /// @notice What the claimant says that its model makes of the sample.
    struct Trace {
        /// hash of every tensor, in the order of docs/protocol.md
        bytes32[] tensors;
        int32[] logits;
    }

    /// @notice One unit of a linear layer under the model's root.
    struct UnitOpening {
        int32 bias;
        /// hashes of all its kernel rows
        bytes32[] rows;
        /// those of the summed kernel rows that lie on the tensor, int16 big-endian, joined
        bytes weights;
        bytes32[] siblings;
    }

    /// @notice The sample's pixels under the task's test root.
    struct SampleOpening {
        bytes pixels;
        bytes32 labels;
        bytes32 samplesRoot;
        bytes32[] siblings;
    }

    /// @notice A computation of one value, or of a part of it.
    struct Computation {
        ModelOpening model;
        Trace trace;
        /// the claimed values of the disputed position; empty for a logit
        bytes claimed;
        /// the value, or the logit; the same in every part
        uint16 channel;
        /// kernel rows up to this one, itself not included; all of them but where a sum is computed in parts
        uint16 toKernelRow;
        /// what is read of the tensor before; unused where that is the sample
        TensorOpening input;
        /// unused where a tensor of the trace is read
        SampleOpening sample;
        /// unused where no weights are read
        UnitOpening unit;
    }

    event Challenged(
        uint256 indexed challengeId,
        uint256 indexed taskId,
        address indexed participant,
        address challenger,
        uint32 sample,
        uint8 prediction
    );
    /// @notice The prediction of a sample that a validator has sealed was challenged; instead of {Challenged}.
    event SealChallenged(
        uint256 indexed challengeId,
        uint256 indexed taskId,
        address indexed participant,
        address validator,
        address challenger,
        uint32 sample,
        uint8 prediction
    );
    /// @notice A challenge waits for its next move.
    event Moved(uint256 indexed challengeId, Stage stage, uint40 deadline);
    event TraceAnswered(uint256 indexed challengeId, bytes32[] tensors, int32[] logits);
    event RowsAnswered(uint256 indexed challengeId, bytes rows);
    event PositionsAnswered(uint256 indexed challengeId, bytes positions);
    event ValuesAnswered(uint256 indexed challengeId, bytes values);
    /// @param computed what the chain computed; 0 where a clock ran out
    event Decided(uint256 indexed challengeId, Stage outcome, int256 claimed, int256 computed);

    /// @notice The registry is set once, by who deployed this contract.
    error AlreadyBound();
    error OnlyDeployer();
    error NotBound();
    /// @notice A parameter of the deployment is out of its range.
    error InvalidParameter(string parameter);
    /// @notice Only the examined candidate can be challenged, once it is opened and before its window ends.
    error NotChallengeable(uint256 taskId);
    /// @notice The candidate was not refuted, or too long ago; or the validator has not sealed it, or has lost its stake for
    /// that seal already.
    error SealNotChallengeable(uint256 taskId, address participant, address validator);
    error NoSuchSample(uint32 sample, uint32 count);
    /// @notice The call does not belong to the stage that the challenge is in.
    error WrongStage(uint256 challengeId, Stage actual);
    /// @notice It is the other side's move.
    error NotYourMove(uint256 challengeId, address account);
    error TooLate(uint256 challengeId, uint40 deadline);
    error TooEarly(uint256 challengeId, uint40 deadline);
    /// @notice What was given does not hash to what it is to open.
    error HashMismatch();
    error WrongLength(uint256 given, uint256 wanted);
    /// @notice What was given is not the window of the traced tensor that the value reads.
    error OpeningMismatch();
    /// @notice The largest logit, the lowest index winning a tie, is not that of the claimed class.
    error WrongClass(uint256 largest, uint256 claimed);
    error OutOfRange(uint256 given, uint256 limit);
    /// @notice Sizes or bits of the architecture are out of their ranges: no value of such a model is defined.
    error MalformedArchitecture();

    /// @notice Challenges the prediction of a sample: before the window ends, or within an answer period after a part of
    /// the model was published on demand. The bond is pulled from the caller.
    /// @param count samples of the test set
    /// @param blocks the hashes of all blocks of the opened predictions
    /// @param block_ the predictions of the sample's block, one byte each
    function challenge(
        uint256 taskId,
        uint32 sample,
        uint32 count,
        bytes32[] calldata blocks,
        bytes calldata block_
    ) external returns (uint256 challengeId);

    /// @notice Challenges a prediction that a validator has sealed for a candidate that was refuted, within two answer
    /// periods of that. Who refuted it proved nothing against the validator: a claimant can lose on purpose. So the
    /// validator stands in as claimant, with its whole stake for a bond; moves, clocks and proofs are the same. The
    /// challenger's bond is pulled from the caller.
    ///
    /// Where the validator loses, by proof or by silence, half its stake is the challenger's and half is burned, and other
    /// challenges of this seal are moot; where it wins, half the challenger's bond is its own and half is burned. Until
    /// then its unbonding does not finish. Neither the candidate nor what becomes of the task depends on it. Eight run at
    /// once for each seal, further ones are queued. A seal on the zero result binds no predictions: none can be challenged.
    /// @param count samples of the result that the seal opens to
    /// @param blocks the hashes of all blocks of that result's predictions
    /// @param block_ the predictions of the sample's block, one byte each
    function challengeSeal(
        uint256 taskId,
        address participant,
        address validator,
        uint32 sample,
        uint32 count,
        bytes32[] calldata blocks,
        bytes calldata block_
    ) external returns (uint256 challengeId);

    /// @notice First answer: what the model makes of the sample. Only from the claimant, or where that is a pool from its
    /// manager, and for a seal only from its validator: everything later is bound by this
    /// one, and it by nothing, so a stranger could answer falsely.
    function answerTrace(uint256 challengeId, ModelOpening calldata model, Trace calldata trace) external;

    /// @notice Names the first wrong tensor, or behind the last one a wrong logit.
    /// @param step index among the tensors; their number for a logit
    function pickTensor(uint256 challengeId, ModelOpening calldata model, Trace calldata trace, uint16 step) external;

    /// @notice Second answer: the hashes of the tensor's rows, joined.
    function answerRows(uint256 challengeId, bytes calldata rows) external;

    function pickRow(uint256 challengeId, bytes calldata rows, uint16 row) external;

    /// @notice Third answer: the hashes of the row's positions, joined.
    function answerPositions(uint256 challengeId, bytes calldata positions) external;

    function pickColumn(uint256 challengeId, bytes calldata positions, uint16 column) external;

    /// @notice Fourth answer: the position's values, big-endian.
    function answerValues(uint256 challengeId, bytes calldata values) external;

    /// @notice Computes the disputed value, or a part of its sum; the last part decides. All parts share one clock.
    function prove(uint256 challengeId, Computation calldata computation) external;

    /// @notice Decides a challenge whose clock has run out against the side whose move it was. Anyone may call.
    function timeOut(uint256 challengeId) external;

    /// @notice Starts the clock of a queued challenge for which there is room, or gives the bond of one back whose
    /// candidate has been refuted, or whose validator has been slashed, otherwise. Anyone may call.
    function advance(uint256 challengeId) external;

    /// @notice Reverts unless the challenge is that challenger's of that sample. Sent with an answer, in one `multicall`, it
    /// keeps the answer from a challenge that took the number after a reorganisation of the chain.
    function expectChallenge(uint256 challengeId, address challenger, uint32 sample) external view;

    function challengeOf(uint256 challengeId) external view returns (Challenge memory);

    function challengeCount() external view returns (uint256);

    /// @notice Challenges of a candidate that are not decided, queued ones included.
    function openChallenges(uint256 taskId, address participant) external view returns (uint256);

    /// @notice Challenges of a validator's seal on a candidate that are not decided, queued ones included.
    function openSealChallenges(uint256 taskId, address participant, address validator) external view returns (uint256);

    /// @notice The second from which the seals on a candidate can be challenged no more; 0 where it was not refuted.
    function sealsChallengeableUntil(uint256 taskId, address participant) external view returns (uint40);

    /// @notice Units of the asset that a challenger risks.
    function challengeBond() external view returns (uint256);

    function registry() external view returns (ITaskRegistry);
}
