// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICredits} from "./ICredits.sol";
import {IValidatorStake} from "./IValidatorStake.sol";

/// @title Tasks, from publication to a confirmed block
/// @notice A task is one block interval. It ends with one block appended to the ledger, or with everyone's money back.
/// Nobody owns this contract; nothing about a running task can be changed.
///
/// Phases are half-open, [start, end): the boundary second belongs to the later one. Where a deadline has passed,
/// {advance} is the one call that moves on, and anyone may make it.
///
/// **Who is trusted with correctness.** The test set's key is public before anybody claims anything. A claimant can
/// therefore open predictions equal to the labels, which its model never made, and the count will be right. What shows
/// that is a dispute over one prediction, decided by arithmetic.
/// - With a disputes contract, a quorum of matching stake only shortens the challenge window; a candidate that nobody
///   refutes is confirmed in any case.
/// - Without one ({disputes} is zero) nothing but the validators' seals speaks for the predictions: a candidate is
///   confirmed only where validators with a quorum of all stake sealed the same result, and a quorum of dishonest stake
///   could confirm a false one. Such a deployment trusts its validators.
interface ITaskRegistry is ICredits {
    // ————— Types —————

    /// @notice Where a task stands at this second.
    enum Phase {
        /// no such task
        None,
        /// miners read, fetch, benchmark and decide
        Initialisation,
        /// commitments are taken
        Training,
        /// the publisher must release the test set's key
        AwaitKey,
        /// validators may vote the test set wrong
        TestVote,
        /// commitments are opened
        Reveal,
        /// validators seal the examined candidate's result
        Seal,
        /// the examined candidate's predictions are published
        Open,
        /// the opened candidate may be attested, and challenged
        Window,
        /// a deadline has passed: {advance} moves on
        Advanceable,
        /// the examined candidate stood: {confirm} appends its block
        Confirmable,
        /// ended with a block
        Confirmed,
        /// ended without one
        Void
    }

    /// @notice Why a task ended without a block.
    enum VoidReason {
        NotVoid,
        /// the publisher did not release the key in time
        KeyNotReleased,
        /// a quorum of stake voted the test set wrong
        TestSetRejected,
        /// no candidate stood
        NoCandidate
    }

    /// @notice Why a candidate was eliminated.
    enum Elimination {
        /// nobody opened its predictions in time
        Unopened,
        /// its predictions have another number correct than it claimed
        FalseClaim,
        /// a quorum of stake was shown to have sealed one other result (only without disputes)
        Contradicted,
        /// too little stake spoke for it, and none was shown against it (only without disputes); keeps its bond
        Unattested,
        /// a dispute was decided against it
        Refuted
    }

    /// @notice What became of a participant's commitment.
    enum CommitmentState {
        None,
        /// not opened
        Committed,
        /// opened without a claim, or with one under the minimum
        Withdrawn,
        /// opened with a claim that awaits examination or is examined
        Candidate,
        /// passed over for want of attestations; keeps its bonds
        Unattested,
        /// lost its candidate's bond
        Eliminated,
        /// made the block
        Winner
    }

    /// @notice Factors of a task's difficulty. Divisors are not zero.
    struct Difficulty {
        /// floating-point operations that the task's training takes
        uint128 flops;
        /// floating-point operations per second of all who are expected to work on it
        uint128 networkFlops;
        /// bytes of a model
        uint64 modelBytes;
        /// bytes of the data
        uint64 dataBytes;
        /// bytes per second that a participant is expected to have
        uint64 bandwidth;
    }

    /// @notice Lengths of the phases in seconds, each at most 30 days; only `initialisation` may be 0.
    struct PhaseLengths {
        uint24 initialisation;
        uint24 training;
        uint24 keyRelease;
        uint24 testVote;
        uint24 reveal;
        /// of each candidate
        uint24 seal;
        /// of each candidate
        uint24 open;
        /// challenge window where a quorum of stake attests; at most `longWindow`, and with disputes at least their
        /// answer period, or a quorum could end it before a challenge is mined
        uint24 shortWindow;
        /// challenge window otherwise; seal + open + 2 * longWindow, with disputes and eighteen answer periods, fit the
        /// validators' unbonding period: a candidate can be sealed in the window of the one before
        uint24 longWindow;
    }

