// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Multicall} from "@openzeppelin/contracts/utils/Multicall.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {ICredits} from "./interfaces/ICredits.sol";

/// @title Pull payments in one asset
/// @notice Money comes in by {_pull}, moves inside by {_credit} and {_burn}, and leaves by the owner's withdrawal alone.
/// @dev No function is payable, so that {Multicall} cannot count one payment twice. Every function that moves the asset
/// is guarded against reentrancy: the asset is foreign code.
abstract contract Credits is ICredits, Multicall, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @inheritdoc ICredits
    IERC20 public immutable asset;
    /// @inheritdoc ICredits
    mapping(address account => uint256) public creditOf;
    /// @inheritdoc ICredits
    uint256 public burned;
    /// @inheritdoc ICredits
    uint256 public owed;

    constructor(IERC20 asset_) {
        asset = asset_;
    }

    // ————— Withdrawals —————

    /// @inheritdoc ICredits
    function withdraw() external nonReentrant returns (uint256 amount) {
        amount = creditOf[msg.sender];
        _withdraw(msg.sender, amount);
    }

    /// @inheritdoc ICredits
    function withdrawTo(address to, uint256 amount) external nonReentrant {
        _withdraw(to, amount);
    }

    /// @inheritdoc ICredits
    function permitAsset(uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external nonReentrant {
        // Somebody may have sent the permit first, or the asset has none: what counts is the allowance, and the
        // transfer that follows needs it.
        // solhint-disable-next-line no-empty-blocks
        try IERC20Permit(address(asset)).permit(msg.sender, address(this), value, deadline, v, r, s) {} catch {}
    }

    // ————— For the contracts that hold money —————

    /// @dev Takes `amount` from `from`, to the unit.
    function _pull(address from, uint256 amount) internal {
        if (amount == 0) return;
        owed += amount;
        uint256 before = asset.balanceOf(address(this));
        asset.safeTransferFrom(from, address(this), amount);
        uint256 received = asset.balanceOf(address(this)) - before;
        if (received != amount) revert InexactTransfer(amount, received);
    }

    /// @dev Gives `account` a claim on money that is held here already.
    function _credit(address account, uint256 amount, CreditReason reason, uint256 taskId) internal {
        if (amount == 0) return;
        creditOf[account] += amount;
        emit Credited(account, amount, reason, taskId);
    }

    /// @dev Gives money that is held here to nobody.
    function _burn(uint256 amount, BurnReason reason, uint256 taskId) internal {
        if (amount == 0) return;
        burned += amount;
        emit Burned(amount, reason, taskId);
    }

    function _withdraw(address to, uint256 amount) private {
        // Sent to itself, the amount would stay here owned by nobody.
        if (to == address(this) || to == address(0)) revert InvalidRecipient(to);
        uint256 available = creditOf[msg.sender];
        if (amount > available) revert InsufficientCredit(available, amount);
        if (amount == 0) return;
        creditOf[msg.sender] = available - amount;
        owed -= amount;
        emit Withdrawn(msg.sender, to, amount);
        asset.safeTransfer(to, amount);
    }
}
