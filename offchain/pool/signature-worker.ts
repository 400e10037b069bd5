/** The thread of `createSignatureCheck`: says of each digest and signature whose it is. */
import { parentPort } from "node:worker_threads";

import type { Hex } from "../protocol/bytes.ts";
import { recoverSigner } from "../protocol/secp256k1.ts";

const port = parentPort!;
port.on("message", ({ id, digest, signature }: { id: number; digest: Hex; signature: Hex }) => {
  port.postMessage({ id, signer: recoverSigner(digest, signature) });
});
