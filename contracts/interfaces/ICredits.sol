// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// @title Pull payments in one asset
/// @notice What every contract that holds money has in common: it credits accounts and people withdraw. Nobody's
/// withdrawal depends on another's, and nobody but the credited account can move a credit.
/// @dev The asset must deliver what a transfer states: tokens that take a fee on transfers are refused when the money
/// comes in. Tokens whose balances change by themselves (rebasing) break the contracts' solvency and must not be used.
interface ICredits {
    // ————— Types —————

    /// @notice Why an account was credited.
    enum CreditReason {
        /// the winner's reward
        Reward,
        /// the reward of a void task, back to its publisher
        RewardReturned,
        /// the publisher's bond, back to the publisher
        PublisherBond,
        /// a validator's share of the validators' fee and of slashed halves
        ValidatorFee,
        /// the validators' fee and slashed halves of false counts that no validator earned, back to the publisher
        ValidatorFeeReturned,
        /// a commitment's bond, back to the participant
        CommitBond,
        /// a candidate's bond, back to the participant
        CandidateBond,
        /// a participant's share of the bond of a publisher at fault
        Compensation,
        /// half the bond of a refuted candidate, to the refuter
        Refutation,
        /// stake whose unbonding is over
        Stake,
        /// a miner's share of a reward that its pool won
        PoolShare,
        /// the manager's fee of a reward that its pool won
        PoolFee,
        /// the manager's own money, taken out of its pool
        PoolFloat,
        /// half the manager's stake on a split that fell, to whom it fell by
        Objection,
        /// the bond of a demand that a split fell with, back to who paid it
        ObjectionBond,
        /// a challenger's bond, back where its challenge was right or became pointless
        ChallengeBond,
        /// half the bond of a challenge that was wrong, to the claimant, or to the validator whose seal it was
        ChallengeWon,
        /// the price of a demand that failed or became pointless, back to who paid it
        DemandPrice,
        /// half the price of a demand that was answered, to the claimant
        DemandAnswered,
        /// half the stake of a validator with a false seal, to the refuter
        StakeSlashed
    }

    /// @notice Why an amount was burned. Burned amounts stay in the contract, owned by nobody, since tokens may refuse
    /// transfers to dead addresses.
    enum BurnReason {
        /// the fee of a commitment
        CommitFee,
        /// the bonds of commitments that were never opened
        UnrevealedBonds,
        /// half the bond of a publisher at fault
        PublisherBond,
        /// half the bond of an eliminated candidate; the other half too where it was lost by silence and nobody earned it
        CandidateBond,
        /// half the manager's stake on a split that fell
        PoolStake,
        /// half the bond of a demand that was answered
        ObjectionBond,
        /// half the bond of a challenge that was wrong
        ChallengeBond,
        /// half the price of a demand that was answered
        DemandPrice,
        /// half the stake of a validator with a false seal
        ValidatorStake
    }

    // ————— Events —————

    /// @notice `account` was credited with `amount`.
    /// @param taskId the task it comes from; 0 where it comes from none
    event Credited(address indexed account, uint256 amount, CreditReason reason, uint256 indexed taskId);
    /// @notice `account` withdrew `amount` of its credit to `to`.
    event Withdrawn(address indexed account, address indexed to, uint256 amount);
    /// @notice `amount` was burned.
    event Burned(uint256 amount, BurnReason reason, uint256 indexed taskId);

    // ————— Errors —————

    /// @notice The asset delivered `received` where `stated` was asked for.
    error InexactTransfer(uint256 stated, uint256 received);
    /// @notice The account's credit is `available`, less than the `wanted` amount.
    error InsufficientCredit(uint256 available, uint256 wanted);
    /// @notice Credits cannot be withdrawn to this address.
    error InvalidRecipient(address to);

    // ————— Calls —————

    /// @notice Sends the caller's whole credit to the caller; nothing happens where it is zero.
    /// @return amount what was sent
    function withdraw() external returns (uint256 amount);

    /// @notice Sends `amount` of the caller's credit to `to`, for accounts that cannot receive the asset themselves.
    function withdrawTo(address to, uint256 amount) external;

    /// @notice Uses the caller's ERC-2612 permit for this contract. Never reverts because of the permit: somebody may
    /// have used it first, and then the allowance is there already. Combine with another call by `multicall`.
    function permitAsset(uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external;

    // ————— Views —————

    /// @notice The token of every amount here.
    function asset() external view returns (IERC20);

    /// @notice What `account` can withdraw.
    function creditOf(address account) external view returns (uint256);

    /// @notice All that was ever burned.
    function burned() external view returns (uint256);

    /// @notice What the contract owes in all: what it holds for open matters, credits, and what was burned. Its balance
    /// is this amount, plus what people sent it without being asked.
    function owed() external view returns (uint256);
}
