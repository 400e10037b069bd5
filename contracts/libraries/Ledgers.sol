// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ITaskRegistry} from "../interfaces/ITaskRegistry.sol";
import {Task} from "./Task.sol";

/// @dev A block as it is stored: its other parts stand with its task, which never changes again.
struct LedgerEntry {
    bytes32 hash;
    uint216 taskId;
    uint40 time;
}

/// @dev The blocks from height 1 on.
struct Ledger {
    uint256 height;
    mapping(uint256 height => LedgerEntry) entries;
}

/// @title The ledger of models
library Ledgers {
    /// @notice The block of this height, put together from its entry, its task and the winner's commitment.
    function blockOf(
        Ledger storage self,
        uint256 height,
        Task storage task,
        ITaskRegistry.Commitment storage winner
    ) internal view returns (ITaskRegistry.Block memory) {
        LedgerEntry storage entry = self.entries[height];
        return
            ITaskRegistry.Block({
                hash: entry.hash,
                parent: self.entries[height - 1].hash,
                taskId: entry.taskId,
                winner: task.candidate,
                time: entry.time,
                correct: winner.claimedCorrect,
                total: task.params.testCount,
                modelRoot: winner.modelRoot,
                modelCid: winner.modelCid
            });
    }
}
