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
/// Where the manager posts none in time, the split follows the signed points receipts that miners hand in, without a
/// fee; where there are none either, the reward is the manager's.
///
/// What the tree says of each miner's work is the manager's word: there is an objection window before any claim, but as
/// yet nothing to object with.
interface IPool is ICredits {
    // ————— Types —————

    /// @notice What a pool is created with.
    struct PoolParams {
        address manager;
        /// signs miners' points receipts; an account or an ERC-1271 contract
        address receiptKey;
        /// the manager's part of a reward in parts of ten thousand, at most 2000
        uint16 feeBps;
        /// seconds between the split and the first claim, 0 … 30 days
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
        Closed
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
    }

    // ————— Events —————

    event Deposited(address indexed from, uint256 amount);
    event TermsChanged(uint16 feeBps, address indexed receiptKey);
    /// @notice The pool committed to a task for the first time, under these terms.
    event TaskEntered(uint256 indexed taskId, uint16 feeBps, address indexed receiptKey);
    event Collected(uint256 indexed taskId, uint256 bonds, uint256 reward);
    event SplitPosted(uint256 indexed taskId, bytes32 root, uint8 depth, uint32 count, uint128 sum, bytes sharesCid);
    event Claimed(uint256 indexed taskId, uint32 index, address indexed miner, uint128 points, uint256 amount);
    event ReceiptSubmitted(uint256 indexed taskId, address indexed miner, uint64 sequence, uint128 points);
    event ReceiptClaimed(uint256 indexed taskId, address indexed miner, uint256 amount);
    event Reclaimed(uint256 indexed taskId, uint256 amount);

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

    /// @notice Posts the split of a collected reward, once.
    /// @param sharesCid CID of the file that lists every credited share, 1 … 64 bytes
    function postSplit(uint256 taskId, Split calldata split, bytes calldata sharesCid) external;

    // ————— Anyone —————

    /// @notice Takes what an ended task owes the pool: bonds go to the float, the reward to the task's account.
    function collect(uint256 taskId) external;

    /// @notice Credits the miner of a leaf with its payment, after the objection window; once per leaf.
    /// @param siblings from the leaf upwards
    /// @return amount what was credited
    function claim(
        uint256 taskId,
        PointsLeaf calldata leaf,
        SumNode[] calldata siblings
    ) external returns (uint256 amount);

    /// @notice Credits the manager with its fee, after the objection window; once.
    function claimFee(uint256 taskId) external;

    /// @notice Hands in a miner's points receipt where the manager posted no split: EIP-712
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

    /// @notice Gives the manager's float a reward for which nobody handed in a receipt.
    function reclaim(uint256 taskId) external;

    // ————— Views —————

    function registry() external view returns (ITaskRegistry);

    function manager() external view returns (address);

    /// @notice Terms of the tasks that the pool commits to from now on.
    function terms() external view returns (PoolParams memory);

    /// @notice The manager's own money in the pool that is not bound in a task.
    function float() external view returns (uint256);

    function accountOf(uint256 taskId) external view returns (TaskAccount memory);

    function isClaimed(uint256 taskId, uint32 index) external view returns (bool);

    /// @notice The miner's receipt; `points` is 0 once it was paid.
    function receiptOf(uint256 taskId, address miner) external view returns (uint64 sequence, uint128 points);
}