    /// @notice What a publisher fixes. Amounts are in the asset's smallest unit.
    struct TaskParams {
        /// binary CIDv1 of the task's descriptor (data, template, space, training settings), 1 … 64 bytes
        bytes descriptorCid;
        /// hash of the test set's key, bound to chain, registry and publisher
        bytes32 keyHash;
        /// commitment to the test set
        bytes32 testRoot;
        /// hash of the search space
        bytes32 spaceHash;
        /// samples in the test set, 1 … 16384
        uint32 testCount;
        /// a claim under this number of correct predictions is no candidate; at most testCount
        uint32 minCorrect;
        /// size cap of a model file
        uint32 maxModelBytes;
        /// hardware bound: look-up tables; 0 = none
        uint32 maxLuts;
        /// hardware bound: images per second; 0 = none
        uint32 minThroughput;
        /// a candidate's bond in parts of ten thousand of the reward, 500 … 10000
        uint16 candidateBondBps;
        Difficulty difficulty;
        PhaseLengths phases;
        /// paid to the winner; not zero
        uint128 reward;
        /// lost where the key is not released or the test set is voted wrong
        uint128 publisherBond;
        /// held from a participant from its first commitment on
        uint128 commitBond;
        /// burned with every commitment
        uint128 commitFee;
        /// shared by the validators that attest the confirmed candidate
        uint128 validatorFee;
    }

    /// @notice A task as it stands.
    struct TaskView {
        Phase phase;
        VoidReason voidReason;
        address publisher;
        /// the winner of a confirmed task
        address winner;
        /// participants that have committed
        uint32 commitments;
        /// participants that have opened their commitment
        uint32 revealed;
        /// candidates that wait behind the examined one
        uint32 queued;
        /// the released key, or 0
        bytes32 key;
        /// stake that voted the test set wrong
        uint256 votesAgainst;
        /// what the task still holds of its participants' and its publisher's money
        uint256 escrow;
        TaskParams params;
    }

    /// @notice Absolute times in seconds since 1970; 0 where not known yet.
    struct Schedule {
        uint40 publishedAt;
        uint40 trainingStart;
        uint40 trainingEnd;
        /// the key must be released before this second
        uint40 keyDeadline;
        uint40 releasedAt;
        uint40 revealStart;
        uint40 revealEnd;
        /// of the examined candidate
        uint40 sealDeadline;
        /// of the examined candidate
        uint40 openDeadline;
        /// of the examined candidate, once opened
        uint40 windowEnd;
    }

    /// @notice A participant's commitment.
    struct Commitment {
        bytes32 hash;
        /// grows by one with every commitment of the task; the lower one wins a tie
        uint64 sequence;
        /// the participant's place, from 0, among those who committed to the task
        uint32 index;
        CommitmentState state;
        bool settled;
        uint32 claimedCorrect;
        bytes32 modelRoot;
        bytes32 claimSeal;
        /// binary CIDv1 of the model file; empty until opened as a candidate
        bytes modelCid;
        /// stake of the validators whose seal was shown to match the opened result
        uint128 matchingStake;
    }

    /// @notice What a participant committed to.
    struct Opening {
        bytes32 modelRoot;
        /// binary CIDv1 of the model file, 1 … 64 bytes
        bytes modelCid;
        uint32 validationCorrect;
        uint32 validationTotal;
        bytes32 salt;
    }

    /// @notice What {TaskParams-testRoot} commits to beside the labels.
    struct TestSetParts {
        uint16 height;
        uint16 width;
        uint16 channels;
        uint16 classes;
        bytes32 samplesRoot;
    }

    /// @notice The candidate under examination, and the one behind it.
    struct Examination {
        address participant;
        uint40 sealDeadline;
        uint40 openDeadline;
        /// 0 until opened
        uint40 openedAt;
        /// 0 until opened
        uint40 windowEnd;
        /// hash of the opened predictions
        bytes32 result;
        uint256 matchingStake;
        /// all stake at the last second of the reveal phase
        uint256 totalStake;
        bool quorum;
        /// may be sealed too while the examined one is in its window; 0 where there is none
        address next;
    }

