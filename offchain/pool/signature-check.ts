/**
 * Verifies signatures: in this thread, and in one of its own once there are many: what stands between a share and its
 * acknowledgement is the longest stall of the manager's loop, and they are a tenth of it at 300 a second.
 */
import { Worker } from "node:worker_threads";

import { isAddressEqual } from "viem";

import type { Address, Hex } from "../protocol/bytes.ts";
import type { Log } from "../protocol/log.ts";
import { recoverSigner } from "../protocol/secp256k1.ts";

export interface SignatureCheck {
  /** Whether a signature over a digest is `signer`'s; one that cannot be read is nobody's. */
  isSigned(signer: Address, digest: Hex, signature: Hex): Promise<boolean>;
  /** Whether there is a thread for it by now. */
  isThreaded(): boolean;
  stop(): Promise<void>;
}

/** @param options.most signatures that are verified in this thread within one second, before there is another */
export function createSignatureCheck({
  log,
  most = 30,
}: {
  readonly log: Log;
  readonly most?: number;
}): SignatureCheck {
  const waiting = new Map<number, (signer: Address | null | undefined) => void>();
  let nextId = 1;
  let second = 0;
  let within = 0;
  let worker: Worker | null = null;
  let stopped = false;

  function isMuch(): boolean {
    const now = Math.floor(performance.now() / 1000);
    within = now === second ? within + 1 : 1;
    second = now;
    return within > most;
  }

  function start(): Worker {
    const fresh = new Worker(new URL("./signature-worker.ts", import.meta.url), { execArgv: [] });
    fresh.unref();
    const giveUp = (error: Error): void => {
      if (worker !== fresh) return;
      worker = null;
      if (!stopped) log.warn(`The thread for signatures has ended: ${error.message}`);
      for (const resolve of [...waiting.values()]) resolve(undefined);
    };
    fresh.on("error", giveUp).on("exit", (code) => giveUp(new Error(`its exit code is ${code}`)));
    fresh.on("message", ({ id, signer }: { id: number; signer: Address | null }) => waiting.get(id)?.(signer));
    return fresh;
  }

  /** undefined: the thread has not answered. */
  function ask(thread: Worker, digest: Hex, signature: Hex): Promise<Address | null | undefined> {
    return new Promise((resolve) => {
      const id = nextId++;
      if (waiting.size === 0) thread.ref();
      waiting.set(id, (signer) => {
        waiting.delete(id);
        if (waiting.size === 0) thread.unref();
        resolve(signer);
      });
      thread.postMessage({ id, digest, signature });
    });
  }

  return {
    async isSigned(signer, digest, signature) {
      if (worker === null && !stopped && isMuch()) worker = start();
      const asked = worker === null ? undefined : await ask(worker, digest, signature);
      const recovered = asked === undefined ? recoverSigner(digest, signature) : asked;
      return recovered !== null && isAddressEqual(recovered, signer);
    },
    isThreaded: () => worker !== null,
    async stop() {
      stopped = true;
      const thread = worker;
      worker = null;
      for (const resolve of [...waiting.values()]) resolve(undefined);
      await thread?.terminate();
    },
  };
}
