// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IPredictionDisputes} from "./IDisputes.sol";

/// @title Disputes over a candidate's model
/// @notice Two things can be wrong with a model beside its predictions (docs/protocol.md, "Disputes"): what its root
/// binds is no well-formed model of the task, which the chain sees from an opening at once; or its parts are kept back,
/// which shows where somebody demands them and nobody publishes them in time.
///
/// **Whom a refutation can slash.** A claimant can lose a dispute on purpose: by silence, or by a lying trace of a true
/// prediction. Neither shows that the validators that sealed its result were wrong, and if they were slashed for it, a
/// claimant could take honest validators' stake for one candidate's bond. So the refutation itself slashes nobody; but it
/// lets everybody challenge their seals ({IPredictionDisputes-challengeSeal}), and then they answer for themselves. A
/// malformed model needs no game: its true result is the zero result whatever its claimant does, so every other seal on it
/// is false, and its validators lose their stake. That may be shown of a candidate that was refuted otherwise as well, or
/// a friend's refutation would save them.
interface IModelDisputes {
    // ————— Types —————

    /// @notice Why a model is malformed (docs/evaluation.md, "Well-formed").
    enum Malformation {
        /// it is not
        None,
        /// a size, a number of bits or a tile is out of its range, or the tiling is not one of these layers
        Ranges,
        /// it reads other samples or tells other classes than the task's test set has
        Input,
        /// a hyperparameter is not in the task's list
        Space,
        /// depth or head are not those of the task
        Template,
        /// its root binds another number of units than its layers have
        Units,
        /// a unit reads more than 16,384 values
        FanIn,
        /// no tiling shows that it keeps within the task's hardware bounds
        Hardware,
        /// a unit has another number or length of kernel rows than its layer, or a weight out of the range of its bits
        Unit,
        /// a unit's accumulator could reach 2^31
        Bound
    }

    /// @notice What the task's space hash binds: lists and template (docs/bytes.md, "space").
    struct SpaceOpening {
        /// the ten lists, in the order of an architecture's hyperparameters
        uint16[][] lists;
        uint16 depth;
        uint8 pool;
        uint16 hidden;
        uint8 hiddenIntBits;
        uint8 hiddenFracBits;
    }

    /// @notice What the task's test root binds beside the number of samples.
    struct TestOpening {
        uint16 height;
        uint16 width;
        uint16 channels;
        uint16 classes;
        bytes32 labels;
        bytes32 samplesRoot;
    }

    /// @notice Where a demand stands.
    enum DemandStage {
        None,
        /// more demands of this candidate run than may at once; no clock runs
        Queued,
        /// what it asks for must be published before its deadline
        Open,
        /// it was published, or there is no such unit
        Answered,
        /// it was not: the candidate is refuted
        Failed,
        /// the candidate was refuted otherwise; the price went back
        Moot
    }

    /// @notice A demand that a part of the candidate's model be published.
    struct Demand {
        uint64 taskId;
        address participant;
        address challenger;
        DemandStage stage;
        /// number of a linear layer in the hashes of units; {OPENING} for what the model's root binds itself
        uint32 layer;
        /// the unit's number in its layer; 0 for {OPENING}
        uint32 index;
        /// the second at which the candidate loses; 0 while no clock runs
        uint40 deadline;
    }

    // ————— Events —————

    /// @notice The chain saw that the candidate's model is malformed.
    event ModelRefuted(
        uint256 indexed taskId,
        address indexed participant,
        address indexed refuter,
        Malformation malformation
    );
    event Demanded(
        uint256 indexed demandId,
        uint256 indexed taskId,
        address indexed participant,
        address challenger,
        uint32 layer,
        uint32 index
    );
    /// @param deadline of an open demand; 0 otherwise
    event DemandMoved(uint256 indexed demandId, DemandStage stage, uint40 deadline);
    /// @notice What the model's root binds, for everybody to see.
    event ModelShown(uint256 indexed demandId, IPredictionDisputes.ModelOpening model);
    /// @notice A unit with all its weights, for everybody to see.
    event UnitShown(uint256 indexed demandId, IPredictionDisputes.UnitOpening unit);
    event ValidatorSlashed(
        uint256 indexed taskId,
        address indexed participant,
        address indexed validator,
        uint256 amount
    );

