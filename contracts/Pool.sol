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
import {ICredits} from "./interfaces/ICredits.sol";
import {IDisputes} from "./interfaces/IDisputes.sol";
import {IPool} from "./interfaces/IPool.sol";
import {ITaskRegistry} from "./interfaces/ITaskRegistry.sol";
import {Objections} from "./libraries/Objections.sol";
import {PointsTree} from "./libraries/PointsTree.sol";
import {TaskParameters} from "./libraries/TaskParameters.sol";

/// @title A mining pool
/// @dev The code behind every pool's clone. All that a pool holds is its manager's float, tasks' unclaimed rewards with
/// stakes and bonds, credits, and what was burned; {Credits-owed} is their sum.
contract Pool is IPool, Credits, EIP712, Initializable {
    using BitMaps for BitMaps.BitMap;
    using Objections for Objections.List;
    using SafeERC20 for IERC20;

    // ————— Types —————

    struct Account {
        address receiptKey;
        uint16 feeBps;
        uint40 collectedAt;
        bool entered;
        bool feePaid;
        uint40 postedAt;
        uint40 fellAt;
        bool adopted;
        uint256 reward;
        uint256 unclaimed;
        uint256 receiptPoints;
        uint256 stake;
        uint256 bonds;
        uint256 adoptedFrom;
        Split split;
        BitMaps.BitMap claimed;
        Objections.List objections;
    }

    struct Receipt {
        uint64 sequence;
        uint128 points;
    }

    uint16 private constant MAX_FEE_BPS = 2_000;
    uint24 private constant MAX_WINDOW = 30 days;
    uint256 private constant BOND_BPS = 10;
    // solhint-disable gas-small-strings
    bytes32 private constant POINTS_TYPE = keccak256(
        "Points(uint256 taskId,address miner,uint64 sequence,uint128 points)"
    );
    // solhint-enable gas-small-strings

    // ————— Storage —————

    /// @inheritdoc IPool
    ITaskRegistry public immutable registry;
    /// @dev Of the registry; zero where the deployment has none.
    IDisputes private immutable _disputes;

    PoolParams private _terms;
    /// @inheritdoc IPool
    uint256 public float;
    /// @inheritdoc IPool
    uint256 public lastSplit;
    mapping(uint256 taskId => Account) private _accounts;
    /// @inheritdoc IPool
    mapping(uint256 taskId => mapping(address miner => Receipt)) public receiptOf;

    modifier onlyManager() {
        if (msg.sender != _terms.manager) revert OnlyManager();
        _;
    }

    constructor(ITaskRegistry registry_) Credits(registry_.asset()) EIP712("ponas pool", "1") {
        registry = registry_;
        _disputes = IDisputes(registry_.disputes());
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
        if (_terms.objectionWindow != 0) {
            uint256 stake = stakeFor(account.reward);
            _takeFloat(stake);
            account.stake = stake;
        }
        emit SplitPosted(taskId, split.root, split.depth, split.count, split.sum, sharesCid);
    }

    // ————— Anyone —————

    /// @inheritdoc IPool
    function collectDisputes() external nonReentrant returns (uint256 amount) {
        if (address(_disputes) == address(0)) return 0;
        ICredits disputes = ICredits(address(_disputes));
        amount = disputes.creditOf(address(this));
        float += amount;
        owed += amount;
        emit DisputesCollected(amount);
        _withdrawFrom(disputes, amount);
    }

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
        _withdrawFrom(registry, bonds + reward);
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
        // Only a split that a leaf was proven of: another reward may have to follow it.
        if (lastSplit != taskId && !account.adopted && account.postedAt > _accounts[lastSplit].postedAt) {
            lastSplit = taskId;
        }
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
        float += account.stake;
        account.stake = 0;
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
        Receipt storage known = receiptOf[taskId][miner];
        if (known.points > 0 && sequence <= known.sequence) revert StaleReceipt(sequence, known.sequence);
        _checkReceipt(account.receiptKey, taskId, miner, sequence, points, signature);
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
        uint256 last = lastSplit;
        if (last != 0) {
            account.adopted = true;
            account.adoptedFrom = last;
            account.feePaid = true;
            account.split = _accounts[last].split;
            emit SplitAdopted(taskId, last);
            return;
        }
        uint256 amount = account.unclaimed;
        account.unclaimed = 0;
        float += amount;
        emit Reclaimed(taskId, amount);
    }

    // ————— Objections —————

    /// @inheritdoc IPool
    function objectMissing(
        uint256 taskId,
        address miner,
        uint64 sequence,
        uint128 points,
        bytes calldata signature
    ) external nonReentrant {
        Account storage account = _accountIn(taskId, SplitPhase.Objection);
        _checkReceipt(account.receiptKey, taskId, miner, sequence, points, signature);
        Objections.List storage list = account.objections;
        uint32 id = list.ofMiner[miner];
        Objections.Entry storage entry = list.entries[id];
        if (points <= entry.points) revert AlreadyDemanded(entry.points);
        if (entry.state != ObjectionState.Open) {
            (id, entry) = list.raise(ObjectionKind.Points, miner, _answerBy());
            list.ofMiner[miner] = id;
        }
        entry.points = points;
        emit PointsDemanded(taskId, id, miner, points, entry.deadline);
    }

    /// @inheritdoc IPool
    function demandLeaf(uint256 taskId, uint32 index) external nonReentrant {
        Account storage account = _accountIn(taskId, SplitPhase.Objection);
        _require(index < account.split.count, "index");
        Objections.List storage list = account.objections;
        if (list.ofLeaf[index] != 0) revert LeafAlreadyDemanded(index);
        (uint32 id, Objections.Entry storage entry) = list.raise(ObjectionKind.Leaf, msg.sender, _answerBy());
        entry.index = index;
        list.ofLeaf[index] = id;
        uint256 bond = bondFor(account.reward);
        account.bonds += bond;
        emit LeafDemanded(taskId, id, msg.sender, index, bond, entry.deadline);
        _pull(msg.sender, bond);
    }

    /// @inheritdoc IPool
    function answer(
        uint256 taskId,
        uint32 id,
        PointsLeaf calldata leaf,
        SumNode[] calldata siblings
    ) external nonReentrant {
        Account storage account = _objectableAccount(taskId);
        Objections.Entry storage entry = account.objections.entries[id];
        // A batch must not fail because somebody sent a part of it first.
        if (entry.state == ObjectionState.Answered) return;
        if (entry.state != ObjectionState.Open) revert NotOpen(id);
        Split memory split = account.split;
        (bool valid, uint256 pre) = PointsTree.verify(split, leaf, siblings);
        if (!valid) revert WrongProof();
        account.objections.close(id, ObjectionState.Answered);
        if (entry.kind == ObjectionKind.Points) {
            if (leaf.miner != entry.by || leaf.points < entry.points) revert WrongProof();
            entry.points = leaf.points;
        } else {
            if (leaf.index != entry.index) revert WrongProof();
            // Provable leaves next to each other meet, whatever the tree; only behind the last one there may be points
            // that nobody could ever claim.
            if (leaf.index + 1 == split.count && pre + leaf.points != split.sum) revert WrongProof();
            uint256 bond = bondFor(account.reward);
            uint256 half = bond / 2;
            account.bonds -= bond;
            float += half;
            _burn(bond - half, BurnReason.ObjectionBond, taskId);
        }
        emit ObjectionAnswered(taskId, id, leaf.index, leaf.miner, leaf.points);
    }

    /// @inheritdoc IPool
    function finaliseFall(uint256 taskId) external nonReentrant {
        Account storage account = _accountIn(taskId, SplitPhase.Fallen);
        uint32 id = account.objections.first;
        Objections.Entry storage entry = account.objections.entries[id];
        _fall(taskId, account, entry.by);
        if (entry.kind == ObjectionKind.Leaf) _returnBond(taskId, account, id, entry);
    }

    /// @inheritdoc IPool
    function returnBond(uint256 taskId, uint32 id) external nonReentrant {
        Account storage account = _accounts[taskId];
        Objections.Entry storage entry = account.objections.entries[id];
        bool due = account.fellAt != 0 && entry.kind == ObjectionKind.Leaf && entry.state == ObjectionState.Open;
        if (!due) revert NotOpen(id);
        _returnBond(taskId, account, id, entry);
    }

    /// @inheritdoc IPool
    function refuteSplit(uint256 taskId, address refuter) external nonReentrant {
        if (msg.sender != address(_disputes)) revert OnlyDisputes();
        _fall(taskId, _objectableAccount(taskId), refuter);
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
        (view_.phase, view_.deadline) = _phase(taskId, account);
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
        view_.fellAt = account.fellAt;
        view_.stake = account.stake;
        view_.bonds = account.bonds;
        view_.objections = account.objections.count;
        if (account.adopted) view_.splitTask = account.adoptedFrom;
        else if (account.postedAt != 0 && account.fellAt == 0) view_.splitTask = taskId;
    }

    /// @inheritdoc IPool
    function objectionOf(uint256 taskId, uint32 id) external view returns (Objection memory) {
        return _objection(_accounts[taskId].objections, id);
    }

    /// @inheritdoc IPool
    function openObjections(uint256 taskId, uint256 limit) external view returns (Objection[] memory open) {
        Objections.List storage list = _accounts[taskId].objections;
        uint256 count = 0;
        for (uint32 id = list.first; id != 0 && count < limit; id = list.entries[id].next) ++count;
        open = new Objection[](count);
        uint32 at = list.first;
        for (uint256 i = 0; i < count; ++i) {
            open[i] = _objection(list, at);
            at = list.entries[at].next;
        }
    }

    /// @inheritdoc IPool
    function demandedOf(uint256 taskId, address miner) external view returns (uint128) {
        Objections.List storage list = _accounts[taskId].objections;
        return list.entries[list.ofMiner[miner]].points;
    }

    /// @inheritdoc IPool
    function isClaimed(uint256 taskId, uint32 index) external view returns (bool) {
        return _accounts[taskId].claimed.get(index);
    }

    /// @inheritdoc IPool
    function stakeFor(uint256 reward) public pure returns (uint256) {
        return TaskParameters.candidateBond(reward, TaskParameters.MIN_CANDIDATE_BOND_BPS);
    }

    /// @inheritdoc IPool
    function bondFor(uint256 reward) public pure returns (uint256) {
        return TaskParameters.candidateBond(reward, BOND_BPS);
    }

    // ————— Parts —————

    /// @dev The only place where time decides. Every phase is [start, end).
    function _phase(uint256 taskId, Account storage account) private view returns (SplitPhase phase, uint40 deadline) {
        if (!account.entered) return (SplitPhase.None, 0);
        if (account.collectedAt == 0) return (SplitPhase.Committed, 0);
        if (account.reward == 0) return (SplitPhase.Closed, 0);
        if (account.adopted) return (SplitPhase.Claims, 0);
        if (account.fellAt != 0) {
            deadline = account.fellAt;
        } else if (account.postedAt != 0) {
            return _splitPhase(taskId, account);
        } else {
            deadline = account.collectedAt + _terms.settlementWindow;
        }
        // Without a split the unclaimed part is the whole reward, and reaches zero with the last payment.
        if (account.unclaimed == 0) return (SplitPhase.Closed, 0);
        if (block.timestamp < deadline) return (SplitPhase.AwaitSplit, deadline);
        deadline += _terms.receiptsWindow;
        if (block.timestamp < deadline) return (SplitPhase.Receipts, deadline);
        return (account.receiptPoints == 0 ? SplitPhase.Unclaimed : SplitPhase.ReceiptClaims, 0);
    }

    /// @dev A posted split that did not fall. An objection's deadline is never before the window's end.
    function _splitPhase(
        uint256 taskId,
        Account storage account
    ) private view returns (SplitPhase phase, uint40 deadline) {
        deadline = account.postedAt + _terms.objectionWindow;
        if (block.timestamp < deadline) return (SplitPhase.Objection, deadline);
        uint32 first = account.objections.first;
        if (first != 0) {
            deadline = account.objections.entries[first].deadline;
            return block.timestamp < deadline ? (SplitPhase.Answering, deadline) : (SplitPhase.Fallen, 0);
        }
        bool contested = address(_disputes) != address(0) && _disputes.isContested(taskId, address(this));
        return (contested ? SplitPhase.Answering : SplitPhase.Claims, 0);
    }

    /// @dev The account of a split that is not final.
    function _objectableAccount(uint256 taskId) private view returns (Account storage account) {
        account = _accounts[taskId];
        (SplitPhase phase, ) = _phase(taskId, account);
        if (phase != SplitPhase.Objection && phase != SplitPhase.Answering) revert WrongSplitPhase(taskId, phase);
    }

    function _accountIn(uint256 taskId, SplitPhase wanted) private view returns (Account storage account) {
        account = _accounts[taskId];
        (SplitPhase phase, ) = _phase(taskId, account);
        if (phase != wanted) revert WrongSplitPhase(taskId, phase);
    }

    /// @dev When an objection that is raised now must have been answered.
    function _answerBy() private view returns (uint40) {
        return uint40(block.timestamp) + _terms.objectionWindow;
    }

    /// @dev The whole reward goes the way of receipts, and the stake half to `to`, half to nobody.
    function _fall(uint256 taskId, Account storage account, address to) private {
        uint256 stake = account.stake;
        uint256 half = stake / 2;
        account.stake = 0;
        account.fellAt = uint40(block.timestamp);
        account.unclaimed = account.reward;
        emit SplitFell(taskId, to, half);
        _burn(stake - half, BurnReason.PoolStake, taskId);
        _credit(to, half, CreditReason.Objection, taskId);
    }

    function _returnBond(uint256 taskId, Account storage account, uint32 id, Objections.Entry storage entry) private {
        uint256 bond = bondFor(account.reward);
        account.objections.close(id, ObjectionState.Returned);
        account.bonds -= bond;
        _credit(entry.by, bond, CreditReason.ObjectionBond, taskId);
    }

    function _checkReceipt(
        address receiptKey,
        uint256 taskId,
        address miner,
        uint64 sequence,
        uint128 points,
        bytes calldata signature
    ) private view {
        _require(points > 0, "points");
        bytes32 digest = _hashTypedDataV4(keccak256(abi.encode(POINTS_TYPE, taskId, miner, sequence, points)));
        if (!SignatureChecker.isValidSignatureNowCalldata(receiptKey, digest, signature)) revert WrongSignature();
    }

    function _objection(Objections.List storage list, uint32 id) private view returns (Objection memory) {
        Objections.Entry storage entry = list.entries[id];
        return
            Objection({
                id: id,
                kind: entry.kind,
                state: entry.state,
                by: entry.by,
                deadline: entry.deadline,
                index: entry.index,
                points: entry.points
            });
    }

    function _fee(Account storage account) private view returns (uint256) {
        if (account.fellAt != 0 || account.adopted) return 0;
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

    function _withdrawFrom(ICredits from, uint256 amount) private {
        uint256 before = asset.balanceOf(address(this));
        from.withdrawTo(address(this), amount);
        uint256 received = asset.balanceOf(address(this)) - before;
        if (received != amount) revert InexactTransfer(amount, received);
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
