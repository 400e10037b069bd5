import { expect } from "chai";

import type { Architecture } from "../../offchain/protocol/architecture.ts";
import { createAugmentation } from "../../offchain/training/augmentation.ts";
import { createBatches } from "../../offchain/training/batches.ts";
import type { TrainingSettings } from "../../offchain/training/settings.ts";
import { network, quadrants, SETTINGS } from "./networks.ts";

/** Every image that an augmentation makes of one, in many draws. */
function outcomes(
  augmentation: TrainingSettings["augmentation"],
  shape: Architecture["input"],
  image: Uint8Array,
  draws: number,
): Map<string, number> {
  const copyImage = createAugmentation(augmentation, shape, 1);
  const seen = new Map<string, number>();
  const target = new Uint8Array(image.length).fill(255);
  for (let i = 0; i < draws; i++) {
    copyImage(image, target);
    seen.set(target.join(), (seen.get(target.join()) ?? 0) + 1);
  }
  return seen;
}

/** The image moved, written from the definition: what comes in from outside is 0. */
function moved(
  image: Uint8Array,
  [h, w, c]: Architecture["input"],
  down: number,
  right: number,
  flip: boolean,
): string {
  return Uint8Array.from(image, (_, at) => {
    const [row, column, channel] = [Math.floor(at / (w * c)) - down, (Math.floor(at / c) % w) - right, at % c];
    if (row < 0 || row >= h || column < 0 || column >= w) return 0;
    return image[(row * w + (flip ? w - 1 - column : column)) * c + channel]!;
  }).join();
}

describe("augmentation", () => {
  const shape: Architecture["input"] = [3, 4, 2];
  const image = Uint8Array.from({ length: 24 }, (_, i) => i + 1);

  it("gives every move and mirror image there is, each as often as any other, and nothing else", () => {
    const seen = outcomes({ shift: 1, flip: true }, shape, image, 5400);
    const expected = [-1, 0, 1].flatMap((down) =>
      [-1, 0, 1].flatMap((right) => [false, true].map((flip) => moved(image, shape, down, right, flip))),
    );
    expect([...seen.keys()]).to.have.members(expected);
    for (const count of seen.values()) expect(count).to.be.within(230, 370);
  });

  it("only mirrors, or only moves, where the recipe says so", () => {
    expect([...outcomes({ shift: 0, flip: true }, shape, image, 50).keys()]).to.have.members([
      image.join(),
      moved(image, shape, 0, 0, true),
    ]);
    expect(outcomes({ shift: 1, flip: false }, shape, image, 500).size).to.equal(9);
    expect(outcomes({ shift: 0, flip: false }, shape, image, 50).size).to.equal(1);
    expect(outcomes(undefined, shape, image, 50).size).to.equal(1);
  });

  it("moves images out of sight where they are smaller than the shift", () => {
    const small: Architecture["input"] = [4, 4, 1];
    const pixels = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
    const seen = outcomes({ shift: 8, flip: false }, small, pixels, 3000);
    expect(seen.get(new Uint8Array(16).join())).to.be.within(2300, 2700); // 1 − (7/17)² of them
    for (let down = -3; down <= 3; down++) expect(seen.has(moved(pixels, small, down, -down, false))).to.equal(true);
  });
});

describe("batches", () => {
  const architecture = network([8, 8, 1], [{ filters: 6 }]);
  const train = quadrants([8, 8, 1], 70, 1);
  const recipe = { ...SETTINGS, dropout: 0.25, augmentation: { shift: 2, flip: true } };
  const epoch = (settings: TrainingSettings, seed = 3, skip = 0) => {
    const next = createBatches({ architecture, train, settings, batch: 16, seed });
    for (let i = 0; i < skip; i++) for (const _ of next());
    return Array.from(next(), ({ pixels, labels, dropoutMask }) => ({
      pixels: pixels.slice(),
      labels: labels.slice(),
      dropoutMask: dropoutMask?.slice(),
    }));
  };

  it("are the same for the same seed, others for another, and others in the next epoch", () => {
    expect(epoch(recipe)).to.have.length(4);
    expect(epoch(recipe)).to.deep.equal(epoch(recipe));
    expect(epoch(recipe, 4)).to.not.deep.equal(epoch(recipe));
    expect(epoch(recipe, 3, 1)).to.not.deep.equal(epoch(recipe));
  });

  it("come in an order that neither dropout nor augmentation changes", () => {
    const labels = (settings: TrainingSettings) => epoch(settings).map(({ labels }) => labels);
    expect(labels(recipe)).to.deep.equal(labels(SETTINGS));
    const masks = (settings: TrainingSettings) => epoch(settings).map(({ dropoutMask }) => dropoutMask);
    expect(masks(recipe)).to.deep.equal(masks({ ...SETTINGS, dropout: 0.25 }));
    expect(masks(SETTINGS)).to.deep.equal([undefined, undefined, undefined, undefined]);
  });

  it("drop the share that the recipe names, and scale the rest up by as much", () => {
    for (const dropout of [0.25, 0.99]) {
      const values = epoch({ ...SETTINGS, dropout }).flatMap(({ dropoutMask }) => [...dropoutMask!]);
      expect(values).to.have.length(4 * 16 * 6);
      const kept = values.filter((value) => value !== 0);
      for (const value of kept) expect(value).to.equal(Math.fround(1 / (1 - dropout)));
      expect(1 - kept.length / values.length).to.be.closeTo(dropout, 0.08);
    }
  });
});
