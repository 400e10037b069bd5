// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Disputes} from "../../contracts/Disputes.sol";
import {LocalAsset} from "../../contracts/local/LocalAsset.sol";
import {Pool} from "../../contracts/Pool.sol";
import {PoolFactory} from "../../contracts/PoolFactory.sol";
import {TaskRegistry} from "../../contracts/TaskRegistry.sol";
import {ValidatorStake} from "../../contracts/ValidatorStake.sol";

struct Deployment {
    LocalAsset asset;
    ValidatorStake stake;
    TaskRegistry registry;
    PoolFactory factory;
}

function deployAll(uint256 unbondingPeriod, uint16 quorumBps) returns (Deployment memory d) {
    d.asset = new LocalAsset();
    d.stake = new ValidatorStake(d.asset, unbondingPeriod);
    d.registry = new TaskRegistry(d.asset, d.stake, address(0), quorumBps);
    d.factory = new PoolFactory(new Pool(d.registry));
}

/// @dev With the disputes that people deploy, bound on both sides.
function deployDisputed(
    uint256 unbondingPeriod,
    uint16 quorumBps,
    uint256 challengeBond,
    uint40 answerPeriod,
    uint256 demandPrice
) returns (LocalAsset asset, ValidatorStake stake, TaskRegistry registry, Disputes disputes) {
    asset = new LocalAsset();
    stake = new ValidatorStake(asset, unbondingPeriod);
    disputes = new Disputes(asset, challengeBond, answerPeriod, demandPrice);
    registry = new TaskRegistry(asset, stake, address(disputes), quorumBps);
    disputes.bind(registry);
    stake.bind(registry);
}
