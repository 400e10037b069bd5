/** A task that a pool has won, as the chain's events tell it, and the shares file of its split: true unless altered. */
import { keccak256, stringToBytes } from "viem";

import { auditCommitment } from "../../../offchain/pool/audit-draw.ts";
import type {
  FetchedFile,
  PoolEvent,
  PoolFacts,
  RegistryEvent,
  TaskFacts,
} from "../../../offchain/pool/explain-facts.ts";
import {
  createScheme,
  creditedWork,
  leaseWork,
  pointsByMiner,
  schemeIdOf,
  type SchemeTerms,
} from "../../../offchain/pool/points-schemes.ts";
import { buildPointsTree, feeOf, paymentOf } from "../../../offchain/pool/points-tree.ts";
import { encodeSharesFile, type ListedShare, type SharesFile } from "../../../offchain/pool/shares-file.ts";
import {
  digestOf,
  shareData,
  shareReceiptData,
  type PoolIdentity,
  type Signer,
} from "../../../offchain/pool/signatures.ts";
import { BURN_REASONS, CREDIT_REASONS, ELIMINATIONS } from "../../../offchain/protocol/abi.ts";
import type { Address, Hex } from "../../../offchain/protocol/bytes.ts";
import type { Space, Template } from "../../../offchain/protocol/architecture.ts";
import { createRandom } from "../../../offchain/protocol/random.ts";
import { sampleArchitecture } from "../../../offchain/search/spaces.ts";
import { DESCRIPTOR, RECEIPT_KEY, signerOf } from "./world.ts";

export const TOKEN = 10n ** 18n;
export const TASK = 3n;
export const POOL: Address = "0x00000000000000000000000000000000DeaDBeef";
export const REGISTRY: Address = "0x0000000000000000000000000000000000001234";
export const [PUBLISHER, MANAGER, SOLO, SILENT_ONE, VALIDATOR_A, VALIDATOR_B] = [50, 51, 52, 53, 54, 55].map(
  (n) => signerOf(n).address,
) as [Address, Address, Address, Address, Address, Address];
export const MINERS = [signerOf(1), signerOf(2), signerOf(3)];
export const IDENTITY: PoolIdentity = { chainId: 31337n, pool: POOL };
export const TEST_COUNT = 64;
export const DESCRIBED = { classes: DESCRIPTOR.template.classes, trainCount: DESCRIPTOR.trainCount };
const CID: Hex = "0x01551220aa";

type Names = RegistryEvent["name"] | PoolEvent["name"];
let clock = 0;

/** One event, each in a transaction of its own unless one is named. */
function event(name: Names, args: Record<string, unknown>, transaction?: string): never {
  clock += 1;
  const hash = keccak256(stringToBytes(transaction ?? `transaction ${clock}`));
  return { name, args, block: BigInt(100 + clock), index: clock, transaction: hash } as never;
}

export function credited(
  account: Address,
  amount: bigint,
  reason: (typeof CREDIT_REASONS)[number],
  transaction?: string,
): never {
  return event("Credited", { account, amount, reason: CREDIT_REASONS.indexOf(reason), taskId: TASK }, transaction);
}

function burned(amount: bigint, reason: (typeof BURN_REASONS)[number]): never {
  return event("Burned", { amount, reason: BURN_REASONS.indexOf(reason), taskId: TASK });
}

export { event };

export const TERMS = {
  reward: 100n * TOKEN + 1n,
  publisherBond: 10n * TOKEN + 1n,
  commitBond: TOKEN,
  commitFee: 7n,
  candidateBond: 5n * TOKEN + 1n,
  validatorFee: 3n * TOKEN,
} as const;
export const FEE_BPS = 333;

