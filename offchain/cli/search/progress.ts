/** How far a search is, on stderr: a bar that stays in its place on a terminal, a line now and then elsewhere. */
import { createLogUpdate } from "log-update";

import type { Trial } from "../../search/search.ts";

export interface Progress {
  /** Writes a line of the result while the bar stands below it. */
  above(write: () => void): void;
  /** @param epochs of this training */
  add(trial: Trial, epochs: number): void;
  /** Takes the bar away. */
  end(): void;
}

export interface ProgressOptions {
  readonly stream: NodeJS.WriteStream;
  /** trainings that are planned */
  readonly trainings: number;
  /** epochs that these cost together: of what is left of them, the time is guessed */
  readonly epochs: number;
}

const BAR = 24;
/** Between two lines where there is no terminal. */
const LINE_MS = 5000;

export function createProgress({ stream, trainings, epochs }: ProgressOptions): Progress {
  const start = performance.now();
  const update = stream.isTTY ? createLogUpdate(stream) : null;
  let [done, doneEpochs, freshEpochs] = [0, 0, 0];
  let best: Trial | null = null;
  let lastLine = -Infinity;

  function status(): string {
    const share = epochs === 0 ? 1 : Math.min(1, doneEpochs / epochs);
    const filled = Math.round(share * BAR);
    const bar = update === null ? "" : ` ${"█".repeat(filled)}${"░".repeat(BAR - filled)}`;
    const found = best === null ? "" : `, best ${(100 * best.reward).toFixed(2)} % (trial ${best.trial})`;
    return `${done} of ${trainings} trials${bar}${found}${timeLeft()}`;
  }

  function timeLeft(): string {
    if (freshEpochs === 0 || doneEpochs >= epochs) return "";
    const seconds = ((performance.now() - start) / 1000 / freshEpochs) * (epochs - doneEpochs);
    return `, ${duration(seconds)} left`;
  }

  function show(): void {
    if (update !== null) {
      update(status());
    } else if (performance.now() - lastLine > LINE_MS || done === trainings) {
      lastLine = performance.now();
      stream.write(`${status()}\n`);
    }
  }

  // The time left goes down while a training takes long.
  const timer = update === null ? undefined : setInterval(show, 1000).unref();
  return {
    above: (write) => {
      update?.clear();
      write();
      update?.(status());
    },
    add: (trial, cost) => {
      done += 1;
      doneEpochs += cost;
      if (trial.fresh) freshEpochs += cost;
      if (trial.best) best = trial;
      // What comes out of the journal passes in no time.
      if (trial.fresh) show();
    },
    end: () => {
      clearInterval(timer);
      update?.clear();
      update?.done();
    },
  };
}

function duration(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
