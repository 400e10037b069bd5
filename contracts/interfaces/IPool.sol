// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICredits} from "./ICredits.sol";
import {ITaskRegistry} from "./ITaskRegistry.sol";

/// @title A mining pool
/// @notice The pool's contract is itself the participant: its manager acts through it, and rewards land in it, never in
/// the manager's hands. The manager's own money in it (its *float*, from which bonds and fees are paid) and the miners'
/// are kept apart.
///
/// A collected reward is split by a Merkle sum tree of points that the manager posts; a miner is paid
/// ⌊R(pre + p) / S⌋ − ⌊R·pre / S⌋, where p are its points, pre those to the left of its leaf, S all points and R the
/// reward after the manager's fee. Intervals of one tree cannot overlap, so that no tree, however wrong, pays more than R.
///
/// Where the manager posts none in time, or its tree falls, the split follows the signed points receipts that miners hand
/// in, without a fee; where there are none either, the pool's last final split that somebody has claimed by; where there
/// is none, the reward is the manager's.
///
/// Before any claim there is an objection window. In it, a miner's points receipt demands that the tree has a leaf with
/// at least its points, and anyone who pays a bond may demand any leaf. Each demand has as long as the window again to be
/// answered by an inclusion proof, which anyone may send; all run at the same time, so that no number of them takes
/// longer than one. A demand that runs out brings the tree down, and with it the stake that the manager put on it: half
/// is burned, half is whose demand it was.
///
/// A demand by a receipt costs nothing but its gas: only the manager can sign receipts, one answer settles all of a
/// miner's, and a miner to whom the tree was never shown must be able to ask. Of the bond of a leaf's demand that was
/// answered, half is burned, and half pays the manager for its answer.
///
/// Whether the points of a leaf were earned is arithmetic over shares: the deployment's disputes contract
/// ({IDisputes}) can keep a split open while it is contested, and bring it down.
interface IPool is ICredits {
    // ————— Types —————

    /// @notice What a pool is created with.
    struct PoolParams {
        address manager;
        /// signs miners' points receipts; an account or an ERC-1271 contract
        address receiptKey;
        /// the manager's part of a reward in parts of ten thousand, at most 2000
        uint16 feeBps;
        /// seconds in which a split can be objected to, and in which an objection must be answered; 0 … 30 days. The
        /// first claim comes so long after the split, or at most twice so long where there are objections
        uint24 objectionWindow;
        /// seconds after collecting a reward in which the manager must post its split, 1 … 30 days
        uint24 settlementWindow;
        /// seconds in which miners hand in receipts where it does not, 1 … 30 days
        uint24 receiptsWindow;
        /// names the rule by which points are given
        bytes32 schemeId;
    }

    /// @notice Where the split of a task's reward stands at this second.
    enum SplitPhase {
        /// the pool never committed to the task
        None,
        /// committed; {collect} after the task's end
        Committed,
        /// the manager may post its split
        AwaitSplit,
        /// a split was posted and may be objected to
        Objection,
        /// miners are paid by the split
        Claims,
        /// no split came in time: miners hand in receipts
        Receipts,
        /// miners are paid by receipts
        ReceiptClaims,
        /// no receipt came: {reclaim} gives the reward to the manager
        Unclaimed,
        /// nothing was won, or the reward went to the manager
        Closed,
        /// the objection window is over, and objections are open still
        Answering,
        /// an objection was not answered in time: {finaliseFall} leads to receipts
        Fallen
    }

    /// @notice What an objection demands.
    enum ObjectionKind {
        /// a leaf of a miner with at least the points of its receipt
        Points,
        /// the leaf of an index; the last one must end at the posted sum
        Leaf
    }

    enum ObjectionState {
        None,
        Open,
        Answered,
        /// the split fell, and the bond went back
        Returned
    }

    /// @notice The root of a points tree.
    struct Split {
        bytes32 root;
        uint8 depth;
        uint32 count;
        uint128 sum;
    }

    /// @notice A node of a points tree.
    struct SumNode {
        bytes32 hash;
        uint128 sum;
    }

    /// @notice A leaf of a points tree.
    struct PointsLeaf {
        uint32 index;
        address miner;
        uint128 points;
    }

    /// @notice An objection against a split.
    struct Objection {
        uint32 id;
        ObjectionKind kind;
        ObjectionState state;
        /// the miner of the receipt, or who demanded the leaf: has half the stake where the split falls by this one
        address by;
        /// not answered before this second, the split falls
        uint40 deadline;
        /// of the demanded leaf
        uint32 index;
        /// that the miner's leaf must have at least, or was shown to have
        uint128 points;
    }

