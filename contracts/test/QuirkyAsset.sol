// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @title A token with the quirks that tokens have, each switched on by a test
contract QuirkyAsset is ERC20 {
    uint256 public feeBps;
    mapping(address account => bool) public isBlocked;
    address public reentered;
    bytes public reentry;
    bytes public reentryError;

    error Blocked(address account);

    constructor() ERC20("quirky", "Q") {}

    function faucet(uint256 amount) external {
        _mint(msg.sender, amount);
    }

    /// @notice Keeps a part of every transfer.
    function setFee(uint256 bps) external {
        feeBps = bps;
    }

    /// @notice Refuses transfers to and from an account.
    function setBlocked(address account, bool blocked) external {
        isBlocked[account] = blocked;
    }

    /// @notice Calls `target` in the middle of the next transfers.
    function setReentry(address target, bytes calldata data) external {
        reentered = target;
        reentry = data;
        reentryError = "";
    }

    function _update(address from, address to, uint256 value) internal override {
        if (isBlocked[from]) revert Blocked(from);
        if (isBlocked[to]) revert Blocked(to);
        if (reentered != address(0)) {
            // solhint-disable-next-line avoid-low-level-calls
            (bool success, bytes memory answer) = reentered.call(reentry);
            if (!success) reentryError = answer;
        }
        uint256 fee = from == address(0) || to == address(0) ? 0 : (value * feeBps) / 10_000;
        super._update(from, to, value - fee);
        if (fee > 0) super._update(from, address(0), fee);
    }
}
