import { expect } from "chai";

import type { CandidateEvaluator } from "../../offchain/agents/candidate-evaluation.ts";
import type { Examined, Registry, TaskState } from "../../offchain/agents/registry.ts";
import { createSealHolder } from "../../offchain/agents/seal-holder.ts";
import { validatorSeal, ZERO_HASH, type Address, type Hex } from "../../offchain/protocol/bytes.ts";
import type { ChainClient, Head } from "../../offchain/protocol/chain-client.ts";
import { PonasError } from "../../offchain/protocol/errors.ts";
import { createLines } from "./kit/dispute-cast.ts";

const [own, honest, liar, candidate, next] = ["a", "b", "c", "d", "e"].map((digit): Address => `0x${digit.repeat(40)}`);
const COMMITMENT: Hex = `0x${"11".repeat(32)}`;
const [TRUTH, LIE]: readonly Hex[] = [`0x${"22".repeat(32)}`, `0x${"33".repeat(32)}`];
const domain: ChainClient["domain"] = { chainId: 1n, registry: own! };
const headAt = (timestamp: bigint): Head => ({ number: timestamp, hash: "0x01", timestamp });

interface Scene {
  /** refuted a short time ago */
  readonly refuted?: readonly Address[];
  /** whose model does not arrive */
  readonly missing?: Address;
  /** what the examined candidate has opened; not opened unless given */
  readonly opened?: Hex;
  readonly malformed?: boolean;
  /** what each has sealed of each candidate */
  readonly seals?: Readonly<Record<Address, readonly (readonly [Address, Hex])[]>>;
  readonly unbonding?: Readonly<Record<Address, bigint>>;
  readonly result?: Hex;
  readonly phase?: TaskState["phase"];
  readonly next?: Address | null;
}

/** A task in which these have sealed; a short window of it is 40 seconds. */
function stage(scene: Scene = {}) {
  const { seals = {}, unbonding = {}, result = TRUTH!, phase = "Window", opened } = scene;
  const held: string[] = [];
  const { log, lines } = createLines();
  let evaluated = 0;
  const sealOf = (validator: Address, of: Hex): Hex => validatorSeal(domain, 1n, COMMITMENT, validator, of);
  const examined = {
    participant: candidate!,
    opened: opened !== undefined,
    result: opened ?? ZERO_HASH,
    next: scene.next ?? null,
  } as unknown as Examined;
  const registry = {
    task: () => Promise.resolve({ phase, phases: { shortWindow: 40 }, examined } as unknown as TaskState),
    commitmentOf: () => Promise.resolve({ hash: COMMITMENT }),
    sealsOf: (_id: bigint, participant: Address) =>
      Promise.resolve(
        (seals[participant] ?? []).map(([validator, of]) => ({ validator, seal: sealOf(validator, of) })),
      ),
  } as unknown as Registry;
  const chain = {
    account: own,
    domain,
    deployment: { stake: own },
    read: ({ functionName, args }: { functionName: string; args: readonly unknown[] }) => {
      if (functionName === "isSealHeld") return Promise.resolve(held.includes(args.slice(1).join(" ")));
      if (functionName === "unbondingOf") return Promise.resolve([unbonding[args[0] as Address] ?? 0n, 0]);
      return Promise.resolve(0n);
    },
    send: async ({ functionName, args }: { functionName: string; args: readonly unknown[] }) => {
      expect([functionName, args[0]]).to.deep.equal(["holdSeal", 1n]);
      held.push(args.slice(1).join(" "));
    },
  } as unknown as ChainClient;
  const evaluate: CandidateEvaluator = async (_task, participant) => {
    if (participant === scene.missing) throw new PonasError("timeout", "The model has not arrived.");
    evaluated += 1;
    const malformed = scene.malformed === true ? { reason: "it is malformed" } : null;
    return { correct: 1, total: 1, predictions: Uint8Array.of(1), result, modelRoot: null, malformed };
  };
  const disputes = { refutedLately: () => Promise.resolve([...(scene.refuted ?? [])]) };
  const duty = createSealHolder({ taskId: 1n, chain, registry, disputes, evaluate, log, leastGain: 10n });
  return { chain, duty, held, lines, evaluated: () => evaluated };
}

