// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ITaskRegistry} from "../interfaces/ITaskRegistry.sol";

/// @title The protocol's hashes
/// @notice The layouts of docs/bytes.md: T"x" = keccak256("ponas.v1.x"), H(…) = keccak256(abi.encode(…)). Messages bind
/// the chain and the calling contract, so that none can be replayed on another.
library Hashing {
    bytes32 internal constant COMMIT = keccak256("ponas.v1.commit");
    bytes32 internal constant KEY = keccak256("ponas.v1.key");
    bytes32 internal constant TEST = keccak256("ponas.v1.test");
    bytes32 internal constant SAMPLE = keccak256("ponas.v1.sample");
    bytes32 internal constant UNIT = keccak256("ponas.v1.unit");
    bytes32 internal constant MODEL = keccak256("ponas.v1.model");
    bytes32 internal constant TRACE = keccak256("ponas.v1.trace");
    bytes32 internal constant LABELS = keccak256("ponas.v1.labels");
    bytes32 internal constant RESULT = keccak256("ponas.v1.result");
    bytes32 internal constant CLAIM = keccak256("ponas.v1.claim");
    bytes32 internal constant SEAL = keccak256("ponas.v1.seal");
    bytes32 internal constant BLOCK = keccak256("ponas.v1.block");

    /// @notice Bytes under one hash of {blocks}.
    uint256 internal constant BLOCK_SIZE = 512;

    /// @notice keccak256 of each 512 bytes, the last one shorter; none of no bytes.
    function blocks(bytes memory data) internal pure returns (bytes32[] memory hashes) {
        uint256 length = data.length;
        hashes = new bytes32[]((length + BLOCK_SIZE - 1) / BLOCK_SIZE);
        for (uint256 i = 0; i < hashes.length; ++i) {
            uint256 start = i * BLOCK_SIZE;
            uint256 size = length - start < BLOCK_SIZE ? length - start : BLOCK_SIZE;
            bytes32 hash;
            // start + size ≤ length: only the array's own bytes are read
            assembly ("memory-safe") {
                hash := keccak256(add(add(data, 32), start), size)
            }
            hashes[i] = hash;
        }
    }

    /// @notice Hash of predictions, one byte each.
    function result(bytes memory predictions) internal pure returns (bytes32) {
        return keccak256(abi.encode(RESULT, uint32(predictions.length), blocks(predictions)));
    }

    /// @notice Hash of labels, one byte each.
    function labels(bytes memory data) internal pure returns (bytes32) {
        return keccak256(abi.encode(LABELS, uint32(data.length), blocks(data)));
    }

    /// @notice Commitment to a test set of `count` samples.
    function testRoot(
        uint32 count,
        ITaskRegistry.TestSetParts calldata parts,
        bytes32 labelsHash
    ) internal pure returns (bytes32) {
        return
            keccak256(
                abi.encode(
                    TEST,
                    count,
                    parts.height,
                    parts.width,
                    parts.channels,
                    parts.classes,
                    labelsHash,
                    parts.samplesRoot
                )
            );
    }

    /// @notice A participant's commitment to a model.
    function commitment(
        uint256 taskId,
        address participant,
        ITaskRegistry.Opening calldata opening
    ) internal view returns (bytes32) {
        return
            keccak256(
                abi.encode(
                    COMMIT,
                    block.chainid,
                    address(this),
                    taskId,
                    participant,
                    opening.modelRoot,
                    keccak256(opening.modelCid),
                    opening.validationCorrect,
                    opening.validationTotal,
                    opening.salt
                )
            );
    }

    /// @notice Hash of a test set's key.
    function key(address publisher, bytes32 key_) internal view returns (bytes32) {
        return keccak256(abi.encode(KEY, block.chainid, address(this), publisher, key_));
    }

    /// @notice A claimant's seal on a result.
    function claimSeal(
        uint256 taskId,
        address participant,
        bytes32 modelRoot,
        bytes32 result_
    ) internal view returns (bytes32) {
        return keccak256(abi.encode(CLAIM, block.chainid, address(this), taskId, participant, modelRoot, result_));
    }

    /// @notice A validator's seal on a result.
    function validatorSeal(
        uint256 taskId,
        bytes32 commitment_,
        address validator,
        bytes32 result_
    ) internal view returns (bytes32) {
        return validatorSealOf(address(this), taskId, commitment_, validator, result_);
    }

    /// @notice The same of another registry than the calling contract.
    function validatorSealOf(
        address registry,
        uint256 taskId,
        bytes32 commitment_,
        address validator,
        bytes32 result_
    ) internal view returns (bytes32) {
        return keccak256(abi.encode(SEAL, block.chainid, registry, taskId, commitment_, validator, result_));
    }

    /// @notice Hash of a ledger block of this `height`; `block_.hash` itself is not read.
    function ledgerBlock(uint256 height, ITaskRegistry.Block memory block_) internal pure returns (bytes32) {
        return
            keccak256(
                abi.encode(
                    BLOCK,
                    block_.parent,
                    height,
                    block_.taskId,
                    block_.winner,
                    block_.modelRoot,
                    keccak256(block_.modelCid),
                    block_.correct,
                    block_.total,
                    block_.time
                )
            );
    }
}
