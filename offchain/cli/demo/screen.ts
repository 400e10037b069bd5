/** Live progress of the demo: a picture that is redrawn on a terminal, plain lines elsewhere. */
import { createLogUpdate } from "log-update";
import pc from "picocolors";

import type { TaskState } from "../../agents/registry.ts";
import type { LogRecord } from "./processes.ts";

export interface Screen {
  /** A log record of one of the processes. */
  record(record: LogRecord): void;
  /** The task as it stands on chain, and the chain's clock. */
  task(task: TaskState, now: bigint): void;
  /** A step of the demo itself. */
  step(text: string): void;
  /** Leaves the last picture standing. */
  close(): void;
}

interface MinerLine {
  trials: number;
  best: string;
  doing: string;
}

const WAITS: Partial<Record<TaskState["phase"], { deadline: keyof TaskState["schedule"]; text: string }>> = {
  Initialisation: { deadline: "trainingStart", text: "miners read the task and fetch its data" },
  Training: { deadline: "trainingEnd", text: "miners search; commitments are taken until the end" },
  AwaitKey: { deadline: "keyDeadline", text: "everyone waits for the publisher's key" },
  TestVote: { deadline: "revealStart", text: "validators check the released test set" },
  Reveal: { deadline: "revealEnd", text: "participants open their commitments and claim" },
  Seal: { deadline: "sealDeadline", text: "validators evaluate the best claim and seal what they find" },
  Open: { deadline: "openDeadline", text: "the claimant publishes its predictions" },
  Window: { deadline: "windowEnd", text: "the opened claim may be challenged" },
  Advanceable: { deadline: "windowEnd", text: "a deadline has passed; anyone may move on" },
  Confirmable: { deadline: "windowEnd", text: "the candidate stood; anyone may append its block" },
};

/** Events that are worth a line of their own. */
const TOLD = new Set([
  "publish",
  "commit",
  "release",
  "reveal",
  "withdraw",
  "open",
  "evaluate",
  "vote",
  "confirm",
  "split",
  "paid",
  "end",
  "share",
  "target",
  "ban",
  "lie",
  "challenge",
  "move",
]);
const LAST_EVENTS = 8;

export function createScreen(stream: NodeJS.WriteStream): Screen {
  const live = stream.isTTY ? createLogUpdate(stream) : undefined;
  const miners = new Map<string, MinerLine>();
  const events: string[] = [];
  let steps = "";
  let current: { task: TaskState; now: bigint } | undefined;
  const started = performance.now();
  const clock = (): string => {
    const seconds = Math.floor((performance.now() - started) / 1000);
    return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  };

  const draw = (): void => {
    if (live === undefined) return;
    const lines = [pc.bold(`ponas demo ${clock()}`) + (steps === "" ? "" : `  ${steps}`), ""];
    if (current !== undefined) {
      const { task, now } = current;
      const wait = WAITS[task.phase];
      const left = wait === undefined ? 0n : task.schedule[wait.deadline] - now;
      const until = left > 0n ? `${left} s left: ` : "";
      lines.push(`${pc.cyan(task.phase.padEnd(15))}${until}${wait?.text ?? ""}`, "");
    }
    for (const [name, { trials, best, doing }] of miners) {
      lines.push(`${name.padEnd(12)} ${String(trials).padStart(3)} trials  best ${best.padStart(8)}  ${pc.dim(doing)}`);
    }
    lines.push("", ...events);
    live(lines.join("\n"));
  };
  const tell = (name: string, text: string): void => {
    const line = `${pc.dim(clock())} ${pc.bold(name.padEnd(12))} ${text}`;
    if (live === undefined) stream.write(`${line}\n`);
    else if (events.push(line) > LAST_EVENTS) events.shift();
  };
  const timer = live === undefined ? undefined : setInterval(draw, 250);
  timer?.unref();

  return {
    record: (record) => {
      const { name, event, msg, level } = record;
      if (event === "trial" || event === "training") {
        const line = miners.get(name) ?? { trials: 0, best: "–", doing: "" };
        if (event === "trial") line.trials += 1;
        if (typeof record.best === "string" && record.best !== "–") line.best = record.best;
        line.doing = msg;
        miners.set(name, line);
      }
      if (level >= 40 || (event !== undefined && TOLD.has(event))) tell(name, level >= 40 ? pc.yellow(msg) : msg);
    },
    task: (task, now) => {
      if (live === undefined && task.phase !== current?.task.phase) {
        tell("chain", `${pc.cyan(task.phase)}: ${WAITS[task.phase]?.text ?? "the task has ended"}`);
      }
      current = { task, now };
    },
    step: (text) => {
      steps = text;
      if (live === undefined) stream.write(`${pc.dim(clock())} ${text}\n`);
      else draw();
    },
    close: () => {
      clearInterval(timer);
      if (live === undefined) return;
      draw();
      live.done();
    },
  };
}
