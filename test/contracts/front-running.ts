/**
 * Every message that changes a contract, copied by somebody who sends it first: what becomes of the copy, of the original
 * behind it, and that its sender has in the end what it would have had alone.
 */
import { hexlify } from "ethers";

import { blocks } from "../../offchain/protocol/bytes.ts";
import { challenge, disputable, openPrediction, type Move } from "./dispute-game.ts";
import { POOL, termsOf } from "./kit/pool-messages.ts";
import { afterSilence } from "./kit/attack.ts";
import { copiedMessages, type Copied, type Message } from "./kit/copied-messages.ts";
import { challengeSeal, refuted } from "./kit/seals.ts";
import { honest, lying, playUntil, SAMPLE, untilMove } from "./kit/small-network.ts";
import { openOnTrial, showArchitecture, wholeUnit, withStrayWeight } from "./kit/trials.ts";
import {
  CANDIDATE_BOND,
  DEMAND_PRICE,
  goTo,
  KEY,
  labels,
  modelOf,
  TEST_PARTS,
  units,
  type Signer,
  type World,
} from "./support.ts";

const good = modelOf("good", 36);
const HASH = `0x${"11".repeat(32)}`;

async function opened(w: World, sealers: readonly Signer[] = w.validators): Promise<bigint> {
  const taskId = await w.toSeal([[w.ada, good]]);
  await w.openExamined(taskId, good, sealers);
  return taskId;
}

async function confirmed(w: World): Promise<bigint> {
  const taskId = await w.toSeal([[w.ada, good]]);
  await w.toConfirmable(taskId, good);
  await w.registry.confirm(taskId);
  return taskId;
}

/** A dispute's move that only its own side may make, or that anybody may who has it. */
const ofDispute = (name: Move["name"], own: boolean): Own => ({
  ...(own ? { copy: "NotYourMove", original: "done" } : { copy: "done", original: "WrongStage" }),
  arrange: async (w) => {
    const { move, by } = await untilMove(w, name);
    return { by, args: move.args };
  },
});

/** The same of a game over a validator's seal. */
const ofSeal = (name: Move["name"], own: boolean): Own => ({
  ...ofDispute(name, own),
  arrange: async (w) => {
    const id = await challengeSeal(w, await refuted(w, honest), w.stranger, honest.labels);
    const { move, by } = await playUntil(w, id, name, w.victor);
    return { by, args: move.args };
  },
});

/** Its root binds a unit that no layer has. */
const MALFORMED = { units: honest.openable.opening.units + 1 };
const STRAY_WEIGHT = withStrayWeight();

/** Twice the same, each on the sender's own account. */
const OWN = { copy: "done", original: "done" };

/** One of the message's contract's own. */
interface Own extends Omit<Copied, "arrange"> {
  readonly arrange: (w: World) => Promise<Omit<Message, "to">>;
}

