import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { expect } from "chai";

import type { Session } from "../../offchain/cli/context.ts";
import { holdState } from "../../offchain/cli/daemon.ts";
import type { ChainClient } from "../../offchain/protocol/chain-client.ts";
import type { PonasError } from "../../offchain/protocol/errors.ts";
import { createLog } from "../../offchain/protocol/log.ts";
import { createWorkplace, type Workplace } from "./support.ts";

describe("A daemon's folder", () => {
  let place: Workplace;
  beforeEach(() => void (place = createWorkplace()));
  afterEach(() => place[Symbol.dispose]());

  const sessionOn = (genesis: string): Session => {
    const client = { getBlock: () => Promise.resolve({ hash: genesis }) };
    const deployment = { chainId: 1, registry: "0xabc" };
    const chain = { account: "0xdef", client, deployment } as unknown as ChainClient;
    return { chain, log: createLog("test", { level: "silent" }), stateDir: join(place.cwd, "state") };
  };
  const refusalOf = (role: Parameters<typeof holdState>[0], session: Session): Promise<PonasError> =>
    holdState(role, session).then(
      () => expect.fail("it was not refused"),
      (error: unknown) => error as PonasError,
    );

  it("is one process's, for each role, until it is disposed of", async () => {
    const session = sessionOn("0x01");
    for (const [role, who] of [
      ["validator", "The validator's account"],
      ["challenger", "The challenger's account"],
      ["miner", "The miner's account"],
      ["pool", "The pool manager's account"],
    ] as const) {
      const lock = join(session.stateDir, `${role}.lock`);
      {
        using held = await holdState(role, session);
        expect(held.state.path).to.equal(session.stateDir);
        expect((await refusalOf(role, session)).message).to.equal(`${who} 0xdef is in use by process ${process.pid}.`);
        expect(existsSync(lock), role).to.equal(true);
      }
      expect(existsSync(lock), role).to.equal(false);
      writeFileSync(lock, "999999999 1"); // of a process that was killed
      (await holdState(role, session))[Symbol.dispose]();
    }
  });

  it("belongs to one deployment for those that keep what they owe there, and is free again after a refusal", async () => {
    const session = sessionOn("0x01");
    const other = sessionOn("0x02");
    for (const role of ["validator", "challenger"] as const) (await holdState(role, session))[Symbol.dispose]();
    for (const role of ["validator", "challenger"] as const) (await holdState(role, other))[Symbol.dispose]();
    for (const role of ["miner", "pool"] as const) {
      (await holdState(role, session))[Symbol.dispose]();
      expect((await refusalOf(role, other)).code).to.equal("chain-mismatch");
      expect(existsSync(join(session.stateDir, `${role}.lock`))).to.equal(false);
      (await holdState(role, session))[Symbol.dispose]();
    }
  });
});
