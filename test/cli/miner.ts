import { expect } from "chai";

import { chooseWorkers, parseGpus, startWorkers } from "../../offchain/cli/miner/workers.ts";
import { createWorkplace, expectRefusal, ponas } from "./support.ts";

const sentenceOf = (work: () => unknown): Promise<string> =>
  Promise.resolve()
    .then(work)
    .then(
      () => "nothing failed",
      (error: unknown) => (error as Error).message,
    );

describe("ponas miner: workers and GPUs", () => {
  it("trains on every core unless told otherwise, and on no more than a pool admits", async () => {
    expect(await chooseWorkers({ engine: "onnx" }, 6)).to.deep.equal({ engine: "onnx", workers: 6, gpus: [] });
    expect(await chooseWorkers({ engine: "onnx" }, 96)).to.include({ workers: 16 });
    expect(await chooseWorkers({ engine: "onnx", workers: 40 }, 96)).to.include({ workers: 40 });
  });

  it("takes a list of devices, each by number or by id", async () => {
    expect(parseGpus("0, 1,1")).to.deep.equal(["0", "1", "1"]);
    expect(parseGpus("GPU-8932f937-d72c-4106-c12f-20bd9faed9f6")).to.have.length(1);
    for (const text of ["", "0,", "all", "-1", "0;1"]) {
      expect(await sentenceOf(() => parseGpus(text))).to.equal(
        `--gpu takes devices' numbers or ids such as 0,1, not "${text}".`,
      );
    }
    const plan = await chooseWorkers({ engine: "tfjs", gpu: ["0", "1"] });
    expect(plan).to.deep.equal({ engine: "tfjs", workers: 2, gpus: ["0", "1"] });
    const workers = startWorkers(plan);
    expect(workers).to.have.length(2);
    await Promise.all(workers.map((worker) => worker.close()));
  });

  it("refuses devices for an engine that looks at none, and another number of workers", async () => {
    for (const engine of ["onnx", "onnx-web", "webgpu"] as const) {
      expect(await sentenceOf(() => chooseWorkers({ engine, gpu: ["0"] }))).to.equal(
        `--gpu chooses among CUDA's devices, and the engine ${engine} looks at none of them.`,
      );
    }
    expect(await sentenceOf(() => chooseWorkers({ engine: "tfjs", gpu: ["0", "1"], workers: 3 }))).to.equal(
      "--gpu names 2 devices, a worker on each, but --workers says 3.",
    );
  });

  it("says on the command line what does not go together", async () => {
    using place = createWorkplace();
    const run = (...args: string[]) => ponas(["miner", "run", ...args], place);
    const [json, gpu, nowhere, web, nobody] = await Promise.all([
      run("--solo", "--json"),
      run("--solo", "--gpu", "x"),
      run("--dry-run"),
      run("--pool", `0x${"11".repeat(20)}`, "--url", "http://127.0.0.1:4600"),
      run("--pool", "nonsense", "--url", "ws://127.0.0.1:4600"),
    ]);
    expectRefusal(nobody, 2, '--pool takes a contract\'s address of 0x and 40 hex digits, not "nonsense".');
    expectRefusal(web, 2, '--url takes an endpoint such as ws://127.0.0.1:4600, not "http://127.0.0.1:4600".');
    expectRefusal(json, 2, "--json is for --dry-run");
    expectRefusal(gpu, 2, "--gpu takes devices' numbers");
    expectRefusal(nowhere, 2, "A miner runs either with --solo, or with --pool and --url.");
  });
});
