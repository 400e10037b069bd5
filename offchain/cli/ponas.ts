#!/usr/bin/env node
import { main } from "./main.ts";
import { watchParent } from "./parent.ts";

/** What is being put in order when the parent is gone gets so long, in milliseconds. */
const ORPHAN_GRACE_MS = 5000;
/** A handle that nobody closed keeps the process no longer than this: what had to be put in order is. */
const LINGER_MS = 2000;

/** Ends the process, once everything printed is read. */
function end(): void {
  if (process.stdout.writableLength > 0) setTimeout(end, LINGER_MS).unref();
  else process.exit();
}

watchParent(() => setTimeout(() => process.exit(130), ORPHAN_GRACE_MS).unref());
process.exitCode = await main(process.argv.slice(2));
setTimeout(end, LINGER_MS).unref();
