/**
 * A round in which one miner lies by a single prediction, with every role in a process of its own: how a challenger
 * finds it, how it is played out on chain, and who is paid. Nothing is faked but the claim.
 */
import { CID } from "multiformats/cid";

import { createDisputesContract } from "../../../agents/disputes-contract.ts";
import { createRegistry, type TaskState } from "../../../agents/registry.ts";
import { openStorage } from "../../../agents/storage.ts";
import { explainFromChain } from "../../../agents/task-facts.ts";
import { createTaskFiles } from "../../../agents/task-files.ts";
import { CREDIT_TEXTS } from "../../../pool/explain.ts";
import { disputesAbi, taskRegistryAbi } from "../../../protocol/abi.ts";
import { formatAmount } from "../../../protocol/amounts.ts";
import { ledgerBlockHash, type Address } from "../../../protocol/bytes.ts";
import type { ChainClient } from "../../../protocol/chain-client.ts";
import { PonasError } from "../../../protocol/errors.ts";
import { createLog } from "../../../protocol/log.ts";
import { sleep } from "../../../protocol/wait.ts";
import { createCheatCast, everyoneOfCheat, type CheatCast } from "../cast.ts";
import { freePorts, type LogRecord } from "../processes.ts";
import { checkOptions, reevaluate, untilEnd, type DemoOptions } from "../run.ts";
import { PONAS, publishArguments, raiseStage, withProcesses, type Backstage } from "../stage.ts";
import { BURN_TEXTS, readAccounts, type Accounts, type Entry } from "./accounts.ts";
import { formatGas, readMoves, type Move } from "./moves.ts";

export interface CheatOptions extends Omit<DemoOptions, "soloThrottle"> {
  /** script and arguments of a validator's process; `ponas validator run` unless given */
  readonly validator?: readonly string[];
  /** script of a second cheat, who claims with a model that the task does not allow; none unless given */
  readonly forger?: string;
}

export interface CheatSummary {
  readonly task: {
    readonly id: bigint;
    readonly phase: string;
    readonly reward: bigint;
    readonly candidateBond: bigint;
  };
  readonly liar: {
    readonly account: Address;
    readonly claimed: number;
    /** what its model makes, evaluated anew from IPFS */
    readonly correct: number;
    readonly total: number;
    readonly sample: number;
    readonly lost: boolean;
  };
  /** of the dispute, in their order */
  readonly moves: readonly (Move & { readonly name: string })[];
  readonly block: {
    readonly height: bigint;
    readonly winner: Address;
    readonly winnerRole: string;
    readonly modelCid: string;
    readonly correct: number;
    readonly total: number;
  };
  readonly accounts: Accounts;
}

/** Lengths of the phases in seconds, but for training: as short as two busy cores allow. */
const PHASES = {
  initialisation: 12,
  keyRelease: 40,
  testVote: 6,
  reveal: 18,
  seal: 18,
  open: 16,
  shortWindow: 24,
  longWindow: 30,
};
/** Seconds of each side for each of its moves; no short window may be shorter. */
const ANSWER_PERIOD = PHASES.shortWindow;
const COMMIT_MARGIN = 10;
/** The liar trains so many times as long as the task asks: nobody can prove how long a model was trained. */
const LIARS_EPOCHS = 5;
/** Share of the time that the honest miner uses: the lie is to be in the best claim, or nobody would have to look at it. */
const HONEST_THROTTLE = 0.4;

/** Plays the round. @throws PonasError where a process fails, the lie gets through, or a unit of money is missing */
export async function runCheat(options: CheatOptions): Promise<CheatSummary> {
  await checkOptions(options);
  const cast = createCheatCast({ forged: options.forger !== undefined });
  const onRecord = (record: LogRecord): void => options.onRecord({ ...record, msg: withNames(record.msg, cast) });
  const told = { ...options, onRecord };
  return withProcesses(told, (backstage) => playCheat(backstage, cast, { ...told, signal: backstage.signal }));
}

