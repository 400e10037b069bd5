/** Rearrangements of image tensors N×H×W×C, of kernels that every backend of TensorFlow.js has. */
import type { Rank, Tensor4D } from "@tensorflow/tfjs-core";

import type { Padding } from "../evaluation/shapes.ts";
import type { Tf } from "./tfjs-backend.ts";

/** The image with so many rows and columns more on each side, or fewer where a number is negative. */
export function reframe(tf: Tf, image: Tensor4D, { top, bottom, left, right }: Padding, fill = 0): Tensor4D {
  const [batch, height, width, channels] = image.shape;
  const cut = [top, bottom, left, right].map((by) => Math.max(0, -by)) as [number, number, number, number];
  const grown = [top, bottom, left, right].map((by) => Math.max(0, by)) as [number, number, number, number];
  const kept = cut.every((by) => by === 0)
    ? image
    : tf.slice(image, [0, cut[0], cut[2], 0], [batch, height - cut[0] - cut[1], width - cut[2] - cut[3], channels]);
  if (grown.every((by) => by === 0)) return kept;
  return tf.pad(
    kept,
    [
      [0, 0],
      [grown[0], grown[1]],
      [grown[2], grown[3]],
      [0, 0],
    ],
    fill,
  );
}

/** The frame that undoes another. */
export function inverse({ top, bottom, left, right }: Padding): Padding {
  return { top: 0 - top, bottom: 0 - bottom, left: 0 - left, right: 0 - right };
}

/**
 * The phases of an image, (0, 0), (0, 1), …: phase (i, j) holds rows i, i + down, i + 2·down, … and columns
 * j, j + across, …; height and width are multiples of the two.
 */
export function phases(tf: Tf, image: Tensor4D, down: number, across: number): Tensor4D[] {
  const [batch, height, width, channels] = image.shape;
  const [rows, columns] = [height / down, width / across];
  const blocks = tf.reshape(image, [batch * rows, down, columns, across * channels]);
  return places(down, across).map(([i, j]) =>
    tf.reshape(tf.slice(blocks, [0, i, 0, j * channels], [batch * rows, 1, columns, channels]), [
      batch,
      rows,
      columns,
      channels,
    ]),
  );
}

/** The image of these phases. */
export function interleave(tf: Tf, parts: readonly Tensor4D[], down: number, across: number): Tensor4D {
  const [batch, rows, columns, channels] = parts[0]!.shape;
  if (parts.length === 1) return parts[0]!;
  const cells = parts.map((part) => tf.reshape<Rank.R4>(part, [batch * rows, 1, columns, channels]));
  const lines = Array.from({ length: down }, (_, i) => tf.concat4d(cells.slice(i * across, (i + 1) * across), 3));
  return tf.reshape(tf.concat4d(lines, 1), [batch, rows * down, columns * across, channels]);
}

/** (0, 0), (0, 1), …, (down − 1, across − 1) */
export function places(down: number, across: number): [number, number][] {
  return Array.from({ length: down * across }, (_, place) => [Math.floor(place / across), place % across]);
}