/** Who committed: the pool, a solo miner whose claim is false, and one that never opens. */
export function confirmedTask(changes: Partial<TaskFacts> = {}): TaskFacts {
  const participants = [POOL, SOLO, SILENT_ONE];
  const pot = TERMS.validatorFee + TERMS.candidateBond / 2n;
  const [stakeA, stakeB] = [1000n * TOKEN, 500n * TOKEN + 3n];
  const first = (pot * stakeB) / (stakeA + stakeB);
  const events: RegistryEvent[] = [
    event("TaskPublished", { taskId: TASK, publisher: PUBLISHER, reward: TERMS.reward, descriptorCid: CID }),
    ...participants.flatMap((participant, i) => [
      event("Committed", { taskId: TASK, participant, sequence: BigInt(i + 1), commitment: digest(`commitment ${i}`) }),
      burned(TERMS.commitFee, "CommitFee"),
    ]),
    event("KeyReleased", { taskId: TASK, key: digest("key") }),
    ...[POOL, SOLO].map((participant) =>
      event("Revealed", {
        taskId: TASK,
        participant,
        modelRoot: digest("model 2"),
        modelCid: CID,
        claimedCorrect: 40,
        candidate: true,
      }),
    ),
    burned(TERMS.commitBond, "UnrevealedBonds"),
    event("ExaminationBegun", { taskId: TASK, participant: SOLO, sealDeadline: 1, openDeadline: 2 }),
    event("CandidateEliminated", {
      taskId: TASK,
      participant: SOLO,
      reason: ELIMINATIONS.indexOf("FalseClaim"),
      slashed: TERMS.candidateBond,
    }),
    burned(TERMS.candidateBond - TERMS.candidateBond / 2n, "CandidateBond"),
    event("ExaminationBegun", { taskId: TASK, participant: POOL, sealDeadline: 3, openDeadline: 4 }),
    event("Attested", { taskId: TASK, participant: POOL, validator: VALIDATOR_A, stake: stakeA }),
    event("Attested", { taskId: TASK, participant: POOL, validator: VALIDATOR_B, stake: stakeB }),
    event(
      "BlockConfirmed",
      {
        height: 1n,
        taskId: TASK,
        winner: POOL,
        hash: digest("block"),
        parent: digest("parent"),
        modelRoot: digest("model 2"),
        modelCid: CID,
        correct: 40,
        total: TEST_COUNT,
      },
      "confirm",
    ),
    credited(POOL, TERMS.reward, "Reward", "confirm"),
    credited(PUBLISHER, TERMS.publisherBond, "PublisherBond", "confirm"),
    event("Settled", { taskId: TASK, participant: POOL }, "collect"),
    credited(POOL, TERMS.commitBond, "CommitBond", "collect"),
    credited(POOL, TERMS.candidateBond, "CandidateBond", "collect"),
    credited(VALIDATOR_B, first, "ValidatorFee"),
    credited(VALIDATOR_A, pot - first, "ValidatorFee"),
    event("Settled", { taskId: TASK, participant: SOLO }, "settle"),
    credited(SOLO, TERMS.commitBond, "CommitBond", "settle"),
  ];
  return {
    chainId: 31337n,
    registry: REGISTRY,
    taskId: TASK,
    at: 1000n,
    phase: "Confirmed",
    voidReason: "NotVoid",
    publisher: PUBLISHER,
    testCount: TEST_COUNT,
    ...TERMS,
    events,
    pools: [],
    ...changes,
  };
}

export function digest(text: string): Hex {
  return keccak256(stringToBytes(text));
}

export interface ListedTrial {
  readonly miner: Signer;
  readonly kind: "explore" | "exploit";
  /** lease of the parent; leases are numbered from 11 */
  readonly parent: number | null;
  readonly modelRoot: Hex;
  readonly testCorrect: number;
  /** of the validation split's 30 */
  readonly correct: number;
}

/** A shares file of accepted trials, everything signed, and its points counted. */
export async function writeFile(options: {
  readonly identity: PoolIdentity;
  readonly taskId: bigint;
  readonly receiptKey: Signer;
  readonly terms: SchemeTerms;
  readonly template: Template;
  readonly space: Space;
  readonly trainCount: number;
  readonly testCount: number;
  readonly trials: readonly ListedTrial[];
}): Promise<SharesFile> {
  const { identity, taskId, receiptKey, terms, template, space, trainCount, testCount, trials } = options;
  const secret = digest("secret of the audits");
  const random = createRandom("shares of a won task");
  const shares: ListedShare[] = [];
  for (const [i, { miner, kind, parent, modelRoot, testCorrect, correct }] of trials.entries()) {
    const lease = 11 + i;
    const share = {
      taskId,
      lease,
      architecture: sampleArchitecture(template, space, random),
      seed: i,
      epochs: 3,
      trainLoss: [1.5, null],
      validation: { correct, total: 30 },
      seconds: 1,
      flops: 1e9,
      modelRoot,
    };
    const data = shareData(identity, share);
    const before = shares.find((listed) => listed.lease === parent);
    const done = leaseWork(share.architecture, share.epochs, trainCount);
    const accepted = { taskId, miner: miner.address, lease, modelRoot, share: digestOf(data) };
    shares.push({
      number: 100 + i,
      taskId,
      miner: miner.address,
      lease,
      kind,
      parent,
      parentCorrect: before?.share.validation.correct ?? null,
      modelRoot,
      share,
      signature: await miner.sign(data),
      receipt: await receiptKey.sign(shareReceiptData(identity, accepted)),
      epochs: 3,
      work: creditedWork(done, correct, before?.share.validation.correct ?? null),
      chance: 1_000_000,
      audit: "passed",
      voided: false,
      reason: null,
      testCorrect,
      baseline: before?.testCorrect ?? Math.ceil(testCount / template.classes),
      points: 0n,
    });
  }
  return counted({
    format: "ponas shares 2",
    chainId: identity.chainId,
    pool: identity.pool,
    taskId,
    receiptKey: receiptKey.address,
    scheme: terms,
    schemeText: createScheme(terms).text,
    root: digest("not known yet"),
    total: 0n,
    points: [],
    tasks: [
      {
        taskId,
        trainCount,
        classes: template.classes,
        testCount,
        audit: { rate: 100_000, secret, commitment: auditCommitment(secret) },
      },
    ],
    shares,
  });
}

