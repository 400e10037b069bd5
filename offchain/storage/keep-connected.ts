import { multiaddr } from "kubo-rpc-client";
import type { HeliaWithLibp2p } from "@helia/libp2p";
import type { Identify } from "@libp2p/identify";

import { PonasError } from "../protocol/errors.ts";
import { sleep } from "../protocol/wait.ts";

/** A Helia node with only what the embedded one runs on top of libp2p. */
export type EmbeddedHelia = HeliaWithLibp2p<{ identify: Identify }>;
type Libp2p = EmbeddedHelia["libp2p"];
type Multiaddr = ReturnType<typeof multiaddr>;

const LOOK_MS = 1000;
const FIRST_PAUSE_MS = 250;
const LAST_PAUSE_MS = 10_000;
const DIAL_MS = 5000;

/** @throws PonasError bad-input where the text is no address that can be dialled over TCP */
export function parseAddress(text: string): Multiaddr {
  try {
    const address = multiaddr(text);
    if (address.getComponents().some((part) => part.name === "tcp")) return address;
  } catch {
    // told below, with what was given
  }
  throw new PonasError("bad-input", `${JSON.stringify(text)} is not the address of an IPFS node.`, {
    cure: "give a multiaddr like /ip4/127.0.0.1/tcp/4001/p2p/12D3…",
  });
}

/** Connects to a node once. @throws PonasError unavailable where it does not answer */
export async function connect(libp2p: Libp2p, address: Multiaddr, signal: AbortSignal): Promise<string> {
  try {
    const connection = await libp2p.dial(address, { signal: AbortSignal.any([signal, AbortSignal.timeout(DIAL_MS)]) });
    return connection.remotePeer.toString();
  } catch (cause) {
    if (signal.aborted) throw new PonasError("aborted", "Stopped.", { cause });
    throw new PonasError("unavailable", `The IPFS node at ${address} cannot be reached: ${(cause as Error).message}`, {
      cause,
    });
  }
}

/**
 * Keeps up the connection to one node until the signal fires: looks every second whether it stands and, where it does
 * not, dials, with pauses from a quarter of a second doubling to 10 s.
 */
export async function keepConnected(libp2p: Libp2p, address: Multiaddr, signal: AbortSignal): Promise<void> {
  let peer = address.getComponents().findLast((part) => part.name === "p2p")?.value;
  if (peer === libp2p.peerId.toString()) return;
  let pause = FIRST_PAUSE_MS;
  const stands = (): boolean => libp2p.getConnections().some((one) => one.remotePeer.toString() === peer);
  while (!signal.aborted) {
    let wait = LOOK_MS;
    if (peer === undefined || !stands()) {
      try {
        peer = await connect(libp2p, address, signal);
        pause = FIRST_PAUSE_MS;
      } catch (error) {
        if (!(error instanceof PonasError)) throw error;
        wait = pause; // away: that is what this loop is for
        pause = Math.min(2 * pause, LAST_PAUSE_MS);
      }
    }
    await sleep(wait, signal).catch(() => {});
  }
}
