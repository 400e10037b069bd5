/**
 * Attacks on a round with disputes. Each is played twice: against the deployed contracts, which withstand it, and against
 * copies without the one defence, where it succeeds, so that none of those disappears unnoticed.
 */
import { concat, keccak256, type Hex } from "viem";

import { showTrace, type Computation } from "../../offchain/evaluation/dispute-openings.ts";
import type { TracedPlace } from "../../offchain/evaluation/trace-openings.ts";
import { afterSilence, attack, deadlineOf, ending, stageOf } from "./kit/attack.ts";
import { FALSE_LOGITS, FIRST, honest, LOGITS, lying, place, SAMPLE, SECOND, send, TRUE } from "./kit/small-network.ts";
import { challenge, disputable, movesOf } from "./dispute-game.ts";
import { at, CANDIDATE_BOND, CHALLENGE_BOND, goTo, now, type World } from "./support.ts";

/** What becomes of the claimant when all windows are over and anybody tries to confirm. */
async function fate(w: World, taskId: bigint): Promise<string> {
  const { windowEnd } = await w.registry.examinationOf(taskId);
  if (windowEnd > 0n && (await now()) < Number(windowEnd)) await goTo(windowEnd);
  if ((await w.phase(taskId)) === "Confirmable") await w.registry.confirm(taskId);
  return w.stateOf(taskId, w.ada);
}

/** A challenge of the honest claimant's sample, played as far as its moves are taken; the first one that is not names why. */
async function playAgainstHonest(
  w: World,
  insists: TracedPlace,
  change: (computation: Computation, part: number) => Computation,
  parts = 1,
): Promise<string> {
  const taskId = await disputable(w, honest);
  const id = await challenge(w, taskId, w.stranger, SAMPLE, honest.labels);
  let part = 0;
  for (const move of movesOf(id, honest, SAMPLE, { claimant: TRUE, insists, parts })) {
    const sent = move.name === "prove" ? { ...move, args: [id, change(move.args[1] as Computation, part++)] } : move;
    const how = await ending(w, send(w, sent));
    if (how !== "done") return `${how}, then ${await afterSilence(w, id)}`;
  }
  return stageOf(w, id);
}

/** Bytes of which one in the middle has another value. */
function spoilt(bytes: Hex): Hex {
  const data = Buffer.from(bytes.slice(2), "hex");
  for (let i = 0; i < data.length; i += 2) data[i] = data[i]! ^ 0x10;
  return `0x${data.toString("hex")}`;
}