const MESSAGES: Record<"registry" | "arithmetic" | "stake", Record<string, Own>> = {
  registry: {
    publish: { ...OWN, arrange: (w) => Promise.resolve({ by: w.publisher, args: [w.paramsOf()] }) },
    commit: {
      ...OWN,
      arrange: async (w) => {
        const taskId = await w.toTraining();
        return { by: w.ada, args: [taskId, w.commitmentOf(taskId, w.ada.address, good)] };
      },
    },
    release: {
      copy: "done",
      original: "WrongPhase",
      arrange: async (w) => ({ by: w.publisher, args: [await w.toAwaitKey([[w.ada, good]]), KEY] }),
    },
    voteTestSet: {
      copy: "NoStake",
      original: "done",
      arrange: async (w) => ({ by: w.victor, args: [await w.toTestVote([[w.ada, good]])] }),
    },
    reveal: {
      copy: "NoCommitment",
      original: "done",
      arrange: async (w) => {
        const taskId = await w.toReveal([[w.ada, good]]);
        const seal = w.claimSealOf(taskId, w.ada.address, good);
        return { by: w.ada, args: [taskId, good.opening, good.correct, seal] };
      },
    },
    advance: {
      copy: "done",
      original: "WrongPhase",
      arrange: async (w) => {
        const taskId = await w.toReveal([[w.ada, good]]);
        await w.reveal(taskId, w.ada, good);
        await goTo((await w.schedule(taskId)).revealEnd);
        return { by: w.ada, args: [taskId] };
      },
    },
    seal: {
      copy: "NoStake",
      original: "done",
      arrange: async (w) => {
        const taskId = await w.toSeal([[w.ada, good]]);
        return { by: w.victor, args: [taskId, w.ada, w.sealOf(taskId, w.ada.address, good, w.victor)] };
      },
    },
    open: {
      copy: "done",
      original: "WrongPhase",
      arrange: async (w) => {
        const taskId = await w.toSeal([[w.ada, good]]);
        await goTo((await w.schedule(taskId)).sealDeadline);
        return { by: w.ada, args: [taskId, hexlify(good.predictions), hexlify(labels), TEST_PARTS] };
      },
    },
    attest: {
      copy: "done",
      original: "NothingAttested",
      arrange: async (w) => ({ by: w.victor, args: [await opened(w), [w.victor]] }),
    },
    contradict: {
      copy: "OnlyWithoutDisputes",
      original: "OnlyWithoutDisputes",
      arrange: async (w) => ({ by: w.victor, args: [await opened(w), HASH, [w.victor]] }),
    },
    confirm: {
      copy: "done",
      original: "WrongPhase",
      arrange: async (w) => {
        const taskId = await opened(w);
        await goTo((await w.schedule(taskId)).windowEnd);
        return { by: w.ada, args: [taskId] };
      },
    },
    refute: {
      copy: "OnlyDisputes",
      original: "OnlyDisputes",
      arrange: async (w) => ({ by: w.stranger, args: [await opened(w), w.ada, w.stranger] }),
    },
    settle: {
      copy: "done",
      original: "AlreadySettled",
      arrange: async (w) => ({ by: w.ada, args: [await confirmed(w), w.ada] }),
    },
    settleValidator: {
      copy: "done",
      original: "AlreadySettled",
      arrange: async (w) => ({ by: w.victor, args: [await confirmed(w), w.victor] }),
    },
    withdraw: {
      ...OWN,
      arrange: async (w) => {
        await confirmed(w);
        return { by: w.ada, args: [] };
      },
    },
    withdrawTo: {
      copy: "InsufficientCredit",
      original: "done",
      arrange: async (w) => {
        await confirmed(w);
        return { by: w.ada, args: [w.ada, 5n] };
      },
    },
    // Whose permit it is says the sender, not the arguments: credits.ts tells what becomes of one.
    permitAsset: { ...OWN, arrange: (w) => Promise.resolve({ by: w.ada, args: [5n, 2n ** 40n, 27, HASH, HASH] }) },
    multicall: {
      ...OWN,
      arrange: async (w) => {
        await confirmed(w);
        return { by: w.ada, args: [[w.registry.interface.encodeFunctionData("withdraw")]] };
      },
    },
  },
  arithmetic: {
    challenge: {
      ...OWN,
      arrange: async (w) => {
        const taskId = await disputable(w, honest);
        const { length } = honest.labels;
        return { by: w.stranger, args: [taskId, SAMPLE, length, blocks(honest.labels), hexlify(honest.labels)] };
      },
    },
    challengeSeal: {
      ...OWN,
      arrange: async (w) => {
        const taskId = await refuted(w, honest);
        return { by: w.stranger, args: [taskId, w.ada, w.victor, ...openPrediction(SAMPLE, honest.labels)] };
      },
    },
    advance: {
      copy: "done",
      original: "WrongStage",
      arrange: async (w) => {
        const taskId = await disputable(w, honest);
        for (let i = 0; i < 9; i++) await challenge(w, taskId, w.stranger, SAMPLE, honest.labels);
        await goTo((await w.arithmetic.challengeOf(1)).deadline);
        // One that was silent loses its place, and its candidate: the last one's bond goes back.
        await w.arithmetic.timeOut(1);
        return { by: w.stranger, args: [9n] };
      },
    },
    timeOut: {
      copy: "done",
      original: "WrongStage",
      arrange: async (w) => {
        const taskId = await disputable(w, honest);
        const id = await challenge(w, taskId, w.stranger, SAMPLE, honest.labels);
        await goTo((await w.arithmetic.challengeOf(id)).deadline);
        return { by: w.stranger, args: [id] };
      },
    },
    answerTrace: ofDispute("answerTrace", true),
    answerRows: ofDispute("answerRows", false),
    answerPositions: ofDispute("answerPositions", false),
    answerValues: ofDispute("answerValues", false),
    pickTensor: ofDispute("pickTensor", true),
    pickRow: ofDispute("pickRow", true),
    pickColumn: ofDispute("pickColumn", true),
    prove: ofDispute("prove", true),
    bind: {
      copy: "OnlyDeployer",
      original: "AlreadyBound",
      arrange: (w) => Promise.resolve({ by: w.publisher, args: [w.registry] }),
    },
    // What was demanded is published for everybody: whoever demands second has it for nothing.
    demand: {
      copy: "done",
      original: "AlreadyDemanded",
      gain: DEMAND_PRICE,
      arrange: async (w) => ({ by: w.stranger, args: [await disputable(w, honest), 0, 1] }),
    },
    answerModel: {
      copy: "done",
      original: "WrongDemandStage",
      arrange: async (w) => {
        const taskId = await disputable(w, honest);
        await w.arithmetic.connect(w.stranger).demand(taskId, await w.arithmetic.OPENING(), 0);
        return { by: w.ada, args: [1n, honest.openable.opening] };
      },
    },
    answerUnit: {
      copy: "done",
      original: "WrongDemandStage",
      arrange: async (w) => {
        const taskId = await disputable(w, honest);
        await w.arithmetic.connect(w.stranger).demand(taskId, 0, 1);
        return { by: w.ada, args: [1n, honest.openable.opening, wholeUnit(honest.network, 0, 1)] };
      },
    },
    expireDemand: {
      copy: "done",
      original: "WrongDemandStage",
      arrange: async (w) => {
        const taskId = await disputable(w, honest);
        await w.arithmetic.connect(w.stranger).demand(taskId, 0, 1);
        await goTo((await w.arithmetic.demandOf(1)).deadline);
        return { by: w.stranger, args: [1n] };
      },
    },
    // An opening is all that these take, so whoever copies it has the refuter's part; the candidate falls either way.
    showMalformedArchitecture: {
      copy: "done",
      original: "NotChallengeable",
      gain: -CANDIDATE_BOND / 2n,
      arrange: async (w) => {
        const { taskId, model, space, test } = await openOnTrial(w, MALFORMED);
        return { by: w.stranger, args: [taskId, w.ada, model, space, test] };
      },
    },
    showMalformedUnit: {
      copy: "done",
      original: "NotChallengeable",
      gain: -CANDIDATE_BOND / 2n,
      arrange: async (w) => {
        const { units, network } = STRAY_WEIGHT;
        const { taskId, model } = await openOnTrial(w, { unitsRoot: units });
        return { by: w.stranger, args: [taskId, w.ada, model, 0, 0, wholeUnit(network, 0, 0)] };
      },
    },
    slashValidator: {
      copy: "done",
      original: "NotSlashable",
      arrange: async (w) => {
        const shown = await openOnTrial(w, { ...MALFORMED, sealers: [w.victor] });
        await showArchitecture(w, shown, w.stranger);
        return { by: w.stranger, args: [shown.taskId, w.ada, w.victor] };
      },
    },
  },
  stake: {
    bind: {
      copy: "OnlyDeployer",
      original: "AlreadyBound",
      arrange: (w) => Promise.resolve({ by: w.publisher, args: [w.registry] }),
    },
    slash: {
      copy: "OnlyDisputes",
      original: "OnlyDisputes",
      arrange: (w) => Promise.resolve({ by: w.stranger, args: [w.victor, w.stranger] }),
    },
    hold: {
      copy: "OnlyDisputes",
      original: "OnlyDisputes",
      arrange: (w) => Promise.resolve({ by: w.stranger, args: [w.victor] }),
    },
    release: {
      copy: "OnlyDisputes",
      original: "OnlyDisputes",
      arrange: (w) => Promise.resolve({ by: w.stranger, args: [w.victor] }),
    },
    stake: { ...OWN, arrange: (w) => Promise.resolve({ by: w.victor, args: [units(1)] }) },
    beginUnbonding: {
      copy: "InsufficientStake",
      original: "done",
      arrange: (w) => Promise.resolve({ by: w.victor, args: [units(1)] }),
    },
    cancelUnbonding: {
      copy: "NothingUnbonding",
      original: "done",
      arrange: async (w) => {
        await w.stake.connect(w.victor).beginUnbonding(units(1));
        return { by: w.victor, args: [] };
      },
    },
    // Who holds or releases a seal gains nothing by it: the first call does what all of them want.
    holdSeal: {
      copy: "done",
      original: "SealNotHoldable",
      arrange: async (w) => ({ by: w.stranger, args: [await refuted(w, lying), w.ada, w.victor] }),
    },
    releaseSeal: {
      copy: "done",
      original: "SealNotReleasable",
      arrange: async (w) => {
        const taskId = await refuted(w, lying);
        await w.stake.holdSeal(taskId, w.ada, w.victor);
        await goTo(await w.arithmetic.sealsChallengeableUntil(taskId, w.ada));
        return { by: w.stranger, args: [taskId, w.ada, w.victor] };
      },
    },
    finishUnbonding: {
      copy: "NothingUnbonding",
      original: "done",
      arrange: async (w) => {
        await w.stake.connect(w.victor).beginUnbonding(units(1));
        const [, readyAt] = await w.stake.unbondingOf(w.victor);
        await goTo(readyAt);
        return { by: w.victor, args: [] };
      },
    },
  },
};

