// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// @title The asset of a local deployment
/// @notice Anyone may take any amount from the faucet: worthless on purpose, never to be used on a public chain.
contract LocalAsset is ERC20, ERC20Permit {
    constructor() ERC20("ponas local asset", "PLA") ERC20Permit("ponas local asset") {}

    /// @notice Gives the caller `amount`, in units of 1e-18.
    function faucet(uint256 amount) external {
        _mint(msg.sender, amount);
    }
}
