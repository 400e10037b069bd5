// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Heap} from "@openzeppelin/contracts/utils/structs/Heap.sol";

/// @notice A candidate's place: 32 bits of (2³² − 1 − claimed correct), 64 of sequence number, 160 of participant. The
/// lowest key is examined first.
type CandidateKey is uint256;

/// @title The queue of candidates
/// @notice Decreasing by the claimed number correct; the earlier sequence number wins a tie. Entering and leaving cost
/// the logarithm of the queue's length.
library CandidateQueue {
    using Heap for Heap.Uint256Heap;

    struct Queue {
        Heap.Uint256Heap heap;
    }

    function keyOf(uint32 claimedCorrect, uint64 sequence, address participant) internal pure returns (CandidateKey) {
        uint256 rank = type(uint32).max - claimedCorrect;
        return CandidateKey.wrap((rank << 224) | (uint256(sequence) << 160) | uint160(participant));
    }

    function participantOf(CandidateKey key) internal pure returns (address) {
        return address(uint160(CandidateKey.unwrap(key)));
    }

    function push(Queue storage self, uint32 claimedCorrect, uint64 sequence, address participant) internal {
        self.heap.insert(CandidateKey.unwrap(keyOf(claimedCorrect, sequence, participant)));
    }

    /// @notice The candidate to be examined next; zero where the queue is empty.
    function front(Queue storage self) internal view returns (address) {
        return self.heap.length() == 0 ? address(0) : participantOf(CandidateKey.wrap(self.heap.peek()));
    }

    /// @notice Takes the front candidate out; zero where the queue is empty.
    function pop(Queue storage self) internal returns (address) {
        return self.heap.length() == 0 ? address(0) : participantOf(CandidateKey.wrap(self.heap.pop()));
    }

    function length(Queue storage self) internal view returns (uint256) {
        return self.heap.length();
    }
}
