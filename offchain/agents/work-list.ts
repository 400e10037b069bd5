import { z } from "zod";

import type { StateFolder } from "./state-folder.ts";

/** The tasks that an agent has money or work in, newest last: however many others are published, it comes back to these. */
export interface WorkList {
  all(): bigint[];
  /** Written when this returns; before anything is at stake. */
  add(taskId: bigint): void;
  remove(taskId: bigint): void;
}

const schema = z.strictObject({ tasks: z.array(z.string().regex(/^\d+$/)) });

/** @param role one folder may serve several: what a miner has ended may be a pool's concern still */
export function createWorkList(state: StateFolder, role: "solo" | "pool" | "pool-miner"): WorkList {
  const file = `under-way/${role}.json`;
  const all = (): bigint[] => (state.read(file, schema)?.tasks ?? []).map(BigInt);
  const write = (tasks: readonly bigint[]): void => state.write(file, { tasks: tasks.map(String) });
  return {
    all,
    add: (taskId) => {
      const tasks = all();
      if (tasks.at(-1) !== taskId) write([...tasks.filter((id) => id !== taskId), taskId]);
    },
    remove: (taskId) => {
      const tasks = all();
      if (tasks.includes(taskId)) write(tasks.filter((id) => id !== taskId));
    },
  };
}
