import { expect } from "chai";

import { HYPERPARAMETERS, type Architecture, type Space } from "../../offchain/protocol/architecture.ts";
import { resultHash, ZERO_HASH } from "../../offchain/protocol/bytes.ts";
import { PonasError } from "../../offchain/protocol/errors.ts";
import { createRandom } from "../../offchain/protocol/random.ts";
import { describeModel } from "../../offchain/evaluation/describe.ts";
import { evaluateModel, largestOfEach, type EvaluationRequest } from "../../offchain/evaluation/evaluate.ts";
import { encodeModel, modelRoot } from "../../offchain/evaluation/model.ts";
import { PLAIN_LAYER, randomModel, randomPixels, zeroModel } from "./random-model.ts";

const LAYER = {
  ...PLAIN_LAYER,
  kernelHeight: 3,
  kernelWidth: 3,
  filters: 8,
  actIntBits: 2,
  actFracBits: 4,
  weightIntBits: 1,
  weightFracBits: 5,
};
const ARCHITECTURE: Architecture = {
  input: [8, 8, 1],
  classes: 10,
  layers: [LAYER, { ...LAYER, strideHeight: 2, strideWidth: 2 }],
  head: { pool: "flatten", hidden: 0 },
};
const model = randomModel(createRandom(1), ARCHITECTURE);
const bytes = encodeModel(model);
const count = 40;
const pixels = randomPixels(createRandom(2), ARCHITECTURE, count);
const labels = Uint8Array.from({ length: count }, (_, i) => i % 10);
const request: EvaluationRequest = { pixels, labels, count, maxBytes: bytes.length };

async function thrownBy(work: Promise<unknown>): Promise<PonasError> {
  const error: unknown = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).to.be.instanceOf(PonasError);
  return error as PonasError;
}

describe("the evaluation of a model file", () => {
  it("counts the predictions that equal their labels, and hashes them", async () => {
    const { predictions, ...evaluation } = await evaluateModel(bytes, request);
    expect(new Set(predictions).size).to.be.greaterThan(1);
    const correct = labels.filter((label, i) => label === predictions[i]).length;
    expect(evaluation).to.deep.equal({
      correct,
      total: count,
      result: resultHash(predictions),
      modelRoot: modelRoot(model),
      malformed: null,
    });
    const all = await evaluateModel(bytes, { ...request, labels: predictions });
    expect(all.correct).to.equal(count);
  });

  it("is the same by either engine", async () => {
    const fast = await evaluateModel(bytes, { ...request, engine: "fast" });
    expect(await evaluateModel(bytes, { ...request, engine: "reference" })).to.deep.equal(fast);
  });

  it("gives ties to the lowest class", async () => {
    const evaluation = await evaluateModel(encodeModel(zeroModel(ARCHITECTURE)), request);
    expect([...evaluation.predictions]).to.deep.equal(Array<number>(count).fill(0));
    expect(evaluation.correct).to.equal(4);
    const logits = Float64Array.of(1, 3, 3, -5, -4, -4, 0, 0, 0, -2, -1, 0);
    expect([...largestOfEach(logits, 3)]).to.deep.equal([1, 1, 0, 2]);
  });

  it("gives a malformed model zero correct, with the reason, and no error", async () => {
    const evaluation = await evaluateModel(bytes.subarray(1), request);
    expect(evaluation.malformed?.reason).to.match(/^The model file is malformed: /);
    expect({ ...evaluation, malformed: null }).to.deep.equal({
      correct: 0,
      total: count,
      predictions: new Uint8Array(),
      result: ZERO_HASH,
      modelRoot: null,
      malformed: null,
    });
  });

  it("gives a model over the cap zero correct", async () => {
    const evaluation = await evaluateModel(bytes, { ...request, maxBytes: bytes.length - 1 });
    expect(evaluation.malformed?.reason).to.match(/the cap is/);
    expect([evaluation.correct, evaluation.result]).to.deep.equal([0, ZERO_HASH]);
  });

  it("gives a model outside the task's space zero correct, and says which model it was", async () => {
    const space = Object.fromEntries(HYPERPARAMETERS.map((name) => [name, [LAYER[name]]])) as Space;
    const rules = { template: { input: [8, 8, 1], classes: 10, depth: 2, head: ARCHITECTURE.head }, space } as const;
    const evaluation = await evaluateModel(bytes, { ...request, rules: rules as never });
    expect(evaluation.malformed?.reason).to.equal(
      "The model is malformed: layer 1 has strideHeight 2, which is not in the task's space.",
    );
    expect([evaluation.correct, evaluation.modelRoot]).to.deep.equal([0, modelRoot(model)]);
  });

  it("gives a model whose accumulators overflow zero correct", async () => {
    const large = { ...model, output: { ...model.output, bias: new Int32Array(10).fill(2 ** 31 - 1) } };
    const evaluation = await evaluateModel(encodeModel(large), request);
    expect(evaluation.malformed?.reason).to.match(/unit 0 of the output layer can reach/);
  });

  it("refuses samples that are not of the network's size, or not as many as labels", async () => {
    const short = await thrownBy(evaluateModel(bytes, { ...request, pixels: pixels.subarray(1) }));
    expect(short.code).to.equal("bad-input");
    expect(short.message).to.equal("The network reads images of 8×8×1 = 64 bytes, but 40 samples have 2559 bytes.");
    const unlabelled = await thrownBy(evaluateModel(bytes, { ...request, labels: labels.subarray(1) }));
    expect(unlabelled.message).to.equal("There are 39 labels for 40 samples.");
  });

  it("stops when asked, by either engine", async () => {
    for (const engine of ["fast", "reference"] as const) {
      const error = await thrownBy(evaluateModel(bytes, { ...request, engine, signal: AbortSignal.abort() }));
      expect(error.code).to.equal("aborted");
    }
  });
});