    /// @notice A validator's seal on a candidate.
    struct SealView {
        bytes32 seal;
        /// the validator's stake at the last second of the reveal phase, or at that of its seal where that was less
        uint128 stake;
        bool attested;
        /// whether its share of the fee was credited
        bool settled;
    }

    /// @notice What a participant gets when its task has ended.
    struct Settlement {
        uint256 commitBond;
        uint256 candidateBond;
        uint256 compensation;
        /// credited when the block was confirmed, not by {settle}
        uint256 reward;
        bool settled;
    }

    /// @notice One block of the model ledger.
    struct Block {
        bytes32 hash;
        bytes32 parent;
        uint256 taskId;
        address winner;
        uint40 time;
        uint32 correct;
        uint32 total;
        bytes32 modelRoot;
        bytes modelCid;
    }

    // ————— Events —————

    event TaskPublished(uint256 indexed taskId, address indexed publisher, uint256 reward, bytes descriptorCid);
    event Committed(uint256 indexed taskId, address indexed participant, uint64 sequence, bytes32 commitment);
    event KeyReleased(uint256 indexed taskId, bytes32 key);
    event TestSetVoted(uint256 indexed taskId, address indexed validator, uint256 stake);
    /// @param candidate false where the participant withdrew
    event Revealed(
        uint256 indexed taskId,
        address indexed participant,
        bytes32 modelRoot,
        bytes modelCid,
        uint32 claimedCorrect,
        bool candidate
    );
    event ExaminationBegun(
        uint256 indexed taskId,
        address indexed participant,
        uint40 sealDeadline,
        uint40 openDeadline
    );
    event Sealed(uint256 indexed taskId, address indexed participant, address indexed validator, uint256 stake);
    event Opened(uint256 indexed taskId, address indexed participant, uint32 correct, bytes32 result, uint40 windowEnd);
    /// @notice The opened predictions, one byte each, so that everybody has them whichever way the call came.
    event PredictionsShown(uint256 indexed taskId, address indexed participant, bytes predictions);
    event Attested(uint256 indexed taskId, address indexed participant, address indexed validator, uint256 stake);
    event QuorumReached(uint256 indexed taskId, address indexed participant, uint40 windowEnd);
    /// @param slashed what the candidate lost of its bond
    event CandidateEliminated(uint256 indexed taskId, address indexed participant, Elimination reason, uint256 slashed);
    event BlockConfirmed(
        uint256 indexed height,
        uint256 indexed taskId,
        address indexed winner,
        bytes32 hash,
        bytes32 parent,
        bytes32 modelRoot,
        bytes modelCid,
        uint32 correct,
        uint32 total
    );
    event TaskVoided(uint256 indexed taskId, VoidReason reason);
    event Settled(uint256 indexed taskId, address indexed participant);

    // ————— Errors: the task and its phase —————

    /// @notice The call does not belong to the phase that the task is in.
    error WrongPhase(uint256 taskId, Phase actual);
    /// @notice A parameter of the deployment or of the task is out of its range.
    error InvalidParameter(string parameter);
    /// @notice The ledger has no block of this height.
    error NoSuchBlock(uint256 height);

    // ————— Errors: commitments —————

    /// @notice A commitment, seal or key of all zeros.
    error ZeroHash();
    /// @notice The participant's commitment is this one already.
    error SameCommitment(bytes32 commitment);
    /// @notice The account has no commitment to this task.
    error NoCommitment(uint256 taskId, address participant);
    /// @notice The commitment was opened before.
    error AlreadyRevealed(uint256 taskId, address participant);
    /// @notice The opening does not hash to the participant's commitment.
    error WrongOpening(bytes32 expected, bytes32 actual);
    /// @notice A content identifier is from 1 to 64 bytes long.
    error InvalidCid(uint256 length);
    /// @notice More correct predictions claimed than there are samples.
    error ClaimTooLarge(uint256 claimed, uint256 total);

    // ————— Errors: the test set —————

    /// @notice The key does not hash to the task's key hash.
    error WrongKey();
    /// @notice Labels and parts do not hash to the task's test root.
    error WrongTestSet(bytes32 expected, bytes32 actual);
    /// @notice The validator has voted on this test set already.
    error AlreadyVoted(address validator);

    // ————— Errors: validation —————

