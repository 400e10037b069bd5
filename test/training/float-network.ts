/**
 * A child network without its roundings, in plain double precision and written from docs/evaluation.md alone: the
 * oracle of the gradient check.
 */
import { linearLayers } from "../../offchain/evaluation/shapes.ts";
import type { Architecture } from "../../offchain/protocol/architecture.ts";

export interface DoubleParameters {
  readonly weights: Float64Array;
  readonly bias: Float64Array;
}

type Tensor = { h: number; w: number; c: number; data: Float64Array };

const clamp = (x: number, max: number): number => Math.min(max, Math.max(0, x));

/** Row and column of the first element of window `out`, which may lie in the padding. */
function start(out: number, size: number, window: number, stride: number): number {
  const pad = Math.max(0, (Math.ceil(size / stride) - 1) * stride + window - size);
  return out * stride - Math.floor(pad / 2);
}

/**
 * Mean cross-entropy of a batch; pixels b stand for b/256. A global sum's logits are divided by its positions.
 * @param dropoutMask samples × hidden units, or channels of the last layer: what the output layer reads of them is
 *   multiplied by it
 */
export function floatLoss(
  architecture: Architecture,
  parameters: readonly DoubleParameters[],
  pixels: Uint8Array,
  labels: Uint8Array,
  dropoutMask?: Float32Array,
): number {
  const [h, w, c] = architecture.input;
  const size = h * w * c;
  let loss = 0;
  labels.forEach((label, n) => {
    const image = Float64Array.from(pixels.subarray(n * size, (n + 1) * size), (b) => b / 256);
    const width = (dropoutMask?.length ?? 0) / labels.length;
    const mask = dropoutMask?.subarray(n * width, (n + 1) * width);
    const logits = floatLogits(architecture, parameters, { h, w, c, data: image }, mask);
    const top = Math.max(...logits);
    loss += Math.log(logits.reduce((sum, x) => sum + Math.exp(x - top), 0)) + top - logits[label]!;
  });
  return loss / labels.length;
}

function floatLogits(
  architecture: Architecture,
  parameters: readonly DoubleParameters[],
  image: Tensor,
  mask: Float32Array | undefined,
): number[] {
  const { layers, head } = architecture;
  let x = image;
  for (const [index, layer] of layers.entries()) {
    const { kernelHeight: kh, kernelWidth: kw, strideHeight: sh, strideWidth: sw, filters, poolSize: p } = layer;
    const { weights, bias } = parameters[index]!;
    const max = 2 ** layer.actIntBits - 2 ** -layer.actFracBits;
    const y: Tensor = { h: Math.ceil(x.h / sh), w: Math.ceil(x.w / sw), c: filters, data: new Float64Array() };
    const out = new Float64Array(y.h * y.w * filters);
    for (let i = 0; i < y.h; i++) {
      for (let j = 0; j < y.w; j++) {
        for (let m = 0; m < filters; m++) {
          let sum = bias[m]!;
          for (let a = 0; a < kh; a++) {
            for (let b = 0; b < kw; b++) {
              const [r, s] = [start(i, x.h, kh, sh) + a, start(j, x.w, kw, sw) + b];
              if (r < 0 || r >= x.h || s < 0 || s >= x.w) continue;
              for (let k = 0; k < x.c; k++) {
                sum += x.data[(r * x.w + s) * x.c + k]! * weights[((m * kh + a) * kw + b) * x.c + k]!;
              }
            }
          }
          out[(i * y.w + j) * filters + m] = clamp(sum, max);
        }
      }
    }
    const pooled: Tensor = { h: Math.ceil(y.h / p), w: Math.ceil(y.w / p), c: filters, data: new Float64Array() };
    pooled.data = new Float64Array(pooled.h * pooled.w * filters).map((_, at) => {
      const m = at % filters;
      const j = Math.floor(at / filters) % pooled.w;
      const i = Math.floor(at / filters / pooled.w);
      let largest = -Infinity;
      for (let a = 0; a < p; a++) {
        for (let b = 0; b < p; b++) {
          const [r, s] = [start(i, y.h, p, p) + a, start(j, y.w, p, p) + b];
          if (r >= 0 && r < y.h && s >= 0 && s < y.w) largest = Math.max(largest, out[(r * y.w + s) * filters + m]!);
        }
      }
      return largest;
    });
    x = pooled;
  }
  const positions = x.h * x.w;
  let features = [...x.data];
  if (head.pool === "global-sum") {
    features = Array.from({ length: x.c }, (_, k) =>
      x.data.reduce((sum, value, at) => (at % x.c === k ? sum + value : sum), 0),
    );
  }
  for (let index = layers.length; index < linearLayers(architecture).length; index++) {
    const { weights, bias } = parameters[index]!;
    // Features stand in (row, column, channel) order, so a channel is the index modulo their number.
    const last = index === linearLayers(architecture).length - 1;
    if (last && mask !== undefined) features = features.map((value, i) => value * mask[i % mask.length]!);
    const sums = [...bias].map((b, unit) =>
      features.reduce((sum, value, i) => sum + value * weights[unit * features.length + i]!, b),
    );
    const hidden = index === layers.length && head.hidden > 0;
    const max = 2 ** (head.hiddenActIntBits ?? 0) - 2 ** -(head.hiddenActFracBits ?? 0);
    features = hidden ? sums.map((sum) => clamp(sum, max)) : sums;
  }
  const scale = head.pool === "global-sum" && head.hidden === 0 ? 1 / positions : 1;
  return features.map((logit) => logit * scale);
}