    /// @notice The account of one task.
    struct TaskAccount {
        SplitPhase phase;
        /// of this task, fixed when the pool committed
        uint16 feeBps;
        /// of this task, fixed when the pool committed
        address receiptKey;
        /// 0 until collected
        uint40 collectedAt;
        /// 0 until the split was posted
        uint40 postedAt;
        /// when the phase ends; 0 where nothing ends it but a call
        uint40 deadline;
        bool feePaid;
        /// what the pool won
        uint256 reward;
        /// the manager's part of it
        uint256 fee;
        /// what miners have not claimed yet of their part
        uint256 unclaimed;
        Split split;
        /// points of the receipts that were not paid yet
        uint256 receiptPoints;
        /// when the split fell; 0 where it did not
        uint40 fellAt;
        /// the manager's money that is bound to the split
        uint256 stake;
        /// bonds of demands that were neither answered nor returned
        uint256 bonds;
        /// how many objections were raised
        uint32 objections;
        /// the task whose split pays this reward: itself, or the one before; 0 where there is none
        uint256 splitTask;
    }

    // ————— Events —————

    event Deposited(address indexed from, uint256 amount);
    event TermsChanged(uint16 feeBps, address indexed receiptKey);
    /// @notice The pool committed to a task for the first time, under these terms.
    event TaskEntered(uint256 indexed taskId, uint16 feeBps, address indexed receiptKey);
    event Collected(uint256 indexed taskId, uint256 bonds, uint256 reward);
    /// @notice What disputes owed the pool went to the float.
    event DisputesCollected(uint256 amount);
    event SplitPosted(uint256 indexed taskId, bytes32 root, uint8 depth, uint32 count, uint128 sum, bytes sharesCid);
    event Claimed(uint256 indexed taskId, uint32 index, address indexed miner, uint128 points, uint256 amount);
    event ReceiptSubmitted(uint256 indexed taskId, address indexed miner, uint64 sequence, uint128 points);
    event ReceiptClaimed(uint256 indexed taskId, address indexed miner, uint256 amount);
    event Reclaimed(uint256 indexed taskId, uint256 amount);
    /// @notice The reward is split by the tree of an earlier task.
    event SplitAdopted(uint256 indexed taskId, uint256 indexed fromTask);
    /// @notice A receipt demands a leaf with at least these points; an open demand is raised, with its deadline kept.
    event PointsDemanded(
        uint256 indexed taskId,
        uint32 indexed id,
        address indexed miner,
        uint128 points,
        uint40 deadline
    );
    event LeafDemanded(
        uint256 indexed taskId,
        uint32 indexed id,
        address indexed by,
        uint32 index,
        uint256 bond,
        uint40 deadline
    );
    event ObjectionAnswered(
        uint256 indexed taskId,
        uint32 indexed id,
        uint32 index,
        address indexed miner,
        uint128 points
    );
    /// @notice The split is void; `to` was credited with `amount` of the manager's stake.
    event SplitFell(uint256 indexed taskId, address indexed to, uint256 amount);

    // ————— Errors —————

    error OnlyManager();
    /// @notice A parameter of the pool or of a split is out of its range.
    error InvalidPoolParameter(string parameter);
    /// @notice The call does not belong to the phase that the split is in.
    error WrongSplitPhase(uint256 taskId, SplitPhase actual);
    /// @notice The float is `available`, less than the `wanted` amount.
    error InsufficientFloat(uint256 available, uint256 wanted);
    /// @notice The leaf and its siblings do not lead to the posted root.
    error WrongProof();
    error AlreadyClaimed(uint32 index);
    error FeeAlreadyPaid();
    /// @notice The receipt is not signed by the task's receipt key.
    error WrongSignature();
    /// @notice A receipt of this sequence number or a later one is there already.
    error StaleReceipt(uint64 sequence, uint64 known);
    error NoReceipt(address miner);
    /// @notice A leaf with at least `points` was demanded for the miner already, or shown.
    error AlreadyDemanded(uint128 points);
    /// @notice The leaf was demanded already.
    error LeafAlreadyDemanded(uint32 index);
    /// @notice There is no such objection, or it is settled.
    error NotOpen(uint32 id);
    /// @notice Only the deployment's disputes contract may do this.
    error OnlyDisputes();

    // ————— Manager —————

    /// @notice Puts `amount` of the caller's money into the manager's float.
    function deposit(uint256 amount) external;

    /// @notice Moves `amount` of the float to the manager's credit.
    function withdrawFloat(uint256 amount) external;

    /// @notice Changes fee and receipt key for tasks that the pool has not committed to yet.
    function setTerms(uint16 feeBps, address receiptKey) external;

    /// @notice Commits the pool to a model, from the float. See {ITaskRegistry-commit}.
    function commit(uint256 taskId, bytes32 commitment) external;

    /// @notice Opens the pool's commitment; a candidate's bond is paid from the float. See {ITaskRegistry-reveal}.
    function reveal(
        uint256 taskId,
        ITaskRegistry.Opening calldata opening,
        uint32 claimedCorrect,
        bytes32 claimSeal
    ) external;

