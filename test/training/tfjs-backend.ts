/** The choice of a TensorFlow.js, on modules without any mathematics. */
import util from "node:util";

import { expect } from "chai";

import { PonasError } from "../../offchain/protocol/errors.ts";
import { loadTfjs, TFJS_GPU_INSTALL, type TfjsVariant } from "../../offchain/training/tfjs-backend.ts";

describe("the choice of a TensorFlow.js", () => {
  const environment = { ...process.env };
  afterEach(() => {
    for (const name of Object.keys(process.env)) if (!(name in environment)) Reflect.deleteProperty(process.env, name);
    Reflect.deleteProperty(util, "isNullOrUndefined");
  });

  /** A TensorFlow.js without any mathematics. */
  const fake = (name: string, gpu = false, works = true) => ({
    version_core: "4.22.0",
    enableProdMode: () => {},
    setBackend: async (wanted: string) => works && wanted === name,
    backend: () => ({ isUsingGpuDevice: gpu, wasm: { _malloc: () => 0, _free: () => {} } }),
  });
  const missing = (name: string): never => {
    throw Object.assign(new Error(`Cannot find module '${name}'\nRequire stack: …`), { code: "MODULE_NOT_FOUND" });
  };
  const loader = (modules: Record<string, unknown>) => {
    const asked: string[] = [];
    const load = (name: string): unknown => {
      asked.push(name);
      const found = modules[name] ?? missing(name);
      return typeof found === "function" ? (found as () => unknown)() : found;
    };
    return { asked, load };
  };

  it("takes the GPU package first, with what it needs of Node and of its environment", async () => {
    const seen: unknown[] = [];
    const { asked, load } = loader({
      "@tensorflow/tfjs-node-gpu": () => {
        const { isNullOrUndefined } = util as unknown as { isNullOrUndefined: (value: unknown) => boolean };
        seen.push([undefined, null, 0, ""].map(isNullOrUndefined), process.env["TF_DETERMINISTIC_OPS"]);
        return fake("tensorflow", true);
      },
    });
    const { variant, detail } = await loadTfjs({ load });
    expect(variant).to.equal("node-gpu");
    expect(detail).to.equal("@tensorflow/tfjs-node-gpu 4.22.0 on a GPU");
    expect(asked).to.deep.equal(["@tensorflow/tfjs-node-gpu"]);
    expect(seen).to.deep.equal([[true, true, false, false], "1"]);
  });

  it("leaves what the user has set of TensorFlow's environment as it is", async () => {
    process.env["TF_NUM_INTRAOP_THREADS"] = "4";
    const { load } = loader({ "@tensorflow/tfjs-node": fake("tensorflow") });
    const { variant, detail } = await loadTfjs({ load });
    expect([variant, detail]).to.deep.equal(["node", "@tensorflow/tfjs-node 4.22.0 on the CPU"]);
    expect(process.env["TF_NUM_INTRAOP_THREADS"]).to.equal("4");
  });

  it("goes on to the next one where nothing is installed, silently, and leaves no traces", async () => {
    const { asked, load } = loader({
      "@tensorflow/tfjs-core": fake("wasm"),
      "@tensorflow/tfjs-backend-wasm": { setWasmPaths: () => {}, setThreadsCount: () => {} },
    });
    const { variant, detail } = await loadTfjs({ load });
    expect([variant, detail]).to.deep.equal(["wasm", "TensorFlow.js 4.22.0 on WebAssembly, one thread"]);
    expect(asked.slice(0, 2)).to.deep.equal(["@tensorflow/tfjs-node-gpu", "@tensorflow/tfjs-node"]);
    expect(process.env).to.not.have.property("TF_DETERMINISTIC_OPS");
  });

  it("says why a package that is installed could not be used", async () => {
    const broken = (): never => {
      throw new Error("libcudart.so.11.0: cannot open shared object file\nRequire stack: …");
    };
    const { load } = loader({
      "@tensorflow/tfjs-node-gpu": broken,
      "@tensorflow/tfjs-node": () => missing("@mapbox/node-pre-gyp"),
      "@tensorflow/tfjs-core": fake("cpu"),
      "@tensorflow/tfjs-backend-cpu": {},
      "@tensorflow/tfjs-backend-wasm": { setWasmPaths: () => {}, setThreadsCount: () => {} },
    });
    const { variant, detail } = await loadTfjs({ load });
    expect(variant).to.equal("cpu");
    expect(detail).to.equal(
      "TensorFlow.js 4.22.0 in plain JavaScript, very slow; " +
        "tfjs-node-gpu does not load: libcudart.so.11.0: cannot open shared object file; " +
        "tfjs-node does not load: Cannot find module '@mapbox/node-pre-gyp'; " +
        'tfjs-wasm does not load: its backend "wasm" does not start',
    );
  });

  it("names the command that installs one where there is none at all", async () => {
    const variants: TfjsVariant[] = ["node-gpu", "node"];
    const error = await loadTfjs({ ...loader({}), variants }).then(
      () => null,
      (reason: unknown) => reason,
    );
    expect(error).to.be.instanceOf(PonasError).with.property("code", "engine");
    expect((error as PonasError).message).to.equal("No TensorFlow.js backend works here: none is installed.");
    expect((error as PonasError).cure).to.contain(TFJS_GPU_INSTALL);
  });

  it("refuses a module that is something else", async () => {
    const { load } = loader({ "@tensorflow/tfjs-node": "nonsense" });
    const error = await loadTfjs({ load, variants: ["node"] }).then(
      () => null,
      (reason: unknown) => reason,
    );
    expect((error as PonasError).message).to.contain("tfjs-node does not load: it is not TensorFlow.js");
  });
});
