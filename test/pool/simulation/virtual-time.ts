/**
 * Virtual time: what is due happens in order of its time, one thing after another, each only when everything that the
 * one before has set off is over. So a history hangs on its seed alone, and lasts as long as its work takes.
 */

export interface VirtualTime {
  /** Unix time in milliseconds */
  now(): number;
  /** Calls `work` when the time has come; of equal times in the order of the calls. */
  at(time: number, work: () => void | Promise<void>): void;
  /** Lets time pass until then, with all that is due by then. */
  runUntil(time: number): Promise<void>;
  /** Waits for what has been set off, at the present time. */
  settle(): Promise<void>;
}

/** What is under way beside virtual time. */
export interface Activity {
  /** Statements of the database and questions to the manager that have no answer yet. */
  pending(): number;
  /** Grows with everything that begins, ends or is said. */
  readonly count: number;
}

/** Turns of the event loop without anything new, after which nothing is taken to come. */
const QUIET_TURNS = 3;
/** What takes longer, of the time of this machine, waits for something that never comes. */
const PATIENCE_MS = 60_000;
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

interface Due {
  readonly time: number;
  readonly order: number;
  readonly work: () => void | Promise<void>;
}

export function createVirtualTime(startAt: number, activity: Activity): VirtualTime {
  let now = startAt;
  let order = 0;
  const heap: Due[] = [];
  const before = (a: Due, b: Due): boolean => a.time < b.time || (a.time === b.time && a.order < b.order);

  function push(due: Due): void {
    let at = heap.push(due) - 1;
    while (at > 0) {
      const up = (at - 1) >> 1;
      if (before(heap[up]!, due)) break;
      heap[at] = heap[up]!;
      at = up;
    }
    heap[at] = due;
  }

  function pop(): Due {
    const first = heap[0]!;
    const last = heap.pop()!;
    if (heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let down = 2 * at + 1;
      if (down >= heap.length) break;
      if (down + 1 < heap.length && before(heap[down + 1]!, heap[down]!)) down++;
      if (before(last, heap[down]!)) break;
      heap[at] = heap[down]!;
      at = down;
    }
    heap[at] = last;
    return first;
  }

  async function settle(): Promise<void> {
    const since = performance.now();
    for (let quiet = 0, seen = activity.count; quiet < QUIET_TURNS;) {
      await turn();
      if (performance.now() - since > PATIENCE_MS)
        throw new Error(`Nothing goes on at ${now}, and something is waited for.`);
      quiet = activity.pending() === 0 && activity.count === seen ? quiet + 1 : 0;
      seen = activity.count;
    }
  }

  return {
    now: () => now,
    at: (time, work) => push({ time: Math.max(now, time), order: order++, work }),
    settle,
    async runUntil(time) {
      while (heap.length > 0 && heap[0]!.time <= time) {
        const due = pop();
        now = due.time;
        await due.work();
        await settle();
      }
      now = Math.max(now, time);
    },
  };
}
