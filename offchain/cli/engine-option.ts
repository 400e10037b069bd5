import { Option } from "commander";

import { ENGINE_NAMES, type EngineName } from "../training/engine.ts";

export interface EngineOptions {
  readonly engine?: EngineName;
}

/** What computes training steps, for every command that trains. */
export function engineOption(): Option {
  return new Option("--engine <name>", "what trains; the fastest one present unless named").choices(ENGINE_NAMES);
}