/** Trials of three miners: explore, exploit of the first, and one that is worth nothing. */
export function sharesFile(terms: SchemeTerms = { name: "performance" }): Promise<SharesFile> {
  const [ada, ben, cat] = MINERS as [Signer, Signer, Signer];
  const { template, space, trainCount } = DESCRIPTOR;
  return writeFile({
    identity: IDENTITY,
    taskId: TASK,
    receiptKey: RECEIPT_KEY,
    terms,
    template,
    space,
    trainCount,
    testCount: TEST_COUNT,
    trials: [
      { miner: ada, kind: "explore", parent: null, modelRoot: digest("model 1"), testCorrect: 35, correct: 12 },
      { miner: ben, kind: "exploit", parent: 11, modelRoot: digest("model 2"), testCorrect: 40, correct: 15 },
      { miner: ben, kind: "explore", parent: null, modelRoot: digest("model 3"), testCorrect: 30, correct: 10 },
      { miner: cat, kind: "explore", parent: null, modelRoot: digest("model 4"), testCorrect: 3, correct: 1 },
    ],
  });
}

/** The file with its points, its list and its root as they follow from its shares. */
export function counted(file: SharesFile): SharesFile {
  const points = createScheme(file.scheme).score(file.shares);
  return listed({ ...file, shares: file.shares.map((share, i) => ({ ...share, points: points[i]! })) });
}

/** The file with its list and its root as they follow from the points that its shares are said to have. */
export function listed(file: SharesFile): SharesFile {
  const leaves = pointsByMiner(
    file.shares,
    file.shares.map(({ points }) => points),
  );
  const tree = buildPointsTree(leaves);
  return { ...file, root: tree.root, total: tree.sum, points: leaves.map((leaf) => ({ ...leaf })) };
}

/** What the pool's contract does with a split whose list is the file's: it believes the tree. */
export function poolOf(
  file: SharesFile,
  changes: { claimed?: boolean; feeBps?: number } & Partial<PoolFacts> = {},
): PoolFacts {
  const { claimed = true, feeBps = FEE_BPS, ...rest } = changes;
  const tree = buildPointsTree(file.points);
  const fee = feeOf(TERMS.reward, feeBps);
  const shared = TERMS.reward - fee;
  let pre = 0n;
  const claims = tree.leaves.flatMap(({ account, points }, index) => {
    const amount = paymentOf(shared, tree.sum, pre, points);
    pre += points;
    const transaction = `claim ${index} ${tree.root}`;
    return [
      credited(account, amount, "PoolShare", transaction),
      event("Claimed", { taskId: TASK, index, miner: account, points, amount }, transaction),
    ];
  });
  const { root, depth, count, sum } = tree;
  return {
    pool: POOL,
    manager: MANAGER,
    schemeId: schemeIdOf(file.scheme),
    phase: "Claims",
    deadline: 0,
    objectionWindow: 60,
    adopted: null,
    ...rest,
    events: rest.events ?? [
      event("TaskEntered", { taskId: TASK, feeBps, receiptKey: RECEIPT_KEY.address }),
      event(
        "Collected",
        { taskId: TASK, bonds: TERMS.commitBond + TERMS.candidateBond, reward: TERMS.reward },
        "collect",
      ),
      event("SplitPosted", { taskId: TASK, root, depth, count, sum, sharesCid: CID }),
      ...(claimed ? [credited(MANAGER, fee, "PoolFee"), ...claims] : []),
    ],
  };
}

export function fileOf(file: SharesFile): Map<Hex, FetchedFile> {
  return new Map([[CID, { bytes: encodeSharesFile(file) }]]);
}