/** A text in which every actor has its name in its address's place. */
function withNames(text: string, cast: CheatCast): string {
  const named = new Map(everyoneOfCheat(cast).map(({ address, name }) => [address.toLowerCase(), name]));
  return text.replace(/0x[0-9a-fA-F]{40}(?![0-9a-fA-F])/g, (word) => named.get(word.toLowerCase()) ?? word);
}

async function playCheat(backstage: Backstage, cast: CheatCast, options: CheatOptions): Promise<CheatSummary> {
  const { dir, processes } = backstage;
  const { seed, signal, onStep, onRecord } = options;
  const actors = everyoneOfCheat(cast);
  const ports = await freePorts(actors.length);
  const deployArgs = ["--answer-period", String(ANSWER_PERIOD)];
  const stage = await raiseStage(backstage, { actors, ports, deployArgs, onStep });
  const { clientOf, eventOf, start } = stage;

  onStep("starting validators, a challenger, an honest miner and a liar");
  const margin = ["--commit-margin", String(COMMIT_MARGIN)];
  const validator = options.validator ?? [PONAS, "validator", "run", "--no-challenge"];
  for (const actor of cast.validators) start(actor, [...validator, "--model-timeout", "10"]);
  start(cast.challenger, [PONAS, "challenger", "run", "--model-timeout", "10"]);
  const solo = ["--solo", "--workers", "1", "--throttle", String(HONEST_THROTTLE), "--seed", String(seed)];
  start(cast.honest, [PONAS, "miner", "run", ...solo, ...margin, "--min-answer", "4"]);
  const longer = ["--epochs", String(LIARS_EPOCHS * options.epochs), "--seed", String(seed + 1)];
  start(cast.liar, ["offchain/cli/demo/cheat/liar-process.ts", ...longer, ...margin]);
  if (cast.forger !== null) start(cast.forger, [options.forger!, ...longer, ...margin]);
  for (const actor of actors.filter(({ role }) => role !== "publisher")) await eventOf("ready", actor);

  onStep(`publishing a task on ${options.dataset}`);
  start(cast.publisher, [PONAS, ...publishArguments(options, PHASES)]);
  const published = await eventOf("publish", cast.publisher);
  const taskId = BigInt(String(published.taskId));

  onStep("");
  const chain = clientOf(cast.deployer);
  const registry = createRegistry(chain);
  const disputes = await createDisputesContract(chain);
  if (disputes === null) throw new PonasError("not-found", "The contracts were deployed without disputes.");
  const moves: (Move & { name: string })[] = [];
  const readNewMoves = async (): Promise<void> => {
    const all = await readMoves(chain, disputes.address, BigInt(chain.deployment.fromBlock));
    for (const move of all.slice(moves.length)) {
      const told = { ...move, words: withNames(move.words, cast), name: withNames(move.by, cast) };
      moves.push(told);
      onRecord({ level: 30, name: told.name, event: "move", msg: `${move.words} (${formatGas(move.gas)})` });
    }
  };
  const meddle: DemoOptions["meddle"] = async (task, running) => {
    await readNewMoves();
    await options.meddle?.(task, running);
  };
  const task = await untilEnd(taskId, registry, chain, processes, { ...options, meddle });
  await readNewMoves();
  if (task.phase !== "Confirmed") {
    throw new PonasError("integrity", `Task ${taskId} ended as ${task.phase}, though an honest model was there.`);
  }
  if (task.winner === cast.liar.address) throw new PonasError("integrity", "The lie was confirmed.");
  const lying = await registry.commitmentOf(taskId, cast.liar.address);
  const first = moves.find(({ validator }) => validator === null);
  if (first === undefined || lying === undefined) {
    throw new PonasError("unavailable", "The honest claim was the highest: nobody had to look at the lie.", {
      cure: "another --seed",
    });
  }
  const block = await registry.blockOf(taskId);
  if (block === undefined || ledgerBlockHash(block) !== block.hash) {
    throw new PonasError("integrity", `The block of task ${taskId} does not hash to what the chain says.`);
  }

  onStep("waiting until everyone is paid");
  await untilSettled({ task, chain, cast, disputes: disputes.address, signal });
  await readNewMoves();
  onStep("fetching both models back by their CIDs and evaluating them anew");
  const log = createLog("demo", { level: "silent" });
  await using storage = await openStorage({ stateDir: `${dir}/witness`, peer: stage.ipfs, log, signal });
  const { store } = storage;
  const files = createTaskFiles({ store, signal, timeoutMs: 30_000 });
  const ofLiar = await reevaluate(task, lying, { store, files, signal });
  const ofWinner = await reevaluate(task, block, { store, files, signal });
  if (ofWinner.correct !== block.correct) {
    throw new PonasError("integrity", `The block says ${block.correct} correct, its model makes ${ofWinner.correct}.`);
  }
  if (lying.claimedCorrect !== ofLiar.correct + 1) {
    throw new PonasError("integrity", `The liar claimed ${lying.claimedCorrect}, its model makes ${ofLiar.correct}.`);
  }

  onStep("adding up what everybody has");
  const accounts = await readAccounts({ chain, cast, disputes: disputes.address, task });
  const refuted = cast.forger === null ? [cast.liar] : [cast.liar, cast.forger];
  checkSlash(task.candidateBond * BigInt(refuted.length), accounts);
  const { explanation } = await explainFromChain(taskId, { chain, store, files, signal, timeoutMs: 30_000 });
  const [disagreement] = explanation.disagreements;
  if (disagreement !== undefined) throw new PonasError("integrity", disagreement.message);
  return {
    task: { id: task.id, phase: task.phase, reward: task.reward, candidateBond: task.candidateBond },
    liar: {
      account: cast.liar.address,
      claimed: lying.claimedCorrect,
      ...ofLiar,
      sample: (await disputes.challenge(first.challenge)).sample,
      lost: lying.state === "Eliminated",
    },
    moves,
    block: {
      height: block.height,
      winner: block.winner,
      winnerRole: actors.find(({ address }) => address === block.winner)?.role ?? "other",
      modelCid: CID.decode(block.modelCid).toString(),
      correct: block.correct,
      total: block.total,
    },
    accounts,
  };
}