describe("the description of a model file", () => {
  it("gives architecture, root and shapes, and weights only on request", () => {
    const description = describeModel(bytes);
    expect(description).to.have.all.keys("architecture", "modelRoot", "shapes", "malformed");
    expect(description.architecture).to.deep.equal(ARCHITECTURE);
    expect(description.modelRoot).to.equal(modelRoot(model));
    expect(description.shapes.map(({ pool }) => pool.height)).to.deep.equal([8, 4]);
    expect(description.malformed).to.equal(null);
  });

  it("nests weights as filter, row, column, channel", () => {
    const { layers, hidden, output } = describeModel(bytes, { weights: true });
    expect(hidden).to.equal(null);
    const second = layers![1]!;
    expect(
      [second.weights, second.weights[0], second.weights[0]![0], second.weights[0]![0]![0]].map((a) => a!.length),
    ).to.deep.equal([8, 3, 3, 8]);
    expect(second.weights.flat(3)).to.deep.equal([...model.layers[1]!.weights]);
    expect(second.weights[5]![2]![1]![7]).to.equal(model.layers[1]!.weights[((5 * 3 + 2) * 3 + 1) * 8 + 7]);
    expect(output!.weights[9]![127]).to.equal(model.output.weights[9 * 128 + 127]);
    expect([output!.weights.length, output!.bias]).to.deep.equal([10, [...model.output.bias]]);
    expect(() => JSON.stringify({ layers, output })).to.not.throw();
  });

  it("shows a hidden layer", () => {
    const head: Architecture["head"] = { pool: "global-sum", hidden: 4, hiddenActIntBits: 1, hiddenActFracBits: 2 };
    const { hidden } = describeModel(encodeModel(zeroModel({ ...ARCHITECTURE, head })), { weights: true });
    expect(hidden).to.deep.equal({ weights: Array(4).fill(Array(8).fill(0)), bias: [0, 0, 0, 0] });
  });

  it("says why a readable model is malformed, and throws for one that cannot be read", () => {
    const wrong = zeroModel(ARCHITECTURE);
    wrong.output.weights[0] = 200;
    expect(describeModel(encodeModel(wrong)).malformed?.reason).to.match(/is 200, outside -128 … 127/);
    expect(() => describeModel(Uint8Array.of(1, 2))).to.throw(PonasError, "The model file is malformed");
  });
});
