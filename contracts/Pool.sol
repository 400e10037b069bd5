// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Initializable} from "@openzeppelin/contracts/proxy/utils/Initializable.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {BitMaps} from "@openzeppelin/contracts/utils/structs/BitMaps.sol";

import {Credits} from "./Credits.sol";
import {IPool} from "./interfaces/IPool.sol";
import {ITaskRegistry} from "./interfaces/ITaskRegistry.sol";
import {PointsTree} from "./libraries/PointsTree.sol";
import {TaskParameters} from "./libraries/TaskParameters.sol";

/// @title A mining pool
/// @dev The code behind every pool's clone. All that a pool holds is its manager's float, tasks' unclaimed rewards, and
/// credits; {Credits-owed} is their sum.
contract Pool is IPool, Credits, EIP712, Initializable {
    using BitMaps for BitMaps.BitMap;
    using SafeERC20 for IERC20;

    // ————— Types —————

    struct Account {
        address receiptKey;
        uint16 feeBps;
        uint40 collectedAt;
        bool entered;
        bool feePaid;
        uint40 postedAt;
        uint256 reward;
        uint256 unclaimed;
        uint256 receiptPoints;
        Split split;
        BitMaps.BitMap claimed;
    }

    struct Receipt {
        uint64 sequence;
        uint128 points;
    }

    uint16 private constant MAX_FEE_BPS = 2_000;
    uint24 private constant MAX_WINDOW = 30 days;
    // solhint-disable gas-small-strings
    bytes32 private constant POINTS_TYPE = keccak256(
        "Points(uint256 taskId,address miner,uint64 sequence,uint128 points)"
    );
    // solhint-enable gas-small-strings

    // ————— Storage —————

    /// @inheritdoc IPool
    ITaskRegistry public immutable registry;

    PoolParams private _terms;
    /// @inheritdoc IPool
    uint256 public float;
    mapping(uint256 taskId => Account) private _accounts;
    /// @inheritdoc IPool
    mapping(uint256 taskId => mapping(address miner => Receipt)) public receiptOf;

    modifier onlyManager() {
        if (msg.sender != _terms.manager) revert OnlyManager();
        _;
    }

    constructor(ITaskRegistry registry_) Credits(registry_.asset()) EIP712("ponas pool", "1") {
        registry = registry_;
        _disableInitializers();
    }

    /// @notice Makes a clone a pool; its factory calls this in the transaction that creates it.
    function initialize(PoolParams calldata params) external initializer {
        _require(params.manager != address(0), "manager");
        _require(params.objectionWindow <= MAX_WINDOW, "objectionWindow");
        _require(params.settlementWindow > 0 && params.settlementWindow <= MAX_WINDOW, "settlementWindow");
        _require(params.receiptsWindow > 0 && params.receiptsWindow <= MAX_WINDOW, "receiptsWindow");
        _terms = params;
        _setTerms(params.feeBps, params.receiptKey);
        // The registry takes from a pool only what the pool itself asks it to; {_spend} keeps that within the float.
        asset.forceApprove(address(registry), type(uint256).max);
    }

    // ————— Manager —————

    /// @inheritdoc IPool
    function deposit(uint256 amount) external nonReentrant {
        // The code behind the pools has no manager: nobody could take the money out again.
        _require(_terms.manager != address(0), "manager");
        float += amount;
        emit Deposited(msg.sender, amount);
        _pull(msg.sender, amount);
    }

    /// @inheritdoc IPool
    function withdrawFloat(uint256 amount) external nonReentrant onlyManager {
        _takeFloat(amount);
        _credit(msg.sender, amount, CreditReason.PoolFloat, 0);
    }

    /// @inheritdoc IPool
    function setTerms(uint16 feeBps, address receiptKey) external nonReentrant onlyManager {
        _setTerms(feeBps, receiptKey);
    }

    /// @inheritdoc IPool
    function commit(uint256 taskId, bytes32 commitment) external nonReentrant onlyManager {
        Account storage account = _accounts[taskId];
        if (!account.entered) {
            account.entered = true;
            account.feeBps = _terms.feeBps;
            account.receiptKey = _terms.receiptKey;
            emit TaskEntered(taskId, account.feeBps, account.receiptKey);
        }
        _spend(registry.commit(taskId, commitment));
    }

    /// @inheritdoc IPool
    function reveal(
        uint256 taskId,
        ITaskRegistry.Opening calldata opening,
        uint32 claimedCorrect,
        bytes32 claimSeal
    ) external nonReentrant onlyManager {
        _spend(registry.reveal(taskId, opening, claimedCorrect, claimSeal));
    }

    /// @inheritdoc IPool
    function postSplit(
        uint256 taskId,
        Split calldata split,
        bytes calldata sharesCid
    ) external nonReentrant onlyManager {
        Account storage account = _accountIn(taskId, SplitPhase.AwaitSplit);
        _require(split.sum > 0, "sum");
        _require(split.depth <= PointsTree.MAX_DEPTH, "depth");
        _require(split.count > 0 && split.count <= 1 << split.depth, "count");
        _require(TaskParameters.isCid(sharesCid), "sharesCid");
        account.split = split;
        account.postedAt = uint40(block.timestamp);
        account.unclaimed = account.reward - _fee(account);
        emit SplitPosted(taskId, split.root, split.depth, split.count, split.sum, sharesCid);
    }

    // ————— Anyone —————

    /// @inheritdoc IPool
    function collect(uint256 taskId) external nonReentrant {
        Account storage account = _accountIn(taskId, SplitPhase.Committed);
        ITaskRegistry.Settlement memory settlement = registry.settlementOf(taskId, address(this));
        if (!settlement.settled) registry.settle(taskId, address(this));
        uint256 bonds = settlement.commitBond + settlement.candidateBond + settlement.compensation;
        uint256 reward = settlement.reward;
        account.collectedAt = uint40(block.timestamp);
        account.reward = reward;
        account.unclaimed = reward;
        float += bonds;
        owed += bonds + reward;
        emit Collected(taskId, bonds, reward);

        // Exactly this task's money: what others brought stays in the registry until they are collected.
        uint256 before = asset.balanceOf(address(this));
        registry.withdrawTo(address(this), bonds + reward);
        uint256 received = asset.balanceOf(address(this)) - before;
        if (received != bonds + reward) revert InexactTransfer(bonds + reward, received);
    }

    /// @inheritdoc IPool
    function claim(
        uint256 taskId,
        PointsLeaf calldata leaf,
        SumNode[] calldata siblings
    ) external nonReentrant returns (uint256 amount) {
        Account storage account = _accountIn(taskId, SplitPhase.Claims);
        if (account.claimed.get(leaf.index)) revert AlreadyClaimed(leaf.index);
        (bool valid, uint256 pre) = PointsTree.verify(account.split, leaf, siblings);
        if (!valid) revert WrongProof();
        account.claimed.set(leaf.index);
        amount = PointsTree.payment(account.reward - _fee(account), account.split.sum, pre, leaf.points);
        account.unclaimed -= amount;
        _credit(leaf.miner, amount, CreditReason.PoolShare, taskId);
        emit Claimed(taskId, leaf.index, leaf.miner, leaf.points, amount);
    }

    /// @inheritdoc IPool
    function claimFee(uint256 taskId) external nonReentrant {
        Account storage account = _accountIn(taskId, SplitPhase.Claims);
        if (account.feePaid) revert FeeAlreadyPaid();
        account.feePaid = true;
        _credit(_terms.manager, _fee(account), CreditReason.PoolFee, taskId);
    }

    /// @inheritdoc IPool
    function submitReceipt(
        uint256 taskId,
        address miner,
        uint64 sequence,
        uint128 points,
        bytes calldata signature
    ) external nonReentrant {
        Account storage account = _accountIn(taskId, SplitPhase.Receipts);
        _require(points > 0, "points");
        Receipt storage known = receiptOf[taskId][miner];
        if (known.points > 0 && sequence <= known.sequence) revert StaleReceipt(sequence, known.sequence);
        bytes32 digest = _hashTypedDataV4(keccak256(abi.encode(POINTS_TYPE, taskId, miner, sequence, points)));
        if (!SignatureChecker.isValidSignatureNowCalldata(account.receiptKey, digest, signature)) {
            revert WrongSignature();
        }
        account.receiptPoints = account.receiptPoints - known.points + points;
        known.sequence = sequence;
        known.points = points;
        emit ReceiptSubmitted(taskId, miner, sequence, points);
    }

    /// @inheritdoc IPool
    function claimByReceipt(uint256 taskId, address miner) external nonReentrant returns (uint256 amount) {
        Account storage account = _accountIn(taskId, SplitPhase.ReceiptClaims);
        Receipt storage receipt = receiptOf[taskId][miner];
        uint256 points = receipt.points;
        if (points == 0) revert NoReceipt(miner);
        receipt.points = 0;
        // Of what is left, by what points are left: the last one gets the last unit.
        amount = Math.mulDiv(account.unclaimed, points, account.receiptPoints);
        account.receiptPoints -= points;
        account.unclaimed -= amount;
        _credit(miner, amount, CreditReason.PoolShare, taskId);
        emit ReceiptClaimed(taskId, miner, amount);
    }

    /// @inheritdoc IPool
    function reclaim(uint256 taskId) external nonReentrant {
        Account storage account = _accountIn(taskId, SplitPhase.Unclaimed);
        uint256 amount = account.unclaimed;
        account.unclaimed = 0;
        float += amount;
        emit Reclaimed(taskId, amount);
    }

    // ————— Views —————

    /// @inheritdoc IPool
    function manager() external view returns (address) {
        return _terms.manager;
    }

    /// @inheritdoc IPool
    function terms() external view returns (PoolParams memory) {
        return _terms;
    }

    /// @inheritdoc IPool
    function accountOf(uint256 taskId) external view returns (TaskAccount memory view_) {
        Account storage account = _accounts[taskId];
        (view_.phase, view_.deadline) = _phase(account);
        view_.feeBps = account.feeBps;
        view_.receiptKey = account.receiptKey;
        view_.collectedAt = account.collectedAt;
        view_.postedAt = account.postedAt;
        view_.feePaid = account.feePaid;
        view_.reward = account.reward;
        view_.fee = account.postedAt == 0 ? 0 : _fee(account);
        view_.unclaimed = account.unclaimed;
        view_.split = account.split;
        view_.receiptPoints = account.receiptPoints;
    }

    /// @inheritdoc IPool
    function isClaimed(uint256 taskId, uint32 index) external view returns (bool) {
        return _accounts[taskId].claimed.get(index);
    }

    // ————— Parts —————

    /// @dev The only place where time decides. Every phase is [start, end).
    function _phase(Account storage account) private view returns (SplitPhase phase, uint40 deadline) {
        if (!account.entered) return (SplitPhase.None, 0);
        if (account.collectedAt == 0) return (SplitPhase.Committed, 0);
        if (account.reward == 0) return (SplitPhase.Closed, 0);
        if (account.postedAt != 0) {
            deadline = account.postedAt + _terms.objectionWindow;
            return block.timestamp < deadline ? (SplitPhase.Objection, deadline) : (SplitPhase.Claims, 0);
        }
        // Without a split the unclaimed part is the whole reward, and reaches zero with the last payment.
        if (account.unclaimed == 0) return (SplitPhase.Closed, 0);
        deadline = account.collectedAt + _terms.settlementWindow;
        if (block.timestamp < deadline) return (SplitPhase.AwaitSplit, deadline);
        deadline += _terms.receiptsWindow;
        if (block.timestamp < deadline) return (SplitPhase.Receipts, deadline);
        return (account.receiptPoints == 0 ? SplitPhase.Unclaimed : SplitPhase.ReceiptClaims, 0);
    }

    function _accountIn(uint256 taskId, SplitPhase wanted) private view returns (Account storage account) {
        account = _accounts[taskId];
        (SplitPhase phase, ) = _phase(account);
        if (phase != wanted) revert WrongSplitPhase(taskId, phase);
    }

    function _fee(Account storage account) private view returns (uint256) {
        return Math.mulDiv(account.reward, account.feeBps, TaskParameters.BPS);
    }

    function _setTerms(uint16 feeBps, address receiptKey) private {
        _require(feeBps <= MAX_FEE_BPS, "feeBps");
        _require(receiptKey != address(0), "receiptKey");
        _terms.feeBps = feeBps;
        _terms.receiptKey = receiptKey;
        emit TermsChanged(feeBps, receiptKey);
    }

    function _takeFloat(uint256 amount) private {
        if (amount > float) revert InsufficientFloat(float, amount);
        float -= amount;
    }

    /// @dev Books what the registry just took: only the float may pay for the manager's acts.
    function _spend(uint256 amount) private {
        _takeFloat(amount);
        owed -= amount;
    }

    function _require(bool holds, string memory parameter) private pure {
        if (!holds) revert InvalidPoolParameter(parameter);
    }
}
