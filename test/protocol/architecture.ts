import { expect } from "chai";

import {
  architectureSchema,
  headSchema,
  HYPERPARAMETERS,
  isDead,
  membershipFault,
  parseWith,
  spaceSchema,
  templateSchema,
  type Architecture,
  type Layer,
  type Space,
  type Template,
} from "../../offchain/protocol/architecture.ts";
import { PonasError } from "../../offchain/protocol/errors.ts";

const layer: Layer = { kernelHeight: 3, kernelWidth: 5, filters: 8, strideHeight: 1, strideWidth: 2, poolSize: 1, actIntBits: 2, actFracBits: 4, weightIntBits: 2, weightFracBits: 5 }; // prettier-ignore
const architecture: Architecture = {
  input: [28, 28, 1],
  classes: 10,
  layers: [layer, { ...layer, filters: 16 }],
  head: { pool: "flatten", hidden: 0 },
};
const template: Template = { input: [28, 28, 1], classes: 10, depth: 2, head: { pool: "flatten", hidden: 0 } };
const space: Space = { kernelHeight: [3, 5], kernelWidth: [3, 5], filters: [8, 16], strideHeight: [1, 2], strideWidth: [1, 2], poolSize: [1, 2], actIntBits: [1, 2], actFracBits: [3, 4], weightIntBits: [1, 2], weightFracBits: [4, 5] }; // prettier-ignore

const accepts = (value: unknown): boolean => architectureSchema.safeParse(value).success;

