/**
 * The auditor: re-derives every payment of every task from chain and IPFS, keeps what it found with its evidence, and
 * says so where something does not follow. It holds no key and sends nothing. Level-triggered: what it does follows from
 * the chain and its folder alone, so that it can be killed and started again at any time.
 */
import { z } from "zod";

import type { FetchedFile, TaskFacts } from "../pool/explain-facts.ts";
import { accountsOf, explainAccount, type TaskExplanation } from "../pool/explain.ts";
import { createSerial } from "../pool/serial.ts";
import { PHASES, taskRegistryAbi } from "../protocol/abi.ts";
import { keccak256, type Address, type Hex } from "../protocol/bytes.ts";
import type { ChainClient } from "../protocol/chain-client.ts";
import type { Log } from "../protocol/log.ts";
import { cidOf } from "../storage/cid.ts";
import { createFollowed, runDuties, type Duty } from "./duties.ts";
import type { StateFolder } from "./state-folder.ts";
import { explainFromChain, type ExplainOptions } from "./task-facts.ts";

export interface AuditorOptions extends ExplainOptions {
  readonly state: StateFolder;
  /** only tasks that one of these pools has committed to; every task where none are named */
  readonly pools: readonly Address[];
  readonly log: Log;
}

/** What stands in the folder of one audited task, `audits/TASK.json`. */
const auditSchema = z.looseObject({
  /** of everything on chain that the audit follows from */
  fingerprint: z.string(),
  /** nothing of the task will change any more */
  settled: z.boolean(),
  disagreements: z.array(z.looseObject({ message: z.string() })),
  earlier: z.array(z.unknown()),
});

/** The outcome of one look at a task. */
export interface Audit {
  readonly taskId: bigint;
  readonly explanation: TaskExplanation;
  readonly settled: boolean;
  /** where the evidence lies: the file of the audit */
  readonly evidence: string;
}

/** So many tasks are looked at side by side: a file that does not arrive holds up a part of them, not all. */
const LANES = 4;
/** Chain seconds until a task on which nothing hangs is looked at again: doubled from the first to the last. */
const FIRST_WAIT = 4n;
const LAST_WAIT = 600n;

/** Audits at every head until the signal fires. */
export async function runAuditor(options: AuditorOptions): Promise<void> {
  const { chain, state, log, signal } = options;
  const lanes = Array.from({ length: LANES }, () => createSerial());
  const followed = createFollowed({
    dutiesFor: (id) => {
      const follow = auditDuty(id, options);
      return [{ ...follow, run: (head) => lanes[Number(id % BigInt(LANES))]!(() => follow.run(head)) }];
    },
    log,
    signal,
  });
  let seen = 0n;
  const watch: Duty = {
    name: "watch tasks",
    run: async () => {
      const count = await taskCount(chain);
      for (; seen < count; seen++) if (readAudit(state, seen + 1n)?.settled !== true) followed.follow(seen + 1n);
    },
  };
  await runDuties({ chain, log, signal, duties: [watch], followed });
}

/**
 * Audits every task as it stands, one after another, whatever the folder says of it already.
 * @returns those with something to say: ended, and of the given pools where some are given
 */
export async function auditOnce(options: AuditorOptions): Promise<Audit[]> {
  const count = await taskCount(options.chain);
  const audits: Audit[] = [];
  for (let id = 1n; id <= count; id++) {
    if (!(await hasEnded(options.chain, id))) continue;
    const audit = await auditTask(id, options);
    if (audit !== null) audits.push(audit);
  }
  return audits;
}

function taskCount(chain: ChainClient): Promise<bigint> {
  return chain.read({ abi: taskRegistryAbi, address: chain.deployment.registry, functionName: "taskCount", args: [] });
}

async function hasEnded(chain: ChainClient, taskId: bigint): Promise<boolean> {
  const at = { abi: taskRegistryAbi, address: chain.deployment.registry } as const;
  const phase = PHASES[await chain.read({ ...at, functionName: "phaseOf", args: [taskId] })]!;
  return phase === "Confirmed" || phase === "Void";
}

/** The duty that audits one task whenever something of it has changed, until nothing can. */
function auditDuty(taskId: bigint, options: AuditorOptions): Duty {
  let notBefore = 0n;
  let wait = FIRST_WAIT;
  let last = "";
  return {
    name: `audit task ${taskId}`,
    run: async ({ timestamp }) => {
      if (timestamp < notBefore) return false;
      if (!(await hasEnded(options.chain, taskId))) return false;
      const audit = await auditTask(taskId, options);
      if (audit === null || audit.settled) return true;
      // Where a window is open in which others can act, every head counts; else a task that rests is left alone longer.
      const { fingerprint } = readAudit(options.state, taskId)!;
      wait = fingerprint !== last ? FIRST_WAIT : wait * 2n < LAST_WAIT ? wait * 2n : LAST_WAIT;
      notBefore = audit.urgent ? 0n : timestamp + wait;
      last = fingerprint;
      return false;
    },
  };
}

