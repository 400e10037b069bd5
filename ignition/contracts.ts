import type {
  ContractAtFuture,
  IgnitionModuleBuilder,
  NamedArtifactContractDeploymentFuture,
} from "@nomicfoundation/ignition-core";

const DAY = 24 * 60 * 60;
const NO_DISPUTES = "0x0000000000000000000000000000000000000000";

/**
 * Validators' stake, the task registry (without disputes) and the pools' factory on one asset.
 *
 * Parameters: `unbondingPeriod` in seconds (7 days); `quorumBps`, the part of all stake that is a quorum, in parts of
 * ten thousand, more than 5000 (6667).
 */
export function deployOn<Asset extends NamedArtifactContractDeploymentFuture<string> | ContractAtFuture>(
  m: IgnitionModuleBuilder,
  asset: Asset,
) {
  const stake = m.contract("ValidatorStake", [asset, m.getParameter("unbondingPeriod", 7 * DAY)]);
  const libraries = { CandidateWalk: m.library("CandidateWalk"), TaskSteps: m.library("TaskSteps") };
  const terms = [asset, stake, NO_DISPUTES, m.getParameter("quorumBps", 6667)];
  const registry = m.contract("TaskRegistry", terms, { libraries });
  const poolImplementation = m.contract("Pool", [registry]);
  const poolFactory = m.contract("PoolFactory", [poolImplementation]);
  return { asset, stake, registry, poolImplementation, poolFactory };
}