describe("A holder of seals", () => {
  const both = [
    [honest!, TRUTH!],
    [liar!, LIE!],
  ] as const;

  it("holds the stake of who begins to leave and has sealed something else, and of nobody else", async () => {
    const { duty, held, lines } = stage({
      seals: { [candidate!]: [...both, [own!, LIE!]] },
      unbonding: { [honest!]: 100n, [liar!]: 100n, [own!]: 100n },
    });
    await duty.run(headAt(100n));
    expect(held).to.deep.equal([`${candidate} ${liar}`]);
    expect(lines.join("\n")).to.contain(`holds the stake of ${liar}`);
    await duty.run(headAt(110n));
    expect(held, "once").to.have.length(1);
  });

  it("leaves alone who stays, and what is not worth the gas, and then evaluates nothing", async () => {
    const staying = stage({ seals: { [candidate!]: both } });
    await staying.duty.run(headAt(100n));
    const poor = stage({ seals: { [candidate!]: both }, unbonding: { [liar!]: 19n } });
    await poor.duty.run(headAt(100n));
    expect([...staying.held, ...poor.held]).to.deep.equal([]);
    expect(staying.evaluated()).to.equal(0);
  });

  it("looks at the next candidate too, which is sealed while the disputes over this one last", async () => {
    const { duty, held } = stage({
      seals: { [next!]: both },
      unbonding: { [honest!]: 50n, [liar!]: 50n },
      next: next!,
    });
    await duty.run(headAt(100n));
    expect(held).to.deep.equal([`${next} ${liar}`]);
  });

  it("takes the zero result for the truth about a malformed model", async () => {
    const { duty, held } = stage({
      seals: { [candidate!]: [...both, [next!, ZERO_HASH]] },
      unbonding: { [honest!]: 50n, [next!]: 50n },
      result: ZERO_HASH,
      malformed: true,
      opened: LIE!,
    });
    await duty.run(headAt(100n));
    expect(held).to.deep.equal([`${candidate} ${honest}`]);
  });

  it("looks at it whether the model of the one before arrives or not, and says that it did not", async () => {
    const scene = { seals: { [candidate!]: both, [next!]: both }, unbonding: { [liar!]: 50n }, next: next! };
    const { duty, held } = stage({ ...scene, missing: candidate! });
    expect(await duty.run(headAt(100n)).then(String, String)).to.contain("The model has not arrived.");
    expect(held).to.deep.equal([`${next} ${liar}`]);
  });

  it("leaves alone what nobody could challenge: the zero result, and predictions that are not the opened ones", async () => {
    const seals = { [candidate!]: [...both, [next!, ZERO_HASH]] as const };
    const unbonding = { [liar!]: 50n, [next!]: 50n };
    const closed = stage({ seals, unbonding });
    await closed.duty.run(headAt(100n));
    expect(closed.held).to.deep.equal([`${candidate} ${liar}`]);
    const lying = stage({ seals, unbonding, opened: LIE! });
    await lying.duty.run(headAt(100n));
    expect(lying.held).to.deep.equal([`${candidate} ${liar}`]);
    const true_ = stage({ seals, unbonding, opened: TRUTH! });
    await true_.duty.run(headAt(100n));
    expect(true_.held).to.deep.equal([]);
  });

  it("looks at who was refuted a short time ago, in a task that has ended too", async () => {
    const scene = { seals: { [next!]: both }, unbonding: { [liar!]: 50n }, phase: "Void", refuted: [next!] } as const;
    const { duty, held } = stage(scene);
    expect(await duty.run(headAt(100n))).to.equal(undefined);
    expect(held).to.deep.equal([`${next} ${liar}`]);
  });

  it("looks four times in a short window, and goes when the task has ended", async () => {
    const unbonding: Record<Address, bigint> = {};
    const { duty, held } = stage({ seals: { [candidate!]: both }, unbonding });
    await duty.run(headAt(100n));
    unbonding[liar!] = 100n;
    await duty.run(headAt(109n));
    expect(held).to.deep.equal([]);
    await duty.run(headAt(110n));
    expect(held).to.have.length(1);
    expect(await stage({ phase: "Confirmed" }).duty.run(headAt(100n))).to.equal(true);
  });

  it("is content where somebody else has held the seal first, and says what else the chain refuses", async () => {
    const first = stage({ seals: { [candidate!]: both }, unbonding: { [liar!]: 50n } });
    const refusing = (before: () => void): ChainClient["send"] => {
      return async () => {
        before();
        throw new PonasError("reverted", "The call holdSeal was reverted.");
      };
    };
    first.chain.send = refusing(() => first.held.push(`${candidate} ${liar}`));
    await first.duty.run(headAt(100n));
    const other = stage({ seals: { [candidate!]: both }, unbonding: { [liar!]: 50n } });
    other.chain.send = refusing(() => undefined);
    expect(await other.duty.run(headAt(100n)).then(String, String)).to.contain("holdSeal was reverted");
  });
});
