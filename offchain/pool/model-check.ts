/** Whether a model that was handed over is the one that its share says. */
import type { Evaluation, EvaluationRequest } from "../evaluation/evaluate.ts";
import { decodeModel, modelRoot as rootOf } from "../evaluation/model.ts";
import { malformation } from "../evaluation/well-formed.ts";
import { architectureHash, type Hex } from "../protocol/bytes.ts";
import { PonasError } from "../protocol/errors.ts";
import type { Architecture } from "../protocol/architecture.ts";
import type { Samples } from "../training/datasets.ts";
import type { Tally } from "./messages.ts";
import type { Serial } from "./serial.ts";
import { rulesOf, type PoolTaskDescriptor } from "./task.ts";

/** `evaluateModel` of offchain/evaluation, or what runs it elsewhere. */
export type Evaluate = (bytes: Uint8Array, request: EvaluationRequest) => Promise<Evaluation>;

/** What a share says of its model. */
export interface ModelClaim {
  readonly modelRoot: Hex;
  readonly architecture: Architecture;
  readonly validation: Tally;
}

/** What models of a task are evaluated on. */
export interface CheckedTask {
  readonly descriptor: PoolTaskDescriptor;
  /** the pool's validation split */
  readonly validation: Samples;
}

export interface ModelCheck {
  /** Everything but the accuracy: why the model is not what the share says, or null. */
  form(descriptor: PoolTaskDescriptor, claim: ModelClaim, bytes: Uint8Array): string | null;
  /** The accuracy on the pool's validation split too. @throws PonasError engine, aborted */
  full(task: CheckedTask, claim: ModelClaim, bytes: Uint8Array): Promise<string | null>;
  /** Right on the pool's validation split; 0 where the model is malformed. @throws PonasError engine, aborted */
  count(task: CheckedTask, bytes: Uint8Array): Promise<number>;
}

export function createModelCheck({
  evaluate,
  evaluating,
  signal,
}: {
  readonly evaluate: Evaluate;
  /** the order in which the manager evaluates: one model at a time */
  readonly evaluating: Serial;
  readonly signal: AbortSignal;
}): ModelCheck {
  const evaluationOf = ({ descriptor, validation }: CheckedTask, bytes: Uint8Array): Promise<Evaluation> =>
    evaluating(() =>
      evaluate(bytes, { ...validation, maxBytes: descriptor.maxModelBytes, rules: rulesOf(descriptor), signal }),
    );
  const otherRoot = (root: Hex | null, claim: ModelClaim): string =>
    `The model handed over has root ${root}, the share says ${claim.modelRoot}.`;
  const OTHER_ARCHITECTURE = "The model handed over is of another architecture than the share says.";

  return {
    form(descriptor, claim, bytes) {
      let model;
      try {
        model = decodeModel(bytes, { maxBytes: descriptor.maxModelBytes });
      } catch (error) {
        if (!(error instanceof PonasError)) throw error;
        return error.message;
      }
      const fault = malformation(model, rulesOf(descriptor));
      if (fault !== null) return `The model is malformed: ${fault}.`;
      const root = rootOf(model);
      if (root !== claim.modelRoot) return otherRoot(root, claim);
      if (architectureHash(model.architecture) !== architectureHash(claim.architecture)) return OTHER_ARCHITECTURE;
      return null;
    },

    async full({ descriptor, validation }, claim, bytes) {
      const { correct, total, malformed, modelRoot } = await evaluationOf({ descriptor, validation }, bytes);
      if (malformed !== null) return malformed.reason;
      if (modelRoot !== claim.modelRoot) return otherRoot(modelRoot, claim);
      const { architecture } = decodeModel(bytes, { maxBytes: descriptor.maxModelBytes });
      if (architectureHash(architecture) !== architectureHash(claim.architecture)) return OTHER_ARCHITECTURE;
      if (correct === claim.validation.correct) return null;
      return `The model has ${correct} of ${total} validation samples right, the share says ${claim.validation.correct}.`;
    },

    async count(task, bytes) {
      const { correct, malformed } = await evaluationOf(task, bytes);
      return malformed === null ? correct : 0;
    },
  };
}