/** In a game over a validator's seal, whose stake is at risk. */
const SEAL_MESSAGES: Record<string, Own> = {
  answerTrace: ofSeal("answerTrace", true),
  answerRows: ofSeal("answerRows", false),
  answerPositions: ofSeal("answerPositions", false),
  answerValues: ofSeal("answerValues", false),
  pickTensor: ofSeal("pickTensor", true),
  pickRow: ofSeal("pickRow", true),
  pickColumn: ofSeal("pickColumn", true),
  prove: ofSeal("prove", true),
  // A silent validator's stake is the challenger's, whoever says that time is over.
  timeOut: {
    copy: "done",
    original: "WrongStage",
    arrange: async (w) => {
      const id = await challengeSeal(w, await refuted(w, lying), w.stranger, lying.labels);
      await goTo((await w.arithmetic.challengeOf(id)).deadline);
      return { by: w.stranger, args: [id] };
    },
  },
  // Another's challenge has cost the validator its stake: the bond goes back.
  advance: {
    copy: "done",
    original: "WrongStage",
    arrange: async (w) => {
      const taskId = await refuted(w, lying);
      const mine = await challengeSeal(w, taskId, w.stranger, lying.labels);
      await afterSilence(w, await challengeSeal(w, taskId, w.ben, lying.labels));
      return { by: w.stranger, args: [mine] };
    },
  },
};