describe("A claimant", () => {
  attack(
    "that lies about one prediction",
    { without: "arithmetic", withstood: "Refuted, Eliminated", succeeds: "Upheld, Winner" },
    async (w) => {
      const taskId = await disputable(w, lying);
      const id = await challenge(w, taskId, w.stranger, SAMPLE, lying.labels);
      for (const move of movesOf(id, lying, SAMPLE, { claimant: FALSE_LOGITS, own: TRUE })) await send(w, move);
      return `${await stageOf(w, id)}, ${await fate(w, taskId)}`;
    },
  );

  attack(
    "that lies about one prediction and shows what its model truly makes of the sample",
    { without: "argmax", withstood: "WrongClass, then Refuted", succeeds: "done, then Upheld" },
    async (w) => {
      const taskId = await disputable(w, lying);
      const id = await challenge(w, taskId, w.stranger, SAMPLE, lying.labels);
      const [answer] = movesOf(id, lying, SAMPLE, { claimant: TRUE, own: TRUE, insists: place(LOGITS) });
      return `${await ending(w, send(w, answer!))}, then ${await afterSilence(w, id)}`;
    },
  );

  attack(
    "that shows a tensor which nobody can open, and opens the true one",
    { without: "rows' hash", withstood: "HashMismatch, then Refuted", succeeds: "done, then Upheld" },
    async (w) => {
      const taskId = await disputable(w, honest);
      const id = await challenge(w, taskId, w.stranger, SAMPLE, honest.labels);
      const nothing: Hex = `0x${"00".repeat(32)}`;
      const tensors = TRUE.tensors.map((tensor, i) => (i === SECOND + 1 ? { ...tensor, hash: nothing } : tensor));
      const [show, pick, open] = movesOf(id, honest, SAMPLE, {
        claimant: { ...TRUE, tensors },
        insists: place(SECOND),
      });
      await send(w, show!);
      await send(w, pick!);
      return `${await ending(w, send(w, open!))}, then ${await afterSilence(w, id)}`;
    },
  );

  attack(
    "whose tensor has fewer rows than its model makes",
    { without: "rows' length", withstood: "WrongLength, then Refuted", succeeds: "OutOfRange, then Upheld" },
    async (w) => {
      const taskId = await disputable(w, honest);
      const id = await challenge(w, taskId, w.stranger, SAMPLE, honest.labels);
      const rows = concat([TRUE.tensors[SECOND + 1]!.rows[0] as Hex]);
      const tensors = TRUE.tensors.map((tensor, i) =>
        i === SECOND + 1 ? { ...tensor, hash: keccak256(rows) } : tensor,
      );
      const [show, pick] = movesOf(id, honest, SAMPLE, { claimant: { ...TRUE, tensors }, insists: place(SECOND) });
      await send(w, show!);
      await send(w, pick!);
      const shown = await ending(w, w.arithmetic.connect(w.ada).answerRows(id, rows));
      const picked = shown === "done" ? await ending(w, w.arithmetic.connect(w.stranger).pickRow(id, rows, 1)) : shown;
      return `${picked}, then ${await afterSilence(w, id)}`;
    },
  );

  attack(
    "that answers at its deadline's second",
    { without: "clock", withstood: "TooLate, then Refuted", succeeds: "done, then Upheld" },
    async (w) => {
      const taskId = await disputable(w, honest);
      const id = await challenge(w, taskId, w.stranger, SAMPLE, honest.labels);
      const [answer] = movesOf(id, honest, SAMPLE, { claimant: TRUE, insists: place(LOGITS) });
      await at(await deadlineOf(w, id));
      return `${await ending(w, send(w, answer!))}, then ${await afterSilence(w, id)}`;
    },
  );

  attack(
    "whose friend loses a challenge on purpose, so that the sample counts as examined",
    { without: "repeated challenges", withstood: "done, Eliminated", succeeds: "NoSuchSample, Winner" },
    async (w) => {
      const taskId = await disputable(w, lying);
      const theirs = await challenge(w, taskId, w.ben, SAMPLE, lying.labels);
      const [answer] = movesOf(theirs, lying, SAMPLE, { claimant: FALSE_LOGITS, own: TRUE });
      await send(w, answer!);
      await afterSilence(w, theirs);
      const how = await ending(w, challenge(w, taskId, w.stranger, SAMPLE, lying.labels));
      if (how === "done") {
        const id = await w.arithmetic.challengeCount();
        for (const move of movesOf(id, lying, SAMPLE, { claimant: FALSE_LOGITS, own: TRUE })) await send(w, move);
      }
      return `${how}, ${await fate(w, taskId)}`;
    },
  );

  attack(
    "whose friends hold every place among the running challenges until the window is over",
    { without: "queued challenges", withstood: "Candidate, Eliminated", succeeds: "Winner, Winner" },
    async (w) => {
      const taskId = await disputable(w, lying);
      for (let i = 0; i < 8; i++) await challenge(w, taskId, w.ben, SAMPLE, lying.labels);
      const id = await challenge(w, taskId, w.stranger, SAMPLE, lying.labels);
      // The friends' challenges are answered at the last second, and lost at the last second.
      const last = (await deadlineOf(w, 8n)) - 1n;
      await goTo(last - 20n);
      for (let friend = 1n; friend <= 8n; friend++) {
        await send(w, movesOf(friend, lying, SAMPLE, { claimant: FALSE_LOGITS, own: TRUE })[0]!);
      }
      await goTo((await deadlineOf(w, 8n)) + 1n);
      await goTo((await w.schedule(taskId)).windowEnd);
      for (let friend = 1n; friend <= 8n; friend++) await w.arithmetic.timeOut(friend);
      const confirmed = await fate(w, taskId);
      await ending(w, w.arithmetic.advance(id));
      for (const move of movesOf(id, lying, SAMPLE, { claimant: FALSE_LOGITS, own: TRUE })) {
        if ((await ending(w, send(w, move))) !== "done") break;
      }
      return `${confirmed}, ${await fate(w, taskId)}`;
    },
  );

  attack(
    "that is challenged by its friend and loses, to get its bond back",
    {
      without: "burned candidate bond",
      withstood: `loses ${CANDIDATE_BOND / 2n}`,
      succeeds: "loses 0",
    },
    async (w) => {
      const taskId = await disputable(w, lying);
      const id = await challenge(w, taskId, w.ben, SAMPLE, lying.labels);
      await afterSilence(w, id);
      const refuters = await w.registry.creditOf(w.ben);
      return `loses ${CANDIDATE_BOND - refuters}`;
    },
  );

  attack(
    "that is challenged by its friend and wins, to be paid for it",
    {
      without: "burned challenge bond",
      withstood: `loses ${CHALLENGE_BOND / 2n}`,
      succeeds: "loses 0",
    },
    async (w) => {
      const taskId = await disputable(w, honest);
      const id = await challenge(w, taskId, w.ben, SAMPLE, honest.labels);
      await send(w, movesOf(id, honest, SAMPLE, { claimant: TRUE, insists: place(LOGITS) })[0]!);
      await afterSilence(w, id);
      return `loses ${CHALLENGE_BOND - (await w.arithmetic.creditOf(w.ada)) - (await w.arithmetic.creditOf(w.ben))}`;
    },
  );

  attack(
    "whose friend moves for its challenger, badly",
    { without: "challenger's own move", withstood: "NotYourMove, then Refuted", succeeds: "done, then Upheld" },
    async (w) => {
      const taskId = await disputable(w, lying);
      const id = await challenge(w, taskId, w.stranger, SAMPLE, lying.labels);
      const [show, ...rest] = movesOf(id, lying, SAMPLE, { claimant: FALSE_LOGITS, own: TRUE });
      await send(w, show!);
      let how = "";
      const asked = movesOf(id, lying, SAMPLE, { claimant: FALSE_LOGITS, own: FALSE_LOGITS, insists: place(FIRST) });
      for (const move of asked.slice(1)) if ((how = await ending(w, send(w, move, w.ben))) !== "done") break;
      for (const move of rest) if ((await ending(w, send(w, move))) !== "done") break;
      return `${how}, then ${await afterSilence(w, id)}`;
    },
  );
});

