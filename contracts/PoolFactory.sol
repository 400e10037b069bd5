// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";

import {IPool} from "./interfaces/IPool.sol";
import {IPoolFactory} from "./interfaces/IPoolFactory.sol";
import {Pool} from "./Pool.sol";

/// @title Creates pools
contract PoolFactory is IPoolFactory {
    /// @inheritdoc IPoolFactory
    address public immutable implementation;
    /// @inheritdoc IPoolFactory
    mapping(address pool => bool) public isPool;

    constructor(Pool implementation_) {
        implementation = address(implementation_);
    }

    /// @inheritdoc IPoolFactory
    function create(IPool.PoolParams calldata params, bytes32 salt) external returns (address pool) {
        pool = Clones.cloneDeterministic(implementation, _salt(msg.sender, salt));
        isPool[pool] = true;
        emit PoolCreated(pool, params.manager, msg.sender, params);
        Pool(pool).initialize(params);
    }

    /// @inheritdoc IPoolFactory
    function predict(address creator, bytes32 salt) external view returns (address) {
        return Clones.predictDeterministicAddress(implementation, _salt(creator, salt));
    }

    /// @dev Nobody can take the address of another's pool.
    function _salt(address creator, bytes32 salt) private pure returns (bytes32) {
        return keccak256(abi.encode(creator, salt));
    }
}
