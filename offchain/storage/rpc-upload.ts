import type { IncomingMessage } from "node:http";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

import busboy from "busboy";

import { RpcError } from "./rpc-error.ts";

export interface Upload {
  readonly content: AsyncIterable<Uint8Array>;
  /** @throws RpcError where the file that was read is not all that was sent; call after reading */
  check(): void;
}

/**
 * Hands the one file of a multipart body to `use` while it arrives, so a body is never held as a whole.
 * @throws RpcError 400 where the body is not one file, 413 where that is over `maxBytes`
 */
export async function withUpload<T>(
  request: IncomingMessage,
  maxBytes: number,
  signal: AbortSignal,
  use: (upload: Upload) => Promise<T>,
): Promise<T> {
  let parser: busboy.Busboy;
  try {
    parser = busboy({ headers: request.headers, limits: { files: 1, fields: 0, fileSize: maxBytes } });
  } catch (cause) {
    throw new RpcError(400, `the body is no multipart form: ${(cause as Error).message}`);
  }
  let surplus = false;
  let used: Promise<T> | undefined;
  parser.on("file", (_field, stream: Readable & { truncated?: boolean }, { mimeType }) => {
    const check = (): void => {
      if (stream.truncated === true) throw new RpcError(413, `the file is larger than ${maxBytes} bytes`);
      if (mimeType === "application/x-directory") throw new RpcError(400, "only files can be added");
    };
    used = use({ content: stream, check });
    used.catch(() => stream.resume()); // let the parser come to its end; the failure is told below
  });
  for (const event of ["filesLimit", "fieldsLimit", "partsLimit"] as const) parser.on(event, () => (surplus = true));
  try {
    await pipeline(request, parser, { signal });
  } catch (cause) {
    await used?.catch(() => {});
    throw new RpcError(400, `the body broke off: ${(cause as Error).message}`);
  }
  if (used === undefined) throw new RpcError(400, "the body has no file");
  const result = await used;
  if (surplus) throw new RpcError(400, "the body has more than one file");
  return result;
}