    // ————— Errors —————

    /// @notice The chain finds nothing wrong with what was shown.
    error NotMalformed();
    /// @notice The layer or the unit does not exist in the opened architecture.
    error NoSuchUnit(uint32 layer, uint32 index);
    /// @notice The part was demanded before: what was published then is in the log.
    error AlreadyDemanded(uint256 demandId);
    /// @notice The call does not belong to the stage that the demand is in.
    error WrongDemandStage(uint256 demandId, DemandStage actual);
    /// @notice The demand's clock runs until `deadline`.
    error DemandRunning(uint256 demandId, uint40 deadline);
    /// @notice The demand's clock ran out at `deadline`.
    error DemandOver(uint256 demandId, uint40 deadline);
    /// @notice The candidate's model was not shown to be malformed, or the validator made no false seal on it, or none
    /// of its stake is left, or it lost it for this seal before, here or by a challenge.
    error NotSlashable(uint256 taskId, address participant, address validator);

    // ————— Malformed models —————

    /// @notice Refutes the examined, opened candidate at once where its architecture is none that the task allows. No
    /// bond, no game: an opening under the model's root is all that it takes. Whoever copies the call ahead of its
    /// sender takes the refuter's part; the candidate falls either way. Of a candidate that was refuted otherwise it is
    /// taken as long as the seals on it can be challenged, and lets {slashValidator} do its part.
    /// @param space under the task's space hash
    /// @param test under the task's test root
    function showMalformedArchitecture(
        uint256 taskId,
        address participant,
        IPredictionDisputes.ModelOpening calldata model,
        SpaceOpening calldata space,
        TestOpening calldata test
    ) external;

    /// @notice The same for one of its units.
    /// @param layer number of its layer in the hashes of units
    /// @param unit all its kernel rows in `weights`
    function showMalformedUnit(
        uint256 taskId,
        address participant,
        IPredictionDisputes.ModelOpening calldata model,
        uint32 layer,
        uint32 index,
        IPredictionDisputes.UnitOpening calldata unit
    ) external;

    // ————— Availability —————

    /// @notice Demands that a part of the examined, opened candidate's model be published on chain: before its window
    /// ends, or within an answer period after {OPENING} was answered, and each part once, for everybody sees what is
    /// published. Pulls {demandPrice} from the caller.
    /// @param layer number of a linear layer, or {OPENING}
    /// @param index of a unit in it
    function demand(uint256 taskId, uint32 layer, uint32 index) external returns (uint256 demandId);

    /// @notice Publishes what the model's root binds. Anyone who has it may; half the price is the claimant's, half is
    /// burned, so that filling the queue by friends costs.
    function answerModel(uint256 demandId, IPredictionDisputes.ModelOpening calldata model) external;

    /// @notice Publishes a unit with all its kernel rows; where the opened architecture has no such unit, the model's
    /// opening alone answers and `unit` is not read.
    function answerUnit(
        uint256 demandId,
        IPredictionDisputes.ModelOpening calldata model,
        IPredictionDisputes.UnitOpening calldata unit
    ) external;

    /// @notice What time and other disputes have made of a demand: gives the price back where the candidate has been
    /// refuted, starts the clock of a queued one for which there is room, and refutes the candidate, in the
    /// challenger's favour, where the clock has run out. Anyone may call.
    function expireDemand(uint256 demandId) external;

    // ————— Validators —————

    /// @notice Takes the whole stake, active and unbonding, of a validator whose seal on a model that was shown to be
    /// malformed is any but that of the zero result: half is the refuter's, half is burned. Anyone may call. What was
    /// unbonded before is out of reach, and the seals and votes that it has made weigh what they did.
    function slashValidator(uint256 taskId, address participant, address validator) external;

    // ————— Views —————

    /// @notice The layer of a demand for what the model's root binds itself.
    // solhint-disable-next-line func-name-mixedcase
    function OPENING() external view returns (uint32);

    function demandOf(uint256 demandId) external view returns (Demand memory);

    function demandCount() external view returns (uint256);

    /// @notice Demands of a candidate that are not decided, queued ones included.
    function openDemands(uint256 taskId, address participant) external view returns (uint256);

    /// @notice Units of the asset that a demand costs; at least what it costs to publish a unit.
    function demandPrice() external view returns (uint256);
}