describe("A challenger of an honest claimant", () => {
  attack(
    "that says nothing after its challenge",
    { without: "side to move", withstood: "Upheld", succeeds: "Refuted" },
    async (w) => {
      const taskId = await disputable(w, honest);
      const id = await challenge(w, taskId, w.stranger, SAMPLE, honest.labels);
      await send(w, movesOf(id, honest, SAMPLE, { claimant: TRUE, insists: place(LOGITS) })[0]!);
      return afterSilence(w, id);
    },
  );

  attack(
    "that answers it itself, with a lie",
    { without: "own trace", withstood: "NotYourMove, Candidate", succeeds: "Refuted, Eliminated" },
    async (w) => {
      const taskId = await disputable(w, honest);
      const id = await challenge(w, taskId, w.stranger, SAMPLE, honest.labels);
      const claimant = { ...TRUE, logits: TRUE.logits.map((logit) => logit - 1) };
      for (const move of movesOf(id, honest, SAMPLE, { claimant })) {
        const how = await ending(w, send(w, { ...move, by: "challenger" }));
        if (how !== "done") return `${how}, ${await w.stateOf(taskId, w.ada)}`;
      }
      return `${await stageOf(w, id)}, ${await w.stateOf(taskId, w.ada)}`;
    },
  );

  attack(
    "that proves one kernel row at a time, each at the last second",
    { without: "a proof's clock", withstood: "TooLate, then Upheld", succeeds: "Upheld" },
    async (w) => {
      const taskId = await disputable(w, honest);
      const id = await challenge(w, taskId, w.stranger, SAMPLE, honest.labels);
      for (const move of movesOf(id, honest, SAMPLE, { claimant: TRUE, insists: place(SECOND), parts: 3 })) {
        const running = await deadlineOf(w, id);
        if (move.name === "prove" && (await now()) < Number(running) - 1) await at(running - 1n);
        const how = await ending(w, send(w, move));
        if (how !== "done") return `${how}, then ${await afterSilence(w, id)}`;
      }
      return stageOf(w, id);
    },
  );

  attack(
    "that computes from other inputs than the claimant showed",
    { without: "opened inputs", withstood: "OpeningMismatch, then Upheld", succeeds: "Refuted" },
    (w) =>
      playAgainstHonest(w, place(LOGITS), (c) => ({ ...c, input: { ...c.input, values: spoilt(c.input.values) } })),
  );

  attack(
    "that computes from other pixels than the sample's",
    { without: "opened sample", withstood: "HashMismatch, then Upheld", succeeds: "Refuted" },
    (w) =>
      playAgainstHonest(w, place(FIRST), (c) => ({ ...c, sample: { ...c.sample, pixels: spoilt(c.sample.pixels) } })),
  );

  attack(
    "that computes with another bias than the unit's",
    { without: "opened unit", withstood: "HashMismatch, then Upheld", succeeds: "Refuted" },
    (w) => playAgainstHonest(w, place(LOGITS), (c) => ({ ...c, unit: { ...c.unit, bias: c.unit.bias + 1 } })),
  );

  attack(
    "that computes with other weights than the unit's",
    { without: "opened weights", withstood: "HashMismatch, then Upheld", succeeds: "Refuted" },
    (w) => playAgainstHonest(w, place(LOGITS), (c) => ({ ...c, unit: { ...c.unit, weights: spoilt(c.unit.weights) } })),
  );

  attack(
    "that compares with other logits than the claimant showed",
    { without: "shown trace", withstood: "HashMismatch, then Upheld", succeeds: "Refuted" },
    (w) =>
      playAgainstHonest(w, place(LOGITS), (c) => ({
        ...c,
        trace: { ...showTrace(TRUE), logits: TRUE.logits.map((logit) => logit + 1) },
      })),
  );

  attack(
    "that compares with other values than the claimant showed",
    { without: "claimed values", withstood: "HashMismatch, then Upheld", succeeds: "Refuted" },
    (w) => playAgainstHonest(w, place(SECOND), (c) => ({ ...c, claimed: spoilt(c.claimed) })),
  );

  attack(
    "that sums one value's kernel rows and then another's",
    { without: "one channel", withstood: "OutOfRange, then Upheld", succeeds: "Refuted" },
    (w) => {
      const other = movesOf(1n, honest, SAMPLE, { claimant: TRUE, insists: place(SECOND, 2), parts: 3 });
      const proofs = other.filter(({ name }) => name === "prove").map(({ args }) => args[1] as Computation);
      return playAgainstHonest(w, place(SECOND, 1), (c, part) => (part === 0 ? c : proofs[part]!), 3);
    },
  );

  attack(
    "that comes after the window, while another challenge still runs",
    { without: "challenges' window", withstood: "NotChallengeable", succeeds: "done" },
    async (w) => {
      const taskId = await disputable(w, honest);
      const { windowEnd } = await w.registry.examinationOf(taskId);
      await goTo(windowEnd - 10n);
      await challenge(w, taskId, w.stranger, SAMPLE, honest.labels);
      await at(windowEnd);
      return ending(w, challenge(w, taskId, w.stranger, SAMPLE, honest.labels));
    },
  );

  attack(
    "that floods it with more challenges than it can answer in one period",
    { without: "running challenges", withstood: "8 clocks", succeeds: "12 clocks" },
    async (w) => {
      const taskId = await disputable(w, honest);
      for (let i = 0; i < 12; i++) await challenge(w, taskId, w.stranger, SAMPLE, honest.labels);
      let running = 0;
      for (let id = 1n; id <= 12n; id++) if ((await stageOf(w, id)) === "Trace") running++;
      return `${running} clocks`;
    },
  );

  attack(
    "that floods it with challenges",
    { without: "challenge bond", withstood: `pays ${12n * CHALLENGE_BOND}`, succeeds: "pays 0" },
    async (w) => {
      const taskId = await disputable(w, honest);
      const before = await w.token.balanceOf(w.stranger);
      for (let i = 0; i < 12; i++) await challenge(w, taskId, w.stranger, SAMPLE, honest.labels);
      return `pays ${before - (await w.token.balanceOf(w.stranger))}`;
    },
  );
});
