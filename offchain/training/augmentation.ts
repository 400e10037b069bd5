/** Random changes of images that keep their class: what a task's recipe calls augmentation. */
import type { Architecture } from "../protocol/architecture.ts";
import { createRandom } from "../protocol/random.ts";
import type { TrainingSettings } from "./settings.ts";

/** Copies one image's bytes to the start of `target`, perhaps changed. */
export type CopyImage = (image: Uint8Array, target: Uint8Array) => void;

/**
 * Mirrors an image left to right half the time where the recipe flips, then moves it by whole pixels, both ways drawn
 * uniformly from −shift … shift; what comes in from outside is 0. It works on bytes before any engine sees them, so
 * that all engines train on the same images.
 * @param shape rows, columns and channels of an image (H·W·C bytes, channels last)
 */
export function createAugmentation(
  augmentation: TrainingSettings["augmentation"],
  [height, width, channels]: Architecture["input"],
  seed: number,
): CopyImage {
  const { shift, flip } = augmentation ?? { shift: 0, flip: false };
  if (shift === 0 && !flip) return (image, target) => target.set(image);
  const random = createRandom(`augmentation ${seed}`);
  const draw = (): number => (shift === 0 ? 0 : random.integer(2 * shift + 1) - shift);
  const rowBytes = width * channels;
  const mirrored = new Uint8Array(height * rowBytes);

  return (image, target) => {
    const [down, right] = [draw(), draw()];
    let source = image;
    if (flip && random.integer(2) === 1) {
      for (let from = 0; from < image.length; from += channels) {
        const row = Math.floor(from / rowBytes) * rowBytes;
        const to = row + rowBytes - channels - (from - row);
        for (let channel = 0; channel < channels; channel++) mirrored[to + channel] = image[from + channel]!;
      }
      source = mirrored;
    }
    // Of each row that stays in sight, the columns that do.
    const visible = Math.max(0, width - Math.abs(right)) * channels;
    const [from, to] = [Math.max(0, -right) * channels, Math.max(0, right) * channels];
    target.fill(0, 0, height * rowBytes);
    for (let row = Math.max(0, down); row < Math.min(height, height + down); row++) {
      const start = (row - down) * rowBytes + from;
      if (visible > 0) target.set(source.subarray(start, start + visible), row * rowBytes + to);
    }
  };
}