    /// @notice Posts the split of a collected reward, once. {stakeFor} the reward is taken from the float: it comes back
    /// by {claimFee} when the split is final. A pool without an objection window stakes nothing.
    /// @param sharesCid CID of the file that lists every credited share, 1 … 64 bytes
    function postSplit(uint256 taskId, Split calldata split, bytes calldata sharesCid) external;

    // ————— Anyone —————

    /// @notice Takes what the disputes contract owes the pool as a claimant, bonds of challengers that were wrong and
    /// prices of demands, to the float: it is the manager's machine that answered, and its float that stood for the
    /// model. Nothing happens where there is nothing, or the deployment has no disputes.
    function collectDisputes() external returns (uint256 amount);

    /// @notice Takes what an ended task owes the pool: bonds go to the float, the reward to the task's account.
    function collect(uint256 taskId) external;

    /// @notice Credits the miner of a leaf with its payment, once the split is final; once per leaf.
    /// @param siblings from the leaf upwards
    /// @return amount what was credited
    function claim(
        uint256 taskId,
        PointsLeaf calldata leaf,
        SumNode[] calldata siblings
    ) external returns (uint256 amount);

    /// @notice Credits the manager with its fee, and gives its stake back to the float, once the split is final; once.
    function claimFee(uint256 taskId) external;

    /// @notice Demands a leaf of the miner with at least the points of its receipt, as {submitReceipt} has them, within the
    /// objection window. Anyone may send it; what follows from it is the miner's. One of more points than an open demand
    /// of the same miner raises that one, whose deadline stays: an honest tree has them anyway.
    function objectMissing(
        uint256 taskId,
        address miner,
        uint64 sequence,
        uint128 points,
        bytes calldata signature
    ) external;

    /// @notice Demands the leaf of an index, once per index, within the objection window; the caller pays {bondFor} the
    /// reward.
    function demandLeaf(uint256 taskId, uint32 index) external;

    /// @notice Answers an open objection. Anyone may; what a demand's bond leaves is the manager's. Where it is answered
    /// already nothing happens.
    /// @param siblings from the leaf upwards
    function answer(uint256 taskId, uint32 id, PointsLeaf calldata leaf, SumNode[] calldata siblings) external;

    /// @notice Books the fall of a split to an objection that ran out; the receipts' window begins.
    function finaliseFall(uint256 taskId) external;

    /// @notice Credits who demanded a leaf with its bond, after the split's fall; once.
    function returnBond(uint256 taskId, uint32 id) external;

    /// @notice Brings a split down that is still open to objections. For the registry's disputes contract alone.
    /// @param refuter is credited with half of the manager's stake
    function refuteSplit(uint256 taskId, address refuter) external;

    /// @notice Hands in a miner's points receipt where there is no split: EIP-712
    /// `Points(uint256 taskId,address miner,uint64 sequence,uint128 points)`, domain "ponas pool", version "1". One of a
    /// higher sequence number replaces the earlier one.
    function submitReceipt(
        uint256 taskId,
        address miner,
        uint64 sequence,
        uint128 points,
        bytes calldata signature
    ) external;

    /// @notice Credits a miner by its receipt, after the receipts' window; once.
    /// @return amount what was credited
    function claimByReceipt(uint256 taskId, address miner) external returns (uint256 amount);

    /// @notice Settles a reward for which nobody handed in a receipt: it is split by {lastSplit}'s tree, without a fee;
    /// where there is none, it goes to the manager's float.
    function reclaim(uint256 taskId) external;

    // ————— Views —————

    function registry() external view returns (ITaskRegistry);

    function manager() external view returns (address);

    /// @notice Terms of the tasks that the pool commits to from now on.
    function terms() external view returns (PoolParams memory);

    /// @notice The manager's own money in the pool that is not bound in a task.
    function float() external view returns (uint256);

    function accountOf(uint256 taskId) external view returns (TaskAccount memory);

    /// @notice What the manager stakes on the split of a reward, rounded up: 5 %, which is never more than the candidate's
    /// bond that came back with the reward.
    function stakeFor(uint256 reward) external pure returns (uint256);

    /// @notice What demanding a leaf costs at this reward, rounded up: 0.1 %.
    function bondFor(uint256 reward) external pure returns (uint256);

    function objectionOf(uint256 taskId, uint32 id) external view returns (Objection memory);

    /// @notice Open objections, those that run out first at the front.
    function openObjections(uint256 taskId, uint256 limit) external view returns (Objection[] memory);

    /// @notice The points that were demanded, or shown, for a miner; 0 where none were.
    function demandedOf(uint256 taskId, address miner) external view returns (uint128);

    /// @notice The task of the last final split by which somebody has claimed; 0 where there is none.
    function lastSplit() external view returns (uint256);

    function isClaimed(uint256 taskId, uint32 index) external view returns (bool);

    /// @notice The miner's receipt; `points` is 0 once it was paid.
    function receiptOf(uint256 taskId, address miner) external view returns (uint64 sequence, uint128 points);
}
