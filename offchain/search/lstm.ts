/**
 * A stack of LSTM layers of equal width, forward and backward through time (Hochreiter & Schmidhuber 1997 with forget
 * gates; gates, order and the two bias vectors as PyTorch's `nn.LSTM` has them). All numbers are float64.
 */
import type { Random } from "../protocol/random.ts";

export interface LstmShape {
  /** inputs and units of every layer */
  readonly units: number;
  readonly layers: number;
}

/** Parameters of a stack: per layer input weights [4u, u], recurrent weights [4u, u] and two biases [4u]; gates i, f, g, o. */
export function lstmSize({ units, layers }: LstmShape): number {
  return layers * layerSize(units);
}

const layerSize = (units: number): number => 8 * units * (units + 1);

/** Fills parameters uniformly from ±1/√units, as PyTorch does. */
export function initialiseLstm({ units }: LstmShape, parameters: Float64Array, random: Random): void {
  const bound = 1 / Math.sqrt(units);
  for (let i = 0; i < parameters.length; i++) parameters[i] = bound * (2 * random.next() - 1);
}

/** One sequence through the stack, and back. Its memory is made once and used for one sequence after another. */
export interface LstmTape {
  /** Starts a sequence. @param hidden [layers, units] @param cell [layers, units] */
  begin(hidden: Float64Array, cell: Float64Array): void;
  /** One step. @param input [units] @returns the top layer's output [units], a view that lasts until `begin` */
  step(parameters: Float64Array, input: Float64Array): Float64Array;
  /**
   * Back through all steps since `begin`.
   * @param outputGradients of the top layer's outputs [steps, units]; used as working memory
   * @param gradient of the parameters: added to
   * @param inputGradients of the inputs [steps, units]: overwritten
   */
  backward(
    parameters: Float64Array,
    outputGradients: Float64Array,
    gradient: Float64Array,
    inputGradients: Float64Array,
  ): void;
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** @param steps the longest sequence */
export function createLstmTape({ units, layers }: LstmShape, steps: number): LstmTape {
  const rows = 4 * units;
  const recurrentAt = rows * units;
  const biasAt = 2 * rows * units;
  // Position 0 of the states is the one before the first step.
  const tapes = Array.from({ length: layers }, () => ({
    inputs: new Float64Array(steps * units),
    gates: new Float64Array(steps * rows),
    hidden: new Float64Array((steps + 1) * units),
    cell: new Float64Array((steps + 1) * units),
    squashed: new Float64Array(steps * units),
  }));
  const gateGradients = new Float64Array(rows);
  const hiddenGradients = new Float64Array(units);
  const cellGradients = new Float64Array(units);
  let length = 0;

  function step(parameters: Float64Array, input: Float64Array): Float64Array {
    if (length === steps) throw new RangeError(`a sequence has at most ${steps} steps`);
    const t = length++;
    let below = input;
    for (const [index, { inputs, gates, hidden, cell, squashed }] of tapes.entries()) {
      const weights = parameters.subarray(index * layerSize(units), (index + 1) * layerSize(units));
      const before = hidden.subarray(t * units, (t + 1) * units);
      inputs.set(below, t * units);
      for (let row = 0; row < rows; row++) {
        let sum = weights[biasAt + row]! + weights[biasAt + rows + row]!;
        for (let k = 0, at = row * units; k < units; k++, at++) {
          sum += weights[at]! * below[k]! + weights[recurrentAt + at]! * before[k]!;
        }
        const isCandidate = row >= 2 * units && row < 3 * units;
        gates[t * rows + row] = isCandidate ? Math.tanh(sum) : sigmoid(sum);
      }
      for (let k = 0, gate = t * rows, at = t * units; k < units; k++, gate++, at++) {
        const next = gates[gate + units]! * cell[at]! + gates[gate]! * gates[gate + 2 * units]!;
        cell[at + units] = next;
        squashed[at] = Math.tanh(next);
        hidden[at + units] = gates[gate + 3 * units]! * squashed[at]!;
      }
      below = hidden.subarray((t + 1) * units, (t + 2) * units);
    }
    return below;
  }

  /** Back through one layer: `above` holds the gradients of its outputs and gets those of its inputs. */
  function layerBackward(index: number, parameters: Float64Array, above: Float64Array, gradient: Float64Array): void {
    const { inputs, gates, hidden, cell, squashed } = tapes[index]!;
    const weights = parameters.subarray(index * layerSize(units), (index + 1) * layerSize(units));
    const slope = gradient.subarray(index * layerSize(units), (index + 1) * layerSize(units));
    hiddenGradients.fill(0);
    cellGradients.fill(0);
    for (let t = length - 1; t >= 0; t--) {
      for (let k = 0, gate = t * rows, at = t * units; k < units; k++, gate++, at++) {
        const [i, f] = [gates[gate]!, gates[gate + units]!];
        const [g, o] = [gates[gate + 2 * units]!, gates[gate + 3 * units]!];
        const dHidden = above[at]! + hiddenGradients[k]!;
        const dCell = cellGradients[k]! + dHidden * o * (1 - squashed[at]! ** 2);
        gateGradients[k] = dCell * g * i * (1 - i);
        gateGradients[k + units] = dCell * cell[at]! * f * (1 - f);
        gateGradients[k + 2 * units] = dCell * i * (1 - g * g);
        gateGradients[k + 3 * units] = dHidden * squashed[at]! * o * (1 - o);
        cellGradients[k] = dCell * f;
      }
      const below = above.subarray(t * units, (t + 1) * units);
      const input = inputs.subarray(t * units, (t + 1) * units);
      const before = hidden.subarray(t * units, (t + 1) * units);
      below.fill(0);
      hiddenGradients.fill(0);
      for (let row = 0; row < rows; row++) {
        const d = gateGradients[row]!;
        slope[biasAt + row]! += d;
        slope[biasAt + rows + row]! += d;
        for (let k = 0, at = row * units; k < units; k++, at++) {
          below[k]! += d * weights[at]!;
          hiddenGradients[k]! += d * weights[recurrentAt + at]!;
          slope[at]! += d * input[k]!;
          slope[recurrentAt + at]! += d * before[k]!;
        }
      }
    }
  }

  return {
    begin(hidden, cell) {
      length = 0;
      for (const [index, tape] of tapes.entries()) {
        tape.hidden.set(hidden.subarray(index * units, (index + 1) * units));
        tape.cell.set(cell.subarray(index * units, (index + 1) * units));
      }
    },
    step,
    backward(parameters, outputGradients, gradient, inputGradients) {
      for (let index = layers - 1; index >= 0; index--) layerBackward(index, parameters, outputGradients, gradient);
      inputGradients.set(outputGradients.subarray(0, length * units));
    },
  };
}
