// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IDisputes} from "../interfaces/IDisputes.sol";
import {IPool} from "../interfaces/IPool.sol";
import {ITaskRegistry} from "../interfaces/ITaskRegistry.sol";

/// @title A disputes contract that does what a test says
contract ScriptedDisputes is IDisputes {
    mapping(uint256 taskId => mapping(address participant => bool)) public isContested;

    function answerPeriod() external pure returns (uint40) {
        return 100;
    }

    function setContested(uint256 taskId, address participant, bool contested) external {
        isContested[taskId][participant] = contested;
    }

    function refute(ITaskRegistry registry, uint256 taskId, address participant, address refuter) external {
        registry.refute(taskId, participant, refuter);
    }

    function refuteSplit(IPool pool, uint256 taskId, address refuter) external {
        pool.refuteSplit(taskId, refuter);
    }
}