/** Every contract that holds money has these, and they are tested at the registry. */
const CREDITS = ["withdraw", "withdrawTo", "permitAsset", "multicall"];

describe("A message that somebody copies and sends first", () => {
  const sentTo = (contract: keyof typeof MESSAGES, messages: Record<string, Own>): Record<string, Copied> =>
    Object.fromEntries(
      Object.entries(messages).map(([name, { arrange, ...ends }]) => [
        name,
        { ...ends, arrange: async (w) => ({ to: w[contract], ...(await arrange(w)) }) },
      ]),
    );
  for (const contract of ["registry", "arithmetic", "stake"] as const) {
    const messages = sentTo(contract, MESSAGES[contract]);
    copiedMessages(contract, messages, (w) => w[contract], contract === "registry" ? [] : CREDITS);
  }
  copiedMessages("arithmetic, of a seal", sentTo("arithmetic", SEAL_MESSAGES));

  copiedMessages("pool", POOL, (w) => w.poolImplementation, CREDITS);

  copiedMessages(
    "factory",
    {
      create: {
        copy: "done",
        original: "done",
        arrange: async (w) => {
          const pool = await w.createPool();
          return { to: w.factory, by: w.manager, args: [termsOf(await pool.terms()), HASH] };
        },
      },
    },
    (w) => w.factory,
  );
});
