// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {Credits} from "./Credits.sol";
import {IPredictionDisputes} from "./interfaces/IDisputes.sol";
import {ITaskRegistry} from "./interfaces/ITaskRegistry.sol";
import {IValidatorStake} from "./interfaces/IValidatorStake.sol";

/// @title Validators' stake
contract ValidatorStake is IValidatorStake, Credits {
    using Checkpoints for Checkpoints.Trace208;

    struct Unbonding {
        uint128 amount;
        uint48 readyAt;
    }

    uint256 private constant MAX_UNBONDING_PERIOD = 365 days;

    /// @inheritdoc IValidatorStake
    uint256 public immutable unbondingPeriod;
    address private immutable _deployer;

    /// @inheritdoc IValidatorStake
    ITaskRegistry public registry;

    mapping(address validator => Checkpoints.Trace208) private _stakes;
    Checkpoints.Trace208 private _total;
    /// @inheritdoc IValidatorStake
    mapping(address validator => Unbonding) public unbondingOf;
    /// @inheritdoc IValidatorStake
    mapping(address validator => uint256) public holdsOf;
    /// @inheritdoc IValidatorStake
    mapping(uint256 taskId => mapping(address participant => mapping(address validator => bool))) public isSealHeld;

    /// @param unbondingPeriod_ seconds, 1 … 365 days
    constructor(IERC20 asset_, uint256 unbondingPeriod_) Credits(asset_) {
        if (unbondingPeriod_ == 0 || unbondingPeriod_ > MAX_UNBONDING_PERIOD) {
            revert InvalidUnbondingPeriod(unbondingPeriod_);
        }
        unbondingPeriod = unbondingPeriod_;
        _deployer = msg.sender;
    }

    // ————— Calls —————

    /// @inheritdoc IValidatorStake
    function stake(uint256 amount) external nonReentrant {
        if (amount == 0) revert ZeroStake();
        _pull(msg.sender, amount);
        // All that is held here, credits included, fits 128 bits: so does every sum of stakes.
        if (owed > type(uint128).max) revert StakeTooLarge();
        emit Staked(msg.sender, amount, _add(msg.sender, amount));
    }

    /// @inheritdoc IValidatorStake
    function beginUnbonding(uint256 amount) external nonReentrant {
        if (amount == 0) revert ZeroStake();
        uint256 active = stakeOf(msg.sender);
        if (amount > active) revert InsufficientStake(active, amount);
        Unbonding storage unbonding = unbondingOf[msg.sender];
        uint48 readyAt = SafeCast.toUint48(block.timestamp + unbondingPeriod);
        unbonding.amount += uint128(amount);
        unbonding.readyAt = readyAt;
        active -= amount;
        _record(msg.sender, active, totalStake() - amount);
        emit UnbondingBegun(msg.sender, amount, active, readyAt);
    }

    /// @inheritdoc IValidatorStake
    function cancelUnbonding() external nonReentrant {
        uint256 amount = _takeUnbonding(msg.sender);
        emit UnbondingCancelled(msg.sender, amount, _add(msg.sender, amount));
    }

    /// @inheritdoc IValidatorStake
    function finishUnbonding() external nonReentrant {
        if (holdsOf[msg.sender] > 0) revert StakeHeld();
        uint48 readyAt = unbondingOf[msg.sender].readyAt;
        uint256 amount = _takeUnbonding(msg.sender);
        if (block.timestamp < readyAt) revert StillUnbonding(readyAt);
        _credit(msg.sender, amount, CreditReason.Stake, 0);
        emit UnbondingFinished(msg.sender, amount);
    }

    /// @inheritdoc IValidatorStake
    function holdSeal(uint256 taskId, address participant, address validator) external {
        bool challengeable =
            _isChallengeable(taskId, participant) && registry.sealOf(taskId, participant, validator).seal != 0;
        if (!challengeable || isSealHeld[taskId][participant][validator]) {
            revert SealNotHoldable(taskId, participant, validator);
        }
        isSealHeld[taskId][participant][validator] = true;
        ++holdsOf[validator];
        emit SealHeld(taskId, participant, validator);
    }

    /// @inheritdoc IValidatorStake
    function releaseSeal(uint256 taskId, address participant, address validator) external {
        if (!isSealHeld[taskId][participant][validator] || _isChallengeable(taskId, participant)) {
            revert SealNotReleasable(taskId, participant, validator);
        }
        delete isSealHeld[taskId][participant][validator];
        --holdsOf[validator];
        emit SealReleased(taskId, participant, validator);
    }

    // ————— The registry and its disputes —————

    /// @inheritdoc IValidatorStake
    function bind(ITaskRegistry registry_) external {
        if (msg.sender != _deployer) revert OnlyDeployer();
        if (address(registry) != address(0)) revert AlreadyBound();
        if (registry_.stake() != this) revert WrongRegistry(registry_);
        registry = registry_;
    }

    /// @inheritdoc IValidatorStake
    function hold(address validator) external {
        _onlyDisputes();
        if (stakeOf(validator) + unbondingOf[validator].amount == 0) revert NothingToHold(validator);
        ++holdsOf[validator];
    }

    /// @inheritdoc IValidatorStake
    function release(address validator) external {
        _onlyDisputes();
        --holdsOf[validator];
    }

    /// @inheritdoc IValidatorStake
    function slash(address validator, address recipient) external nonReentrant returns (uint256 amount) {
        _onlyDisputes();
        uint256 active = stakeOf(validator);
        amount = active + unbondingOf[validator].amount;
        delete unbondingOf[validator];
        if (active > 0) _record(validator, 0, totalStake() - active);
        uint256 half = amount / 2;
        emit Slashed(validator, recipient, amount);
        _credit(recipient, half, CreditReason.StakeSlashed, 0);
        _burn(amount - half, BurnReason.ValidatorStake, 0);
    }

    // ————— Views —————

    /// @inheritdoc IValidatorStake
    function stakeOf(address validator) public view returns (uint256) {
        return _stakes[validator].latest();
    }

    /// @inheritdoc IValidatorStake
    function totalStake() public view returns (uint256) {
        return _total.latest();
    }

    /// @inheritdoc IValidatorStake
    function stakeAt(address validator, uint256 time) external view returns (uint256) {
        return _stakes[validator].upperLookupRecent(_past(time));
    }

    /// @inheritdoc IValidatorStake
    function totalStakeAt(uint256 time) external view returns (uint256) {
        return _total.upperLookupRecent(_past(time));
    }

    // ————— Parts —————

    function _onlyDisputes() private view {
        if (address(registry) == address(0) || msg.sender != registry.disputes()) revert OnlyDisputes();
    }

    /// @dev Whether seals on the candidate can be challenged, or may be yet: it is undecided, and can still be refuted.
    function _isChallengeable(uint256 taskId, address participant) private view returns (bool) {
        address disputes = address(registry) == address(0) ? address(0) : registry.disputes();
        if (disputes == address(0)) return false;
        if (block.timestamp < IPredictionDisputes(disputes).sealsChallengeableUntil(taskId, participant)) return true;
        ITaskRegistry.Phase phase = registry.phaseOf(taskId);
        if (phase == ITaskRegistry.Phase.Confirmed || phase == ITaskRegistry.Phase.Void) return false;
        return registry.commitmentOf(taskId, participant).state == ITaskRegistry.CommitmentState.Candidate;
    }

    function _add(address validator, uint256 amount) private returns (uint256 active) {
        active = stakeOf(validator) + amount;
        _record(validator, active, totalStake() + amount);
    }

    function _record(address validator, uint256 active, uint256 total) private {
        uint48 time = SafeCast.toUint48(block.timestamp);
        _stakes[validator].push(time, SafeCast.toUint208(active));
        _total.push(time, SafeCast.toUint208(total));
    }

    function _takeUnbonding(address validator) private returns (uint256 amount) {
        amount = unbondingOf[validator].amount;
        if (amount == 0) revert NothingUnbonding(validator);
        delete unbondingOf[validator];
    }

    function _past(uint256 time) private view returns (uint48) {
        if (time >= block.timestamp) revert NotYetKnown(time);
        return uint48(time);
    }
}
