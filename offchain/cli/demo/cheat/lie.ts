/**
 * The lie of the demo's liar, by a single prediction: of one image that its model takes for something else, the liar
 * claims the right class. Its predictions, their count and its seal agree with each other, and so does everything that
 * it shows in a dispute: it is what the model makes of another image of that class, which it puts in the place of the
 * real one. Only the first layer's arithmetic over the real pixels tells.
 */
import type { TaskFiles } from "../../../agents/task-files.ts";
import { PonasError } from "../../../protocol/errors.ts";
import type { Samples } from "../../../training/datasets.ts";

export interface Lie {
  /** index of the image that is claimed to be known */
  readonly sample: number;
  /** what the model takes it for */
  readonly prediction: number;
  /** what it is, and is claimed to be taken for */
  readonly claimed: number;
  /** index of an image of that class that the model does know, shown in the place of the other */
  readonly instead: number;
}

/**
 * The first image that the model takes wrongly and of whose class it knows another.
 * @param predictions of the model, one class a sample
 * @throws PonasError not-found where the model leaves nothing to lie about
 */
export function chooseLie({ labels }: Pick<Samples, "labels">, predictions: Uint8Array): Lie {
  for (const [sample, claimed] of labels.entries()) {
    const prediction = predictions[sample]!;
    if (prediction === claimed) continue;
    const instead = labels.findIndex((label, i) => label === claimed && predictions[i] === label);
    if (instead >= 0) return { sample, prediction, claimed, instead };
  }
  throw new PonasError(
    "not-found",
    "The model leaves nothing to lie about: no image that it takes wrongly is of a class it knows.",
  );
}

/** The test set with one image in another's place: what a model makes of it is the lie, down to the last logit. */
export function withLie(samples: Samples, { sample, instead }: Lie): Samples {
  const size = samples.pixels.length / samples.count;
  const pixels = Uint8Array.from(samples.pixels);
  pixels.copyWithin(sample * size, instead * size, (instead + 1) * size);
  return { ...samples, pixels };
}

/** A task's files as a liar sees them; the commitment to the test set stays the real one. */
export function lyingFiles(
  files: TaskFiles,
  lieOf: (task: Parameters<TaskFiles["testSet"]>[0]) => Promise<Lie | undefined>,
): TaskFiles {
  return {
    ...files,
    testSet: async (task) => {
      const { samples, commitment } = await files.testSet(task);
      const lie = await lieOf(task);
      return { samples: lie === undefined ? samples : withLie(samples, lie), commitment };
    },
  };
}