    /// @notice The account had no stake at the second that counts.
    error NoStake(address validator, uint256 time);
    /// @notice The account is not the candidate that this call could be about.
    error NotExamined(uint256 taskId, address participant);
    /// @notice The validator has sealed a result of this candidate already.
    error AlreadySealed(address validator);
    /// @notice The predictions do not open the claimant's seal.
    error WrongPredictions(bytes32 expected, bytes32 actual);
    /// @notice Not as many predictions or labels as the test set has samples.
    error WrongLength(uint256 expected, uint256 actual);
    /// @notice None of the validators has a seal that matches and was not counted before.
    error NothingAttested();
    /// @notice Seals of `shown` of the stake are of that one other result, which is no quorum of `total`; or it is the
    /// opened result.
    error NotContradicted(uint256 shown, uint256 total);
    /// @notice The validators must ascend; this one does not come after the one before.
    error NotAscending(address validator);
    /// @notice With disputes a quorum decides nothing.
    error OnlyWithoutDisputes();
    /// @notice Only the disputes contract may refute.
    error OnlyDisputes();

    // ————— Errors: settlement —————

    /// @notice Paid out before.
    error AlreadySettled();
    /// @notice The validator did not attest the confirmed candidate.
    error NotAttested(address validator);

    // ————— Life of a task —————

    /// @notice Publishes a task; pulls reward, publisher's bond and validators' fee from the caller.
    function publish(TaskParams calldata params) external returns (uint256 taskId);

    /// @notice Commits the caller to a model, in the training phase. A later commitment replaces the earlier one and
    /// takes a new sequence number. Pulls the bond with the first commitment, and the fee, which is burned, with each.
    /// @dev The commitment binds the participant, so that a copied one can never be opened; it is not refused here,
    /// since then a copy sent ahead would keep the original out.
    /// @return paid what was pulled
    function commit(uint256 taskId, bytes32 commitment) external returns (uint256 paid);

    /// @notice Releases the test set's key. Anyone who knows it may, after training and before the key's deadline.
    function release(uint256 taskId, bytes32 key) external;

    /// @notice A validator's vote that the released key does not decrypt to the task's test root. Weighs its stake at
    /// the last second of training; a quorum voids the task at the publisher's cost.
    function voteTestSet(uint256 taskId) external;

    /// @notice Opens the caller's commitment. With a claim of at least the minimum (and one) it becomes a candidate, and
    /// the candidate's bond is pulled; with less the participant withdraws.
    /// @param claimSeal claim seal over the predictions; 0 where nothing is claimed
    /// @dev The same model twice: the earlier sequence number stands before the later one, since both have the same
    /// count. The later one stays behind it, so that a thief who claims and then does not open wins nothing by it.
    /// @return paid what was pulled
    function reveal(
        uint256 taskId,
        Opening calldata opening,
        uint32 claimedCorrect,
        bytes32 claimSeal
    ) external returns (uint256 paid);

    /// @notice Moves on after a missed deadline: voids a task whose key was not released, takes the first candidate
    /// after the reveal phase, eliminates one that was not opened or not attested, and takes the next.
    function advance(uint256 taskId) external;

    /// @notice A validator's sealed result of a candidate: of the examined one in its seal period, or of the next one
    /// while the examined one is in its window. Once per candidate and validator. It weighs the stake that the validator
    /// had at the last second of the reveal phase and still has: what has begun to unbond vouches for nothing.
    function seal(uint256 taskId, address participant, bytes32 validatorSeal) external;

    /// @notice Publishes the examined candidate's predictions, one byte each; anyone who knows them may. The chain
    /// checks them against the claimant's seal, and counts them against the labels. Any other count than the claimed
    /// one eliminates the candidate at once.
    function open(
        uint256 taskId,
        bytes calldata predictions,
        bytes calldata labels,
        TestSetParts calldata parts
    ) external;

    /// @notice Shows that the validators' seals match the opened result; anyone may, for any validators. Those that do
    /// not match or were counted before are passed over.
    function attest(uint256 taskId, address[] calldata validators) external;

