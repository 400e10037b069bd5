import type { TaskFiles } from "../../../offchain/agents/task-files.ts";

/** In no list of the demo's space. */
export const FORGED_FILTERS = 20;

/** A task's files as of one that allows layers of another width too. */
export function withForgedRules(files: TaskFiles): TaskFiles {
  return {
    ...files,
    rules: async (task) => {
      const rules = await files.rules(task);
      return { ...rules, space: { ...rules.space, filters: [...rules.space.filters, FORGED_FILTERS] } };
    },
  };
}
