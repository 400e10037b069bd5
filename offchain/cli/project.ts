import { resolve } from "node:path";

/** The folder that holds package.json; scripts and compiled contracts are found from it. */
export const PROJECT_ROOT = resolve(import.meta.dirname, "..", "..");
