// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IPool} from "../interfaces/IPool.sol";

/// @title Objections against one split
/// @notice Numbered from 1 in the order in which they were raised, which is the order of their deadlines too. The open
/// ones are linked, so that the first to run out is known at once and any may be answered, however many there are.
library Objections {
    struct Entry {
        address by;
        uint40 deadline;
        IPool.ObjectionKind kind;
        IPool.ObjectionState state;
        uint32 index;
        uint128 points;
        uint32 previous;
        uint32 next;
    }

    struct List {
        uint32 count;
        /// 0 where none is open
        uint32 first;
        uint32 last;
        mapping(uint256 id => Entry) entries;
        mapping(address miner => uint32) ofMiner;
        mapping(uint256 index => uint32) ofLeaf;
    }

    /// @notice Adds an open objection behind the others.
    /// @param deadline not before any other's
    function raise(
        List storage self,
        IPool.ObjectionKind kind,
        address by,
        uint40 deadline
    ) internal returns (uint32 id, Entry storage entry) {
        id = ++self.count;
        entry = self.entries[id];
        entry.by = by;
        entry.deadline = deadline;
        entry.kind = kind;
        entry.state = IPool.ObjectionState.Open;
        uint32 last = self.last;
        entry.previous = last;
        if (last == 0) self.first = id;
        else self.entries[last].next = id;
        self.last = id;
    }

    /// @notice Takes an open objection out of the open ones.
    function close(List storage self, uint32 id, IPool.ObjectionState state) internal {
        Entry storage entry = self.entries[id];
        entry.state = state;
        (uint32 previous, uint32 next) = (entry.previous, entry.next);
        if (previous == 0) self.first = next;
        else self.entries[previous].next = next;
        if (next == 0) self.last = previous;
        else self.entries[next].previous = previous;
    }
}
