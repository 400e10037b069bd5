/** The thread of `createSignatureCheck`: says of each digest and signature whose it is. */
import { parentPort } from "node:worker_threads";

import type { Hex } from "../protocol/bytes.ts";
import { signerOfDigest } from "./signatures.ts";

const port = parentPort!;
port.on("message", ({ id, digest, signature }: { id: number; digest: Hex; signature: Hex }) => {
  void signerOfDigest(digest, signature).then((signer) => port.postMessage({ id, signer }));
});
