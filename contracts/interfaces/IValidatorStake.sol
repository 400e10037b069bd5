// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICredits} from "./ICredits.sol";
import {ITaskRegistry} from "./ITaskRegistry.sol";

/// @title Validators' stake
/// @notice Anyone may stake. Stake counts from the second it arrives and stops counting at once when its unbonding
/// begins; it can be withdrawn after the unbonding period. Past stake is on record by the second.
interface IValidatorStake is ICredits {
    // ————— Events —————

    /// @notice `validator` staked `amount`; `active` is its stake that counts from now on.
    event Staked(address indexed validator, uint256 amount, uint256 active);
    /// @notice `validator` began to unbond `amount`; all it has unbonding is ready at `readyAt`.
    event UnbondingBegun(address indexed validator, uint256 amount, uint256 active, uint48 readyAt);
    /// @notice `validator` made its unbonding `amount` active again.
    event UnbondingCancelled(address indexed validator, uint256 amount, uint256 active);
    /// @notice The unbonded `amount` was credited to `validator`.
    event UnbondingFinished(address indexed validator, uint256 amount);
    /// @notice The disputes took all that `validator` had, active and unbonding; half of it went to `recipient`.
    event Slashed(address indexed validator, address indexed recipient, uint256 amount);
    /// @notice The stake of `validator` is held for its seal on the candidate.
    event SealHeld(uint256 indexed taskId, address indexed participant, address indexed validator);
    /// @notice It is held for that seal no longer.
    event SealReleased(uint256 indexed taskId, address indexed participant, address indexed validator);

    // ————— Errors —————

    /// @notice Nothing would be staked or unbonded.
    error ZeroStake();
    /// @notice All stake together would not fit 128 bits.
    error StakeTooLarge();
    /// @notice The validator's active stake is less than what it wants to unbond.
    error InsufficientStake(uint256 active, uint256 wanted);
    /// @notice The validator has nothing unbonding.
    error NothingUnbonding(address validator);
    /// @notice The unbonding is ready at `readyAt`.
    error StillUnbonding(uint48 readyAt);
    /// @notice Stake is known for past seconds only: the current one may still change.
    error NotYetKnown(uint256 time);
    /// @notice An unbonding period is from 1 second to 365 days.
    error InvalidUnbondingPeriod(uint256 seconds_);
    /// @notice The registry is set once, by who deployed this contract.
    error AlreadyBound();
    error OnlyDeployer();
    /// @notice The registry has its stake elsewhere.
    error WrongRegistry(ITaskRegistry registry);
    /// @notice A seal of the validator is challenged, or may be and is held: its unbonding does not finish before that is
    /// decided, and the seal released.
    error StakeHeld();
    /// @notice The validator has not sealed that candidate, its seal is held already, or it can be challenged no more.
    error SealNotHoldable(uint256 taskId, address participant, address validator);
    /// @notice That seal is not held, or it may still be challenged.
    error SealNotReleasable(uint256 taskId, address participant, address validator);
    /// @notice The validator has neither active nor unbonding stake.
    error NothingToHold(address validator);
    /// @notice Only the registry's disputes may hold, release and slash.
    error OnlyDisputes();

    // ————— Calls —————

    /// @notice Stakes `amount` of the asset.
    function stake(uint256 amount) external;

    /// @notice Takes `amount` out of the active stake at once and begins its unbonding. A second call adds to the first
    /// and starts the period of the whole anew.
    function beginUnbonding(uint256 amount) external;

    /// @notice Makes all of the caller's unbonding stake active again.
    function cancelUnbonding() external;

    /// @notice Credits the caller's unbonded stake once its period is over and nothing holds it.
    function finishUnbonding() external;

    /// @notice Keeps the validator's unbonding from finishing as long as its seal on that candidate may be challenged: the
    /// candidate is not decided, or was refuted and the seals on it can be challenged. However long disputes are drawn out,
    /// a stake is there when its seal is challenged, if anybody holds it in time. Anyone may call, once for each seal.
    function holdSeal(uint256 taskId, address participant, address validator) external;

    /// @notice Takes a {holdSeal} back once that seal can be challenged no more. Anyone may call.
    function releaseSeal(uint256 taskId, address participant, address validator) external;

    /// @notice Sets the registry whose disputes may slash, once. Whoever stakes before sees nobody there, and should ask
    /// who deployed the contract.
    function bind(ITaskRegistry registry_) external;

    /// @notice Keeps the validator's unbonding from finishing until {release}, once for each call: one of its seals is
    /// challenged, and its stake is the bond. Only for the registry's disputes.
    function hold(address validator) external;

    /// @notice Takes one {hold} back. Only for the registry's disputes.
    function release(address validator) external;

    /// @notice Takes all of a validator's stake, active and unbonding: half is credited to `recipient`, half is burned.
    /// It stops counting now; votes and seals that it has made keep their weight. Only for
    /// the registry's disputes.
    /// @return amount what was taken
    function slash(address validator, address recipient) external returns (uint256 amount);

    // ————— Views —————

    /// @notice Seconds that unbonding takes.
    function unbondingPeriod() external view returns (uint256);

    /// @notice The registry whose disputes may slash; zero until it is set.
    function registry() external view returns (ITaskRegistry);

    /// @notice The stake of `validator` that counts now.
    function stakeOf(address validator) external view returns (uint256);

    /// @notice All stake that counts now.
    function totalStake() external view returns (uint256);

    /// @notice The stake of `validator` at the end of the second `time`, which must be over.
    function stakeAt(address validator, uint256 time) external view returns (uint256);

    /// @notice All stake at the end of the second `time`, which must be over.
    function totalStakeAt(uint256 time) external view returns (uint256);

    /// @notice How many challenges of its seals, and seals that are held, hold the validator's stake.
    function holdsOf(address validator) external view returns (uint256);

    /// @notice Whether the validator's stake is held for its seal on that candidate, see {holdSeal}.
    function isSealHeld(uint256 taskId, address participant, address validator) external view returns (bool);

    /// @notice What `validator` has unbonding, and when it is ready.
    function unbondingOf(address validator) external view returns (uint128 amount, uint48 readyAt);
}
