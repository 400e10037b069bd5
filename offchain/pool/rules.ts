/** What a pool decides for itself. */
export interface PoolRules {
  /** a lease whose miner is not heard of for so long may be handed to another */
  readonly heartbeatMs: number;
  /** no lease ends earlier than this after it was issued, heartbeats given */
  readonly minLeaseMs: number;
  /** a lease ends after so many times its expected duration */
  readonly leaseSlack: number;
  /** how often one trial is handed out before it is given up */
  readonly maxAttempts: number;
  /** random subspaces that strong miners explore (paper's Algorithm 1); 0: everyone explores the whole space */
  readonly subspaces: number;
  /** trials a miner must be able to finish within the task to be strong: the budget of a subspace */
  readonly strongTrials: number;
  /** of exploit trials, the part that changes one choice of the parent instead of going on from its weights */
  readonly neighbourShare: number;
  /** an exploit trial that goes on from its parent's weights uses the learning rate divided by this */
  readonly exploitRateDivisor: number;
  /** shortest time between two checkpoints of a trial in progress, which whoever goes on with it starts from; 0: none */
  readonly checkpointMs: number;
  /** how long a miner may take to hand over one model */
  readonly modelTimeoutMs: number;
  /** how long the end of a task waits for shares that are being judged */
  readonly closeGraceMs: number;
  /** how long a connection may take to authorise itself */
  readonly challengeMs: number;
  /** messages against the protocol before a connection is ended */
  readonly maxOffences: number;
  readonly maxSessionsPerMiner: number;
}

export const DEFAULT_RULES: PoolRules = {
  heartbeatMs: 30_000,
  minLeaseMs: 120_000,
  leaseSlack: 4,
  maxAttempts: 3,
  subspaces: 0,
  strongTrials: 4,
  neighbourShare: 1 / 3,
  exploitRateDivisor: 3,
  checkpointMs: 30_000,
  modelTimeoutMs: 60_000,
  closeGraceMs: 5_000,
  challengeMs: 30_000,
  maxOffences: 10,
  maxSessionsPerMiner: 16,
};
