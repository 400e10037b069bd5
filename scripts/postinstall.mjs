// Runs after every install, on the Node 24 that npm has just unpacked where the machine's own is older.
import { spawnSync } from "node:child_process";
import { existsSync, lstatSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";

// npm links the commands of dependencies but not the project's own; with the link, `npx ponas` starts at once.
const link = "node_modules/.bin/ponas";
if (
  process.platform !== "win32" &&
  existsSync("node_modules/.bin") &&
  lstatSync(link, { throwIfNoEntry: false }) === undefined
) {
  symlinkSync("../../offchain/cli/ponas.ts", link);
}

// npm running on Node < 22 silently skips Hardhat's native EDR package: it is an optional dependency whose "engines"
// ask for Node >= 22. A second, script-less install adds it.
const fromHardhat = createRequire(import.meta.resolve("hardhat/package.json"));
try {
  fromHardhat("@nomicfoundation/edr");
} catch {
  const npm = process.env.npm_execpath;
  if (npm === undefined) {
    console.error("Hardhat's native package is missing: run this through npm (npm install).");
    process.exit(1);
  }
  const repair = spawnSync(process.execPath, [npm, "install", "--no-save", "--ignore-scripts"], { stdio: "inherit" });
  process.exit(repair.status ?? 1);
}
