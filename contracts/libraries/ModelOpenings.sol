// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";

import {IPredictionDisputes} from "../interfaces/IDisputes.sol";
import {Hashing} from "./Hashing.sol";
import {Networks} from "./Networks.sol";

/// @title Openings under a model's root
/// @notice docs/bytes.md, "unit" and "modelRoot". All revert where something is not what it is to open.
library ModelOpenings {
    /// @notice Reverts unless the opening is that of the model's root.
    function verify(IPredictionDisputes.ModelOpening calldata model, bytes32 modelRoot) internal pure {
        bytes32 arch = Networks.hash(model.architecture);
        checkHash(keccak256(abi.encode(Hashing.MODEL, arch, model.units, model.unitsRoot)), modelRoot);
    }

    /// @notice Reverts unless the unit stands under the model's root as this one of this layer.
    function verifyLeaf(
        IPredictionDisputes.ModelOpening calldata model,
        uint32 layer,
        uint32 index,
        IPredictionDisputes.UnitOpening calldata unit
    ) internal pure {
        bytes32 leaf = keccak256(abi.encode(Hashing.UNIT, layer, index, unit.bias, unit.rows));
        if (!MerkleProof.verifyCalldata(unit.siblings, model.unitsRoot, leaf)) {
            revert IPredictionDisputes.HashMismatch();
        }
    }

    /// @notice Reverts unless the unit's weights are those of `count` kernel rows from `first` on, of `size` bytes each.
    function verifyRows(
        IPredictionDisputes.UnitOpening calldata unit,
        uint256 first,
        uint256 count,
        uint256 size
    ) internal pure {
        checkLength(unit.weights.length, count * size);
        for (uint256 i = 0; i < count; ++i) {
            checkHash(keccak256(unit.weights[i * size:(i + 1) * size]), unit.rows[first + i]);
        }
    }

    function checkHash(bytes32 given, bytes32 wanted) internal pure {
        if (given != wanted) revert IPredictionDisputes.HashMismatch();
    }

    function checkLength(uint256 given, uint256 wanted) internal pure {
        if (given != wanted) revert IPredictionDisputes.WrongLength(given, wanted);
    }
}