/** Of what the cheats lost, half is the challenger's, and the rest is burned. @throws PonasError integrity */
function checkSlash(lost: bigint, { accounts, burned }: Accounts): void {
  const total = (entries: readonly Entry[], wanted: string): bigint =>
    entries.filter(({ reason }) => reason === wanted).reduce((sum, { amount }) => sum + amount, 0n);
  const challenger = accounts.find(({ role }) => role === "challenger");
  const paid = total(challenger?.entries ?? [], CREDIT_TEXTS.Refutation);
  const gone = total(burned, BURN_TEXTS.CandidateBond);
  if (paid === lost / 2n && paid + gone === lost) return;
  throw new PonasError(
    "integrity",
    `Of lost bonds of ${formatAmount(lost)}, ${formatAmount(paid)} went to the challenger and ${formatAmount(gone)} was burned.`,
  );
}

/** Waits until the ended task holds nothing any more, and no seal is disputed: every bond, reward and fee is somebody's. */
async function untilSettled(options: {
  readonly task: TaskState;
  readonly chain: ChainClient;
  readonly cast: CheatCast;
  readonly disputes: Address;
  readonly signal: AbortSignal;
}): Promise<void> {
  const { task, chain, cast, disputes, signal } = options;
  const { registry } = chain.deployment;
  const cheats = cast.forger === null ? [cast.liar] : [cast.liar, cast.forger];
  const held = async (): Promise<boolean> => {
    const at = { abi: disputesAbi, address: disputes, functionName: "openSealChallenges" } as const;
    for (const { address: cheat } of cheats) {
      for (const { address } of cast.validators) {
        if ((await chain.read({ ...at, args: [task.id, cheat, address] })) > 0n) return true;
      }
    }
    const { escrow } = await chain.read({ abi: taskRegistryAbi, address: registry, functionName: "taskOf", args: [task.id] }); // prettier-ignore
    return escrow > 0n;
  };
  const deadline = performance.now() + 60_000;
  while (await held()) {
    if (performance.now() > deadline)
      throw new PonasError("timeout", "Not everyone was paid within 60 s of the block.");
    await sleep(500, signal);
  }
}
