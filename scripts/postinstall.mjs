// npm running on Node < 22 silently skips Hardhat's native EDR package: it is an optional dependency
// whose "engines" ask for Node >= 22. Lifecycle scripts see node_modules/.bin first, so on linux-x64 this
// file already runs on the Node 24 that npm has just unpacked, and a second, script-less install adds it.
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";

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
