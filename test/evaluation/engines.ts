import { expect } from "chai";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { promisify } from "node:util";

import { loadCpuRuntime, loadRuntime } from "../../offchain/evaluation/onnx-runtime.ts";
import { accumulatorBound } from "../../offchain/evaluation/well-formed.ts";
import { difference, fuzzedNetwork } from "./fuzz.ts";

const run = promisify(execFile);

/** Chromium's software Vulkan, as Debian's package chromium-common has it. */
const CHROMIUM = "/usr/lib/chromium";
const SWIFTSHADER = `${CHROMIUM}/vk_swiftshader_icd.json`;
/** A software adapter compiles for seconds what a GPU's driver has at once; 500 take some minutes. */
const WEBGPU_NETWORKS = Number(process.env["PONAS_WEBGPU_NETWORKS"] ?? 4);

/** Runs a program in which the package onnxruntime-node cannot be found. */
async function withoutNative(program: string): Promise<string> {
  const hooks = `
    import { registerHooks } from "node:module";
    registerHooks({
      resolve: (specifier, context, next) => {
        if (!specifier.startsWith("onnxruntime-node")) return next(specifier, context);
        throw Object.assign(new Error("Cannot find package 'onnxruntime-node'"), { code: "ERR_MODULE_NOT_FOUND" });
      },
    });
    globalThis.fetch = () => { throw new Error("no network"); };`;
  const { stdout } = await run(process.execPath, ["--input-type=module", "--eval", `${hooks}\n${program}`], {
    cwd: import.meta.dirname,
  });
  return stdout.trim();
}

describe("the canonical evaluation", function () {
  it("gives every logit of 500 fuzzed networks as the reference does: onnx, 1 and 2 threads, any batch; onnx-web", async () => {
    const [native, web] = [await loadRuntime("onnx"), await loadRuntime("onnx-web")];
    const paths = { single: 0, split: 0 };
    let telling = 0;
    for (let seed = 0; seed < 500; seed++) {
      const network = fuzzedNetwork(seed);
      const [batch, other] = [1 + (seed % 6), 1 + ((seed + 3) % 6)];
      for (const options of [
        { runtime: native, batch },
        { runtime: native, batch: other, threads: 2 },
        { runtime: web, batch },
      ]) {
        const { path, wrong } = await difference(network, options);
        expect(wrong).to.equal(null);
        expect(path, `seed ${seed}`).to.equal(accumulatorBound(network.model) < 2 ** 24 ? "single" : "split");
        paths[path]++;
      }
      const { expected, model } = network;
      const { classes } = model.architecture;
      if (expected.some((value, i) => value !== expected[i % classes])) telling++;
    }
    expect(paths.single).to.be.greaterThan(3 * 125);
    expect(paths.split).to.be.greaterThan(3 * 125);
    expect(telling, "networks whose logits depend on the sample").to.be.greaterThan(190);
  });

  const driver = existsSync(SWIFTSHADER);
  it(`gives every logit of ${WEBGPU_NETWORKS} of them on webgpu too${driver ? "" : " (skipped: Debian's chromium-common, whose SwiftShader stands in for a GPU, is not installed)"}`, async function () {
    if (!driver) return this.skip();
    this.timeout(60_000 + 30_000 * WEBGPU_NETWORKS);
    const { stdout } = await run(
      process.execPath,
      [`${import.meta.dirname}/fuzz.ts`, "webgpu", String(WEBGPU_NETWORKS)],
      // Chromium brings its Vulkan loader along; a process looks for libraries only where it is told at its start.
      { env: { ...process.env, VK_ICD_FILENAMES: SWIFTSHADER, LD_LIBRARY_PATH: CHROMIUM } },
    );
    const { networks, single, wrong } = JSON.parse(stdout) as { networks: number; single: number; wrong: string[] };
    expect(wrong).to.deep.equal([]);
    expect(networks).to.equal(WEBGPU_NETWORKS);
    expect(single, "networks that the GPU computed").to.be.at.least(networks / 3);
  });

  it("runs on the native package where that is installed", async () => {
    expect((await loadCpuRuntime()).name).to.equal("onnx");
  });

  it("runs on WebAssembly where the native package is missing, without network", async () => {
    const logits = await withoutNative(`
      const { createFastEvaluator } = await import("../../offchain/evaluation/fast.ts");
      const { loadCpuRuntime } = await import("../../offchain/evaluation/onnx-runtime.ts");
      const { fuzzedNetwork } = await import("./fuzz.ts");
      const { model, pixels } = fuzzedNetwork(8);
      const evaluator = await createFastEvaluator(model);
      console.log((await loadCpuRuntime()).name, String(await evaluator.logits(pixels, 5)));
    `);
    expect(logits).to.equal(`onnx-web ${String(fuzzedNetwork(8).expected)}`);
  });

  it("says how to get a runtime whose package is missing", async () => {
    const message = await withoutNative(`
      const { loadRuntime } = await import("../../offchain/evaluation/onnx-runtime.ts");
      await loadRuntime("onnx").catch(({ code, message, cure }) => console.log(code, message, cure));
    `);
    expect(message).to.match(/^engine The engine onnx is not present: .*[^.]\. npm install/);
  });
});
