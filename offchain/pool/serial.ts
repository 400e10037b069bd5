/** Runs pieces of work one after another in the order in which they came; one that fails does not stop the next. */
import { PonasError } from "../protocol/errors.ts";

export type Serial = <T>(work: () => Promise<T>, options?: { readonly first?: boolean }) => Promise<T>;

/**
 * @returns runs a piece of work in its turn. One that goes `first` passes those that wait, but they take turns with it:
 *   between two that go first, the one that has waited longest is run
 */
export function createSerial(): Serial {
  const waiting: (() => Promise<void>)[] = [];
  const first: (() => Promise<void>)[] = [];
  let running = false;
  async function run(): Promise<void> {
    for (let passed = false; ;) {
      const goesFirst: boolean = first.length > 0 && !(passed && waiting.length > 0);
      const next = (goesFirst ? first : waiting).shift();
      if (next === undefined) break;
      passed = goesFirst;
      await next();
    }
    running = false;
  }
  return <T>(work: () => Promise<T>, { first: goesFirst = false } = {}): Promise<T> =>
    new Promise<T>((resolve, reject) => {
      (goesFirst ? first : waiting).push(async () => {
        try {
          resolve(await work());
        } catch (error) {
          reject(error);
        }
      });
      if (running) return;
      running = true;
      queueMicrotask(() => void run());
    });
}

/**
 * Does pieces of work together that come while those before them are done: the busier it is, the less each costs, and
 * nobody waits for company longer than `period`.
 * @param turn in which it waits for its turn
 * @param most pieces that are done at once
 * @param work does all of them, in the order in which they came, or throws and has done nothing. Where it throws at
 *   several, each is done alone, so that one fails for itself; not so where the failure passes (`retryable`)
 * @returns does one piece; pieces of different keys are never done together
 */
export function createBatches<Key extends object, In, Out>(options: {
  readonly turn: (work: () => Promise<void>) => Promise<void>;
  readonly most: number;
  /** shortest time in milliseconds from one turn to the next, so that little is not done often; 0 where it is not given */
  readonly period?: number;
  readonly work: (key: Key, pieces: readonly In[]) => Promise<readonly Out[]>;
}): (key: Key, piece: In) => Promise<Out> {
  const { turn, most, period = 0, work } = options;
  interface Waiting {
    readonly piece: In;
    readonly resolve: (out: Out) => void;
    readonly reject: (error: unknown) => void;
  }
  let lastTurn = -Infinity;
  const queues = new WeakMap<Key, Waiting[]>();

  async function run(key: Key, batch: readonly Waiting[]): Promise<void> {
    try {
      const outs = await work(
        key,
        batch.map(({ piece }) => piece),
      );
      batch.forEach(({ resolve }, at) => resolve(outs[at]!));
    } catch (error) {
      const passes = error instanceof PonasError && error.retryable;
      if (batch.length > 1 && !passes) for (const one of batch) await run(key, [one]);
      else for (const { reject } of batch) reject(error);
    }
  }

  return (key, piece) =>
    new Promise<Out>((resolve, reject) => {
      let queue = queues.get(key);
      if (queue === undefined) queues.set(key, (queue = []));
      const waiting = queue;
      waiting.push({ piece, resolve, reject });
      const take = (): void =>
        void turn(async () => {
          lastTurn = performance.now();
          const batch = waiting.splice(0, most);
          if (waiting.length > 0) next();
          await run(key, batch);
        });
      const next = (): void => {
        const early = lastTurn + period - performance.now();
        if (early > 0) setTimeout(take, early);
        else take();
      };
      if (waiting.length === 1) next();
    });
}
