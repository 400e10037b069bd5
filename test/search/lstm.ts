import { expect } from "chai";

import { createRandom } from "../../offchain/protocol/random.ts";
import { createController } from "../../offchain/search/controller.ts";
import { createDecisions } from "../../offchain/search/decisions.ts";
import { createLstmTape, initialiseLstm, lstmSize } from "../../offchain/search/lstm.ts";
import { spaceByName } from "../../offchain/search/spaces.ts";
import { tinySpace } from "./kit/networks.ts";

/** Central difference of a function by one entry of an array. */
function slopeAt(values: Float64Array, at: number, f: () => number, step = 1e-5): number {
  const held = values[at]!;
  values[at] = held + step;
  const above = f();
  values[at] = held - step;
  const below = f();
  values[at] = held;
  return (above - below) / (2 * step);
}

describe("LSTM", () => {
  const shape = { units: 3, layers: 2 };
  const steps = 5;

  function example(seed: number) {
    const random = createRandom(seed);
    const numbers = (length: number): Float64Array => Float64Array.from({ length }, random.normal);
    const parameters = new Float64Array(lstmSize(shape));
    initialiseLstm(shape, parameters, random);
    const [hidden, cell] = [numbers(6), numbers(6)];
    const [inputs, weights] = [numbers(steps * 3), numbers(steps * 3)];
    const tape = createLstmTape(shape, steps);
    const run = (): number => {
      tape.begin(hidden, cell);
      let sum = 0;
      for (let t = 0; t < steps; t++) {
        const output = tape.step(parameters, inputs.subarray(t * 3, t * 3 + 3));
        output.forEach((value, k) => (sum += value * weights[t * 3 + k]!));
      }
      return sum;
    };
    return { parameters, hidden, cell, inputs, weights, tape, run };
  }

  it("computes the standard equations for one unit", () => {
    const tape = createLstmTape({ units: 1, layers: 1 }, 1);
    // Input weights, recurrent weights and both biases of the gates i, f, g, o.
    const parameters = Float64Array.of(0.5, -1, 0.25, 2, 1, 0.5, -0.5, 0.75, 0.1, 0.2, 0.3, 0.4, 0, 0.1, -0.1, 0.2);
    tape.begin(Float64Array.of(0.4), Float64Array.of(-0.6));
    const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
    const x = 1.5;
    const cell =
      sigmoid(-1 * x + 0.5 * 0.4 + 0.3) * -0.6 + sigmoid(0.5 * x + 0.4 + 0.1) * Math.tanh(0.25 * x - 0.5 * 0.4 + 0.2);
    const expected = sigmoid(2 * x + 0.75 * 0.4 + 0.6) * Math.tanh(cell);
    expect(tape.step(parameters, Float64Array.of(x))[0]).to.be.closeTo(expected, 1e-15);
  });

  it("has the gradients that finite differences give, of its parameters and of its inputs", () => {
    for (const seed of [1, 2, 3]) {
      const { parameters, inputs, weights, tape, run } = example(seed);
      run();
      const gradient = new Float64Array(parameters.length);
      const inputGradients = new Float64Array(inputs.length);
      tape.backward(parameters, weights.slice(), gradient, inputGradients);
      for (const at of gradient.keys()) expect(gradient[at]).to.be.closeTo(slopeAt(parameters, at, run), 1e-8);
      for (const at of inputs.keys()) expect(inputGradients[at]).to.be.closeTo(slopeAt(inputs, at, run), 1e-8);
    }
  });

  it("adds to a gradient, so that sequences of a batch sum up", () => {
    const { parameters, weights, inputs, tape, run } = example(4);
    const [once, twice] = [0, 0].map(() => new Float64Array(parameters.length)) as [Float64Array, Float64Array];
    for (const gradient of [once, twice, twice]) {
      run();
      tape.backward(parameters, weights.slice(), gradient, new Float64Array(inputs.length));
    }
    once.forEach((value, at) => expect(twice[at]).to.be.closeTo(2 * value, 1e-12));
  });

  it("forgets the sequence before, and says where one is too long", () => {
    const { run, tape, parameters } = example(5);
    expect(run()).to.equal(run());
    expect(() => tape.step(parameters, new Float64Array(3))).to.throw(RangeError, "at most 5 steps");
  });
});

describe("the controller", () => {
  it("has the policy gradient that finite differences give", () => {
    const random = createRandom(7);
    const controller = createController(createDecisions(spaceByName("S2"), 2), random);
    const { parameters } = controller;
    const episode = controller.sample(99, random);
    const gradient = new Float64Array(parameters.length);
    controller.logProbability(episode, gradient, -0.7);
    const f = (): number => -0.7 * controller.logProbability(episode);
    // All kinds of parameters: of both layers of the LSTM, and of the first and last decisions.
    const touched = [...gradient.keys()].filter((at) => gradient[at] !== 0);
    for (let i = 0; i < 150; i++) {
      const at = random.choice(touched);
      expect(gradient[at]).to.be.closeTo(slopeAt(parameters, at, f), 1e-7);
    }
    const untouched = [...gradient.keys()].filter((at) => gradient[at] === 0);
    for (let i = 0; i < 20; i++) expect(slopeAt(parameters, random.choice(untouched), f)).to.equal(0);
  });

  it("gives probabilities of all architectures that add up to one, over lists and over boxes", () => {
    const stride = (...values: number[]) => ({ ...tinySpace, strideHeight: values });
    const boxes = [
      [stride(1), stride(1, 2)],
      [stride(2), stride(2)],
    ];
    for (const [space, members] of [
      [tinySpace, 4],
      [boxes, 3],
    ] as const) {
      const random = createRandom(1);
      const decisions = createDecisions(space, 2);
      const controller = createController(decisions, random);
      const seen = new Map<string, number>();
      for (let i = 0; i < 60; i++) {
        const { start, actions } = controller.sample(5, random);
        seen.set(actions.join(), Math.exp(controller.logProbability({ start, actions })));
      }
      expect(seen.size).to.equal(members);
      expect([...seen.values()].reduce((sum, p) => sum + p, 0)).to.be.closeTo(1, 1e-12);
    }
  });

  it("passes nothing back to choices that the space forbids", () => {
    const wide = { ...tinySpace, strideHeight: [1, 2, 3] };
    const boxes = [
      [{ ...wide, strideHeight: [1] }, wide],
      [
        { ...wide, strideHeight: [2] },
        { ...wide, strideHeight: [2] },
      ],
    ];
    const random = createRandom(3);
    const controller = createController(createDecisions(boxes, 2), random);
    let episode = controller.sample(5, random);
    while (episode.actions[3] !== 1) episode = controller.sample(5, random);
    const gradient = new Float64Array(controller.parameters.length);
    controller.logProbability(episode, gradient, 1);
    const f = (): number => controller.logProbability(episode);
    for (const at of gradient.keys()) {
      if (at % 397 === 0) expect(gradient[at]).to.be.closeTo(slopeAt(controller.parameters, at, f), 1e-7);
    }
    expect(gradient.every(Number.isFinite)).to.equal(true);
  });
});
