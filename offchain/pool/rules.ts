import type { PartitionRule } from "./parts.ts";

/** What a pool decides for itself. */
export interface PoolRules {
  /** a lease whose miner is not heard of for so long may be handed to another */
  readonly heartbeatMs: number;
  /** a miner whose link has ended, and who is not back after so long, has left its part to others; its trial is still its own */
  readonly lingerMs: number;
  /** no lease ends earlier than this after it was issued, heartbeats given */
  readonly minLeaseMs: number;
  /** a lease ends after so many times its expected duration */
  readonly leaseSlack: number;
  /** how often one trial is handed out before it is given up */
  readonly maxAttempts: number;
  /** how the space is divided among strong miners; by default Algorithm 1 where `subspaces` are asked for, else not */
  readonly partition?: PartitionRule;
  /** parts that a task begins with; 0: one for every strong miner that is there, and more as more come */
  readonly subspaces: number;
  /** `adaptive`: trials in a part before it is split, or its holder moved, for what was found; 1 or more */
  readonly resplitTrials: number;
  /** whether low-reward miners stand in for high-reward ones that leave, and left trials go on from checkpoints */
  readonly backups: boolean;
  /** trials a miner must be able to finish within the task to be strong: the budget of a subspace */
  readonly strongTrials: number;
  /** of exploit trials, the part that changes one choice of the parent instead of going on from its weights */
  readonly neighbourShare: number;
  /** of exploit trials, the part that trains the parent's architecture afresh, from another seed and at another rate */
  readonly reseedShare: number;
  /** of exploit trials, the part that goes on from the parent's weights for twice the epochs, where time allows */
  readonly longerShare: number;
  /** an exploit trial that goes on from its parent's weights uses the learning rate divided by this */
  readonly exploitRateDivisor: number;
  /** shortest time between two checkpoints of a trial in progress, which whoever goes on with it starts from; 0: none */
  readonly checkpointMs: number;
  /** least chance, 0 … 1, with which a share that claims no new best is audited; see `auditChance` for why a tenth */
  readonly auditRate: number;
  /** drawn models that a miner says it does not have, in one task, before it is banned */
  readonly maxMissing: number;
  /** models a second, 0 or more, that are fetched while a task is worked on, beside drawn ones; the rest come after it */
  readonly collectPerSecond: number;
  /** how often models to be audited are looked for without news of any */
  readonly lookMs: number;
  /** how long models are waited for when points are counted */
  readonly handOverMs: number;
  /** how long a miner may take to hand over one model */
  readonly modelTimeoutMs: number;
  /** how long the end of a task waits for shares that are being judged */
  readonly closeGraceMs: number;
  /** shortest time from one writing of shares to the next, which thus costs less a share; jobs and models wait longer */
  readonly paceMs: number;
  /** how long a connection may take to authorise itself */
  readonly challengeMs: number;
  /** messages against the protocol before a connection is ended */
  readonly maxOffences: number;
  readonly maxSessionsPerMiner: number;
  /** requests a second that one account may make for long, over all its links, and how many at once */
  readonly requestsPerSecond: number;
  readonly requestBurst: number;
  /** links of one account that end for its offences, within `shutOutMs`, before it is shut out for as long */
  readonly maxStrikes: number;
  readonly shutOutMs: number;
}

export const DEFAULT_RULES: PoolRules = {
  heartbeatMs: 30_000,
  lingerMs: 10_000,
  minLeaseMs: 120_000,
  leaseSlack: 4,
  maxAttempts: 3,
  subspaces: 0,
  resplitTrials: 8,
  backups: true,
  strongTrials: 4,
  neighbourShare: 1 / 3,
  reseedShare: 1 / 6,
  longerShare: 1 / 6,
  exploitRateDivisor: 3,
  checkpointMs: 30_000,
  auditRate: 0.1,
  maxMissing: 5,
  collectPerSecond: 2,
  lookMs: 1_000,
  handOverMs: 600_000,
  modelTimeoutMs: 60_000,
  closeGraceMs: 5_000,
  paceMs: 15,
  challengeMs: 30_000,
  maxOffences: 10,
  maxSessionsPerMiner: 16,
  requestsPerSecond: 20,
  requestBurst: 200,
  maxStrikes: 3,
  shutOutMs: 600_000,
};
