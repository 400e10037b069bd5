// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {ITaskRegistry} from "../interfaces/ITaskRegistry.sol";

/// @title Ranking score of a task
/// @notice Difficulty over reward; miners take the lowest.
library Ranking {
    uint256 internal constant SCALE = 1e18;

    /// @notice Expected time of training and of transfer, in 1e-18 seconds, each rounded down.
    function difficulty(ITaskRegistry.Difficulty memory factors) internal pure returns (uint256) {
        uint256 training = (uint256(factors.flops) * SCALE) / factors.networkFlops;
        uint256 transfer = ((uint256(factors.modelBytes) + factors.dataBytes) * SCALE) / factors.bandwidth;
        return training + transfer;
    }

    /// @notice difficulty · 1e18 / reward, rounded down. Below 2^250 for all factors: flops < 2^128 and 1e18 < 2^60.
    function score(ITaskRegistry.Difficulty memory factors, uint256 reward) internal pure returns (uint256) {
        return Math.mulDiv(difficulty(factors), SCALE, reward);
    }
}