describe("architectures", () => {
  describe("the schema", () => {
    it("takes an architecture, with a tiling or without", () => {
      expect(accepts(architecture)).to.equal(true);
      expect(accepts({ ...architecture, tiling: { tiles: [[4, 8]], groups: [1] } })).to.equal(true);
    });

    for (const [what, value] of [
      ["no layers", { ...architecture, layers: [] }],
      ["65 layers", { ...architecture, layers: Array(65).fill(layer) }],
      ["a side of 65", { ...architecture, input: [65, 28, 1] }],
      ["a side of 0", { ...architecture, input: [28, 0, 1] }],
      ["two dimensions", { ...architecture, input: [28, 28] }],
      ["257 classes", { ...architecture, classes: 257 }],
      ["a broken number of classes", { ...architecture, classes: 9.5 }],
      ["an unknown field", { ...architecture, name: "x" }],
      ["an unknown field in a layer", { ...architecture, layers: [{ ...layer, dilation: 1 }] }],
      ["a stride of 0", { ...architecture, layers: [{ ...layer, strideWidth: 0 }] }],
      ["17 bits", { ...architecture, layers: [{ ...layer, actIntBits: 17 }] }],
      ["-1 bits", { ...architecture, layers: [{ ...layer, actIntBits: -1 }] }],
      ["65,536 filters", { ...architecture, layers: [{ ...layer, filters: 65536 }] }],
      ["a number in words", { ...architecture, layers: [{ ...layer, filters: "8" }] }],
      ["NaN", { ...architecture, layers: [{ ...layer, filters: NaN }] }],
      ["a tile of three", { ...architecture, tiling: { tiles: [[1, 2, 3]], groups: [1] } }],
      ["a group of 256", { ...architecture, tiling: { tiles: [], groups: [256] } }],
      ["null", null],
    ] as const) {
      it(`refuses ${what}`, () => expect(accepts(value)).to.equal(false));
    }

    it("wants hidden bits exactly where there is a hidden layer", () => {
      const bits = { hiddenActIntBits: 1, hiddenActFracBits: 0 };
      const takes = (head: object): boolean => headSchema.safeParse({ pool: "flatten", ...head }).success;
      expect(takes({ hidden: 0 })).to.equal(true);
      expect(takes({ hidden: 5, ...bits })).to.equal(true);
      expect(takes({ hidden: 5 })).to.equal(false);
      expect(takes({ hidden: 5, hiddenActIntBits: 1 })).to.equal(false);
      expect(takes({ hidden: 0, ...bits })).to.equal(false);
      expect(takes({ hidden: 0, hiddenActFracBits: 0 })).to.equal(false);
    });

    it("of templates and spaces wants ten lists with something in each", () => {
      expect(templateSchema.safeParse(template).success).to.equal(true);
      expect(templateSchema.safeParse({ ...template, depth: 0 }).success).to.equal(false);
      expect(spaceSchema.safeParse(space).success).to.equal(true);
      for (const name of HYPERPARAMETERS) {
        expect(spaceSchema.safeParse({ ...space, [name]: [] }).success, name).to.equal(false);
        expect(spaceSchema.safeParse({ ...space, [name]: undefined }).success, name).to.equal(false);
      }
      expect(spaceSchema.safeParse({ ...space, dilation: [1] }).success).to.equal(false);
    });
  });

  describe("membership", () => {
    it("is given where template and space agree", () => {
      expect(membershipFault(architecture, template, space)).to.equal(null);
    });

    for (const [axis, name] of ["height", "width", "channels"].entries()) {
      it(`is refused for another ${name}`, () => {
        const input = template.input.with(axis, 3) as Template["input"];
        expect(membershipFault(architecture, { ...template, input }, space)).to.equal(
          `its input is 28×28×1, the task's is ${input.join("×")}`,
        );
      });
    }

    it("is refused for other classes, depth and head", () => {
      const faults = [
        membershipFault(architecture, { ...template, classes: 9 }, space),
        membershipFault(architecture, { ...template, depth: 3 }, space),
        membershipFault(architecture, { ...template, head: { pool: "global-sum", hidden: 0 } }, space),
        membershipFault({ ...architecture, head: { pool: "flatten", hidden: 4, hiddenActIntBits: 2, hiddenActFracBits: 3 } }, { ...template, head: { pool: "flatten", hidden: 4, hiddenActIntBits: 2, hiddenActFracBits: 4 } }, space), // prettier-ignore
      ];
      expect(faults).to.deep.equal([
        "it has 10 classes, the task has 9",
        "it has 2 layers, the task asks for 3",
        "its head has pool flatten, the task's has global-sum",
        "its head has hiddenActFracBits 3, the task's has 4",
      ]);
    });

    for (const name of HYPERPARAMETERS) {
      it(`is refused for a ${name} outside of its list, in the last layer too`, () => {
        const strange: Architecture = { ...architecture, layers: [layer, { ...layer, [name]: 9 }] };
        expect(membershipFault(strange, template, space)).to.equal(
          `layer 1 has ${name} 9, which is not in the task's space`,
        );
      });
    }

    it("is never given to a stride of 0, listed or not", () => {
      const still: Architecture = { ...architecture, layers: [{ ...layer, strideHeight: 0 }, layer] };
      expect(membershipFault(still, template, { ...space, strideHeight: [0, 1] })).to.equal(
        "layer 0 has strideHeight 0, which is not in the task's space",
      );
    });

    it("does not ask for a tiling, nor mind one", () => {
      const tiled: Architecture = { ...architecture, tiling: { tiles: [[1, 1], [1, 1]], groups: [2] } }; // prettier-ignore
      expect(membershipFault(tiled, template, space)).to.equal(null);
    });
  });

  it("are dead where a layer's activations or weights have no bits", () => {
    const withLayer = (change: Partial<Layer>): Architecture => ({
      ...architecture,
      layers: [layer, { ...layer, ...change }],
    });
    expect(isDead(architecture)).to.equal(false);
    expect(isDead(withLayer({ actIntBits: 0 }))).to.equal(false);
    expect(isDead(withLayer({ actIntBits: 0, actFracBits: 0 }))).to.equal(true);
    expect(isDead(withLayer({ weightIntBits: 0, weightFracBits: 0 }))).to.equal(true);
    const head = { pool: "flatten", hidden: 3, hiddenActIntBits: 0, hiddenActFracBits: 0 } as const;
    expect(isDead({ ...architecture, head })).to.equal(true);
    expect(isDead({ ...architecture, head: { ...head, hiddenActFracBits: 1 } })).to.equal(false);
  });

  describe("parseWith", () => {
    const refusal = (value: unknown): PonasError => {
      try {
        parseWith(architectureSchema, value, "The architecture ARCH.json");
      } catch (error) {
        if (error instanceof PonasError) return error;
        throw error;
      }
      throw new Error("nothing was refused");
    };

    it("returns what fits", () => {
      expect(parseWith(architectureSchema, structuredClone(architecture), "It")).to.deep.equal(architecture);
    });

    it("says in one sentence what is wrong, and where", () => {
      const error = refusal({ ...architecture, layers: [layer, { ...layer, filters: 0 }] });
      expect(error.code).to.equal("bad-input");
      expect(error.message).to.match(/^The architecture ARCH\.json is not valid at layers\.1\.filters: [^\n]+\.$/);
    });

    it("names no place where the whole is wrong", () => {
      expect(refusal("text").message).to.match(/^The architecture ARCH\.json is not valid: [^\n]+\.$/);
    });
  });
});
