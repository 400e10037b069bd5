/** The process of `probeGpu`: runs one convolution on the named provider and on the CPU, and reports. */
import { createGraph } from "../evaluation/onnx-graph.ts";
import { loadRuntime, reasonOf, type Runtime } from "../evaluation/onnx-runtime.ts";
import type { GpuProbe, GpuRuntime } from "./gpu-probe.ts";

/** A middling layer of the paper's spaces at a usual batch: 231 million multiplications. */
const [BATCH, CHANNELS, SIZE, KERNEL] = [32, 32, 28, 3];

/** A first run that compiles its kernels and takes longer than this needs no second one: that is no GPU. */
const SLOW_MS = 1500;

/** Milliseconds of the faster of two runs after the first. */
async function measure(runtime: Runtime, gpuOnly: boolean): Promise<number> {
  const graph = createGraph();
  const input = graph.input("input", [BATCH, CHANNELS, SIZE, SIZE]);
  const weights = graph.floats(new Float32Array(CHANNELS * CHANNELS * KERNEL * KERNEL).fill(1), [
    CHANNELS,
    CHANNELS,
    KERNEL,
    KERNEL,
  ]);
  const sums = graph.op("Conv", [input, weights], {
    kernel_shape: [KERNEL, KERNEL],
    strides: [1, 1],
    pads: [1, 1, 1, 1],
  });
  graph.output(sums, "sums", [BATCH, CHANNELS, SIZE, SIZE]);
  const session = await runtime.createSession(graph.encode(), { gpuOnly });
  const values = new Float32Array(BATCH * CHANNELS * SIZE * SIZE).fill(1);
  const feeds = { input: new runtime.Tensor("float32", values, [BATCH, CHANNELS, SIZE, SIZE]) };
  const run = async (): Promise<number> => {
    const start = performance.now();
    const { sums: result } = await session.run(feeds);
    const taken = performance.now() - start;
    // Well inside the image, each sum has all its terms.
    const middle = (result!.data as Float32Array)[(SIZE / 2) * SIZE + SIZE / 2];
    if (middle !== CHANNELS * KERNEL * KERNEL) throw new Error(`a convolution gave ${middle}`);
    return taken;
  };
  const first = await run();
  return first > SLOW_MS ? first : Math.min(await run(), await run());
}

const name = process.argv[2] as GpuRuntime;
let probe: GpuProbe;
try {
  const gpu = await measure(await loadRuntime(name), true);
  probe = { error: null, speed: (await measure(await loadRuntime("onnx"), false)) / gpu };
} catch (error) {
  probe = { error: reasonOf(error instanceof Error && error.cause !== undefined ? error.cause : error), speed: 0 };
}
process.send!(probe);