    /// @notice Eliminates the opened candidate, at the cost of its bond, by showing that validators with a quorum of all
    /// stake sealed one other result; anyone may, in the window, in a deployment without disputes. Only seals of that
    /// result count.
    /// @dev A seal that nobody shows to be of another result proves nothing. If seals that were merely not attested
    /// counted against a candidate, then validators that seal the right result and stay silent would cost an honest
    /// claimant its bond. So a candidate without a quorum on either side keeps it. That is no free delay for a false
    /// claim: one party awake in the window is enough to show the seals of a quorum that has evaluated its model, since
    /// all honest ones have sealed the same result and everybody can compute it; the validators have half of the bond for
    /// it; and shown at once, it ends the window early, which waiting for its end did not. What passes for nothing is a
    /// candidate that no quorum has sealed at all, as before: it waits as long as its phases say, and no longer.
    /// A quorum here and one for the candidate exclude each other, since a quorum is more than half and a validator seals
    /// once.
    /// @param result the hash of what the validators found; 0 is what a model that is not well-formed gives
    /// @param validators ascending
    function contradict(uint256 taskId, bytes32 result, address[] calldata validators) external;

    /// @notice Appends the standing candidate's block to the ledger and credits its reward; anyone may.
    function confirm(uint256 taskId) external;

    /// @notice Eliminates the examined candidate in its window; called by the disputes contract alone. Half of its bond
    /// is burned, the other half credited to the refuter.
    function refute(uint256 taskId, address participant, address refuter) external;

    // ————— After its end —————

    /// @notice Credits what the participant gets back of an ended task; anyone may, once.
    function settle(uint256 taskId, address participant) external;

    /// @notice Credits a validator that attested the confirmed candidate with its share of the fee; anyone may, once.
    function settleValidator(uint256 taskId, address validator) external;

    // ————— Views: tasks —————

    /// @notice Number of tasks ever published; they are numbered from 1.
    function taskCount() external view returns (uint256);

    /// @notice Number of tasks that have not ended.
    function openTaskCount() external view returns (uint256);

    /// @notice Up to `limit` of the tasks that have not ended, from place `offset` on. A task's place changes when
    /// others end, so read all pages at one block.
    function openTasks(uint256 offset, uint256 limit) external view returns (uint256[] memory taskIds);

    function phaseOf(uint256 taskId) external view returns (Phase);

    function taskOf(uint256 taskId) external view returns (TaskView memory);

    /// @notice Of {taskOf} the test set alone: its samples' number and its root.
    function testSetOf(uint256 taskId) external view returns (uint32 count, bytes32 root);

    function scheduleOf(uint256 taskId) external view returns (Schedule memory);

    /// @notice Difficulty over reward, by which miners choose: the lowest is the least work per reward. Difficulty is in
    /// 1e-18 seconds: flops / networkFlops + (modelBytes + dataBytes) / bandwidth; the score is 1e18 times that over
    /// the reward, rounded down.
    function rankingScore(uint256 taskId) external view returns (uint256);

    /// @notice The bond that a candidate of this task must post.
    function candidateBondOf(uint256 taskId) external view returns (uint256);

    // ————— Views: participants and validation —————

    function commitmentOf(uint256 taskId, address participant) external view returns (Commitment memory);

    /// @notice Of {commitmentOf} the model's root alone: what disputes read in every game.
    function modelRootOf(uint256 taskId, address participant) external view returns (bytes32);

    function examinationOf(uint256 taskId) external view returns (Examination memory);

    function sealOf(uint256 taskId, address participant, address validator) external view returns (SealView memory);

    function hasVoted(uint256 taskId, address validator) external view returns (bool);

    /// @notice What an ended task gives a participant. Never changes once the task has ended, but for `settled`.
    function settlementOf(uint256 taskId, address participant) external view returns (Settlement memory);

    // ————— Views: ledger —————

    /// @notice Number of confirmed blocks; the first has height 1.
    function height() external view returns (uint256);

    /// @notice Hash of the newest block; 0 where there is none.
    function head() external view returns (bytes32);

    function blockAt(uint256 height_) external view returns (Block memory);

    // ————— Views: deployment —————

    function stake() external view returns (IValidatorStake);

    /// @notice The disputes contract; zero where this deployment has none.
    function disputes() external view returns (address);

    /// @notice The part of all stake that is a quorum, in parts of ten thousand; more than half.
    function quorumBps() external view returns (uint16);
}
