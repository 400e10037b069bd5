/**
 * Writes test/solidity/EvaluatedNetworks.sol: small random networks, a sample each, and what the evaluator makes of it, for
 * the fuzz tests in Solidity. The same seed gives the same file.
 */
import { writeFileSync } from "node:fs";

import { encodeAbiParameters, type Hex } from "viem";

import { linearWeights, type Model } from "../offchain/evaluation/model.ts";
import { referenceTrace } from "../offchain/evaluation/reference.ts";
import { hashTrace, openUnit } from "../offchain/evaluation/trace-openings.ts";
import { traceSteps } from "../offchain/evaluation/trace-steps.ts";
import { disputesAbi } from "../offchain/protocol/abi.ts";
import { architectureTuple } from "../offchain/protocol/bytes.ts";
import { createRandom } from "../offchain/protocol/random.ts";
import { randomArchitecture, randomModel, randomPixels } from "../test/evaluation/random-model.ts";

const FILE = new URL("../test/solidity/EvaluatedNetworks.sol", import.meta.url);
const NETWORKS = 8;
const MOST_WEIGHTS = 1200;
const MOST_VALUES = 700;

const answerTrace = disputesAbi.find((item) => "name" in item && item.name === "answerTrace");
const model = (answerTrace as unknown as { inputs: { components: { name: string; type: string }[] }[] }).inputs[1]!;
const architecture = model.components.find(({ name }) => name === "architecture")!;
/** `Evaluated` of test/solidity/DisputePlayer.sol. */
const EVALUATED = [
  {
    type: "tuple",
    components: [
      architecture,
      { name: "pixels", type: "bytes" },
      { name: "tensors", type: "bytes[]" },
      { name: "logits", type: "int32[]" },
      { name: "biases", type: "int32[]" },
      { name: "weights", type: "bytes[]" },
    ],
  },
];

const hex = (bytes: Uint8Array): Hex => `0x${Buffer.from(bytes).toString("hex")}`;

/** Whether most tensors say something: a dead network compares nothing. */
function alive(network: Model, pixels: Uint8Array): boolean {
  const { tensors } = referenceTrace(network, pixels);
  return tensors.every(({ values }) => values.length < 3 || new Set(values).size > 2);
}

function encode(network: Model, pixels: Uint8Array): Hex {
  const steps = traceSteps(network.architecture);
  const trace = referenceTrace(network, pixels);
  const units = steps.flatMap((step) =>
    step.linear === null ? [] : Array.from({ length: step.linear.units }, (_, unit) => openUnit(network, step, unit)),
  );
  return encodeAbiParameters(EVALUATED, [
    {
      architecture: architectureTuple(network.architecture),
      pixels: hex(pixels),
      tensors: hashTrace(network, pixels, trace)
        .slice(1)
        .map(({ bytes }) => hex(bytes)),
      logits: [...trace.logits],
      biases: units.map(({ bias }) => bias),
      weights: units.map(({ rows }) => hex(Buffer.concat(rows))),
    },
  ]);
}

const found: Hex[] = [];
const wanted = new Set(["max-pool", "sum", "hidden", "flatten", "padding", "stride"]);
for (let seed = 0; found.length < NETWORKS || wanted.size > 0; seed++) {
  const random = createRandom(`evaluated networks ${seed}`);
  const drawn = randomArchitecture(random);
  const network = randomModel(random, drawn, random.choice(["any", "below-2^31"] as const));
  const [height, width, channels] = drawn.input;
  const pixels = randomPixels(random, drawn, 4).subarray(3 * height * width * channels);
  const steps = traceSteps(drawn);
  const weights = linearWeights(network).reduce((sum, part) => sum + part.weights.length, 0);
  const values = steps.reduce((sum, { output: o }) => sum + o.height * o.width * o.channels, 0);
  if (weights > MOST_WEIGHTS || values > MOST_VALUES || drawn.classes < 2 || !alive(network, pixels)) continue;
  const kinds = [
    ...steps.map(({ operation }) => operation),
    drawn.head.pool,
    ...(drawn.head.hidden > 0 ? ["hidden"] : []),
    ...(steps.some(({ paddingTop }) => paddingTop > 0) ? ["padding"] : []),
    ...(steps.some(({ linear, strideHeight }) => linear !== null && strideHeight > 1) ? ["stride"] : []),
  ];
  const isNew = kinds.some((kind) => wanted.delete(kind));
  if (isNew || found.length < NETWORKS) found.push(encode(network, pixels));
}

writeFileSync(
  FILE,
  `// SPDX-License-Identifier: MIT
// Written by scripts/evaluated-networks.ts.
pragma solidity 0.8.30;

/// @title Networks with what the evaluator makes of a sample
/// @notice \`abi.encode(Evaluated)\` each; see DisputePlayer.sol.
library EvaluatedNetworks {
    uint256 internal constant COUNT = ${found.length};

    function data(uint256 index) internal pure returns (bytes memory) {
${found.map((encoded, i) => `        if (index == ${i}) return _network${i}();\n`).join("")}        revert("no such network");
    }
${found
  .map(
    (encoded, i) => `
    function _network${i}() private pure returns (bytes memory) {
        return
            hex"${encoded.slice(2)}";
    }
`,
  )
  .join("")}}
`,
);
