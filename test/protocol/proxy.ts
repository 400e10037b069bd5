/** A TCP proxy in front of a node: it can go away and come back, or swallow answers, while the node itself lives on. */
import { createServer, connect, type Server, type Socket } from "node:net";

export interface Proxy {
  readonly url: string;
  /** Refuses connections and drops those there are. */
  close(): Promise<void>;
  open(): Promise<void>;
  /** From the next request on whose text has this in it, passes that request on, drops its answer, and closes. */
  dieAfter(text: string): Promise<void>;
  /** Takes requests and never answers them, until `answerAgain`. */
  hang(): void;
  answerAgain(): void;
}

export async function createProxy(target: number): Promise<Proxy> {
  const sockets = new Set<Socket>();
  let server: Server | undefined;
  let port = 0;
  let hanging = false;
  let fatal: { text: string; died: () => void } | undefined;

  const close = async (): Promise<void> => {
    const closing = server;
    server = undefined;
    for (const socket of sockets) socket.destroy();
    if (closing !== undefined) await new Promise((resolve) => closing.close(resolve));
  };
  const serve = (client: Socket): void => {
    const node = connect(target, "127.0.0.1");
    let deaf = false;
    for (const socket of [client, node]) {
      sockets.add(socket);
      socket.on("error", () => undefined);
      socket.once("close", () => {
        sockets.delete(socket);
        client.destroy();
        node.destroy();
      });
    }
    client.on("data", (chunk) => {
      if (hanging) return;
      if (fatal !== undefined && chunk.includes(fatal.text)) {
        const { died } = fatal;
        fatal = undefined;
        deaf = true;
        node.once("data", () => void close().then(died));
      }
      node.write(chunk);
    });
    node.on("data", (chunk) => {
      if (!deaf && !hanging) client.write(chunk);
    });
  };
  const open = async (): Promise<void> => {
    server = createServer(serve);
    const opened = server;
    await new Promise<void>((resolve, reject) => opened.once("error", reject).listen(port, "127.0.0.1", resolve));
    port = (opened.address() as { port: number }).port;
  };

  await open();
  return {
    url: `http://127.0.0.1:${port}`,
    open,
    close,
    dieAfter: (text) => new Promise((died) => (fatal = { text, died })),
    hang: () => void (hanging = true),
    answerAgain: () => {
      hanging = false;
      for (const socket of sockets) socket.destroy();
    },
  };
}
