import type { Command } from "commander";

import { describeModel } from "../../evaluation/describe.ts";
import type { Context } from "../context.ts";
import { readModelFile } from "../files.ts";

export function register(program: Command, context: Context): void {
  program
    .command("inspect")
    .description("what is in a model file: architecture, modelRoot, shapes, weights")
    .argument("<model>", "model file")
    .option("--weights", "print the weights too")
    .option("--json", "print JSON")
    .action((file: string, { weights, json }: { weights?: boolean; json?: boolean }) => {
      const description = describeModel(readModelFile(file), { weights });
      const { architecture, modelRoot, shapes, malformed } = description;
      const layers = architecture.layers.map((layer, index) => {
        const { convolution, pool } = shapes[index]!;
        const kernel = `${layer.kernelHeight}×${layer.kernelWidth}`;
        const stride = `${layer.strideHeight}×${layer.strideWidth}`;
        const after = layer.poolSize === 1 ? "" : `, pooled to ${pool.height}×${pool.width}`;
        const bits = `activations ${layer.actIntBits}.${layer.actFracBits}, weights ${layer.weightIntBits}.${layer.weightFracBits}`;
        return `layer ${index}: ${layer.filters} filters ${kernel}, stride ${stride} → ${convolution.height}×${convolution.width}×${convolution.channels}${after}; ${bits}`;
      });
      const head = `${architecture.head.pool}${architecture.head.hidden > 0 ? `, hidden ${architecture.head.hidden}` : ""} → ${architecture.classes} classes`;
      const verdict = malformed === null ? [] : [`malformed: ${malformed.reason}`];
      const text = [
        `modelRoot ${modelRoot}`,
        `input ${architecture.input.join("×")}`,
        ...layers,
        `head: ${head}`,
        ...verdict,
      ];
      if (weights === true)
        text.push(
          JSON.stringify({ layers: description.layers, hidden: description.hidden, output: description.output }),
        );
      context.print(json, description, text.join("\n"));
    });
}