/** One look at one task; null where it is none of the given pools'. */
async function auditTask(taskId: bigint, options: AuditorOptions): Promise<(Audit & { urgent: boolean }) | null> {
  const { state, pools, log } = options;
  const known = await readFiles(state, taskId);
  const { facts, explanation, files, missing } = await explainFromChain(taskId, options, known);
  if (pools.length > 0 && !facts.pools.some(({ pool }) => pools.includes(pool))) return null;
  const settled = isSettled(facts, explanation) && missing.length === 0;
  const urgent = facts.pools.some(({ phase }) => URGENT.has(phase));
  const name = `audits/${taskId}.json`;
  const evidence = `${state.path}/${name}`;
  const before = readAudit(state, taskId);
  const fingerprint = fingerprintOf(facts, files, missing);
  if (before?.fingerprint === fingerprint) return { taskId, explanation, settled, evidence, urgent };

  for (const [cid, file] of files) {
    if ("bytes" in file && !known.has(cid)) state.writeBytes(`files/${taskId}/${cid}`, file.bytes);
  }
  const messages = new Set(explanation.disagreements.map(({ message }) => message));
  const reported = new Set(before?.disagreements.map(({ message }) => message));
  const gone = (before?.disagreements ?? []).filter(({ message }) => !messages.has(message));
  const accounts = accountsOf(explanation).map((account) => ({
    account,
    total: explainAccount(explanation, account).total,
  }));
  const audit = {
    fingerprint,
    settled,
    ...explanation,
    accounts,
    earlier: [...(before?.earlier ?? []), ...gone],
    facts,
  };
  // Written before it is said: who reads the log finds the evidence.
  state.write(
    name,
    JSON.parse(JSON.stringify(audit, (_key, value: unknown) => (typeof value === "bigint" ? value.toString() : value))),
  );
  for (const disagreement of explanation.disagreements) {
    const { kind, account, pool, message, remedy } = disagreement;
    if (reported.has(message)) continue;
    log.error(
      { event: "disagreement", taskId: String(taskId), kind, account, pool, remedy, evidence },
      remedy === null ? message : `${message} What can be done: ${remedy}.`,
    );
  }
  for (const { message } of gone) {
    log.info({ event: "agreement", taskId: String(taskId), evidence }, `no longer so: ${message}`);
  }
  const { parts, disagreements } = explanation;
  log.info(
    { event: "audit", taskId: String(taskId), payments: parts.length, disagreements: disagreements.length, settled },
    `task ${taskId}: ${parts.length} payments re-derived, ${disagreements.length} disagreements${settled ? ", settled" : ""}`,
  );
  return { taskId, explanation, settled, evidence, urgent };
}

/** Phases in which a call of somebody's can still change who is paid what, or in which one is due any moment. */
const URGENT: ReadonlySet<string> = new Set(["AwaitSplit", "Objection", "Answering", "Fallen"]);
const AT_REST: ReadonlySet<string> = new Set(["None", "Committed", "Claims", "ReceiptClaims", "Closed"]);

/** True where everything that anybody gets of the task has been credited. */
function isSettled({ pools, events }: TaskFacts, { parts }: TaskExplanation): boolean {
  const winner = events.find((event) => event.name === "BlockConfirmed")?.args.winner;
  const rests = ({ pool, phase }: TaskFacts["pools"][number]): boolean =>
    AT_REST.has(phase) && !(pool === winner && phase === "Committed");
  return parts.every(({ status }) => status === "credited") && pools.every(rests);
}

/** Changes with anything that an audit follows from. */
function fingerprintOf(
  { phase, events, pools }: TaskFacts,
  files: ReadonlyMap<Hex, FetchedFile>,
  missing: readonly string[],
): string {
  const ofEvents = (list: readonly { transaction: Hex; index: number }[]): string[] =>
    list.map(({ transaction, index }) => `${transaction} ${index}`);
  const ofPools = pools.map(({ pool, phase: split, events: list }) => [pool, split, ...ofEvents(list)]);
  return keccak256(Buffer.from(JSON.stringify([phase, ofEvents(events), ofPools, [...files.keys()], missing]), "utf8"));
}

function readAudit(state: StateFolder, taskId: bigint): z.infer<typeof auditSchema> | undefined {
  return state.read(`audits/${taskId}.json`, auditSchema);
}

/** Files that were fetched before, each checked against its CID anew: the folder may have been touched. */
async function readFiles(state: StateFolder, taskId: bigint): Promise<Map<Hex, FetchedFile>> {
  const files = new Map<Hex, FetchedFile>();
  for (const name of state.list(`files/${taskId}`)) {
    const bytes = state.readBytes(`files/${taskId}/${name}`);
    if (bytes === undefined) continue;
    const cid = await cidOf(bytes);
    if (`0x${Buffer.from(cid.bytes).toString("hex")}` === name) files.set(name as Hex, { bytes });
  }
  return files;
}
