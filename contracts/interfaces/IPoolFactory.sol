// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IPool} from "./IPool.sol";

/// @title Creates pools
/// @notice Pools are minimal clones of one implementation, so that whoever knows the factory knows a pool's code.
interface IPoolFactory {
    event PoolCreated(address indexed pool, address indexed manager, address indexed creator, IPool.PoolParams params);

    /// @notice Creates a pool at the address that {predict} tells; each creator can use a salt once.
    function create(IPool.PoolParams calldata params, bytes32 salt) external returns (address pool);

    /// @notice The address of the pool that `creator` makes with `salt`, whether it is there yet or not.
    function predict(address creator, bytes32 salt) external view returns (address pool);

    /// @notice Whether this factory made the pool.
    function isPool(address pool) external view returns (bool);

    /// @notice The code that every pool runs.
    function implementation() external view returns (address);
}
