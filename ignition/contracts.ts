import type {
  ContractAtFuture,
  IgnitionModuleBuilder,
  NamedArtifactContractDeploymentFuture,
} from "@nomicfoundation/ignition-core";

const HOUR = 60 * 60;
const DAY = 24 * HOUR;
const NO_DISPUTES = "0x0000000000000000000000000000000000000000";
const UNIT = 10n ** 18n;

type Asset = NamedArtifactContractDeploymentFuture<string> | ContractAtFuture;

/**
 * Validators' stake, disputes, the task registry and the pools' factory on one asset.
 *
 * Parameters: `unbondingPeriod` in seconds (7 days); `quorumBps`, the part of all stake that is a quorum, in parts of
 * ten thousand, more than 5000 (6667); `challengeBond` (10^18) and `demandPrice` (10^17) in the asset's smallest unit,
 * at least three times what answering a challenge costs, and what publishing a unit of a model costs; `answerPeriod`,
 * the seconds for each move of a dispute (1 hour).
 */
export function deployOn(m: IgnitionModuleBuilder, asset: Asset) {
  const disputes = m.contract(
    "Disputes",
    [
      asset,
      m.getParameter("challengeBond", UNIT),
      m.getParameter("answerPeriod", HOUR),
      m.getParameter("demandPrice", UNIT / 10n),
    ],
    {
      libraries: {
        DisputeSteps: m.library("DisputeSteps"),
        Seals: m.library("Seals"),
        WellFormed: m.library("WellFormed"),
      },
    },
  );
  const contracts = deployRest(m, asset, disputes);
  m.call(disputes, "bind", [contracts.registry]);
  return { ...contracts, disputes };
}

/** The same without disputes: a deployment that trusts a quorum of its validators (see the registry's interface). */
export function deployWithoutDisputesOn(m: IgnitionModuleBuilder, asset: Asset) {
  return deployRest(m, asset, NO_DISPUTES);
}

function deployRest(
  m: IgnitionModuleBuilder,
  asset: Asset,
  disputes: NamedArtifactContractDeploymentFuture<string> | string,
) {
  const stake = m.contract("ValidatorStake", [asset, m.getParameter("unbondingPeriod", 7 * DAY)]);
  const libraries = { CandidateWalk: m.library("CandidateWalk"), TaskSteps: m.library("TaskSteps") };
  const terms = [asset, stake, disputes, m.getParameter("quorumBps", 6667)];
  const registry = m.contract("TaskRegistry", terms, { libraries });
  // Stake that is bound to no registry could still be bound to one that slashes as it likes.
  m.call(stake, "bind", [registry]);
  const poolImplementation = m.contract("Pool", [registry]);
  const poolFactory = m.contract("PoolFactory", [poolImplementation]);
  return { asset, stake, registry, poolImplementation, poolFactory };
}
