/** What a benchmark says: figures, each with what it was measured against and the bar that it has to meet. */
import { ratioOf, type Summary } from "./statistics.ts";

/** What is asked of a figure: at least or at most so much, of its ratio or of its value. */
export interface Bar {
  readonly of: "ratio" | "value";
  readonly least?: number;
  readonly most?: number;
}

export interface Figure {
  /** stable and unique, "training/small/onnx:onnx-web" */
  readonly id: string;
  /** a sentence's beginning, for people */
  readonly what: string;
  /** null where it could not be measured; the note says why */
  readonly value: number | null;
  /** empty for a plain number */
  readonly unit: string;
  /** (largest − smallest) / median of the samples */
  readonly spread: number | null;
  readonly samples: readonly number[];
  /** what the ratio compares with, measured in the same turns; null where the figure stands alone */
  readonly against: null | { readonly name: string; readonly value: number; readonly spread: number };
  readonly ratio: number | null;
  readonly ratioSpread: number | null;
  /** null where nothing is asked */
  readonly bar: Bar | null;
  /** null where nothing is asked or nothing could be measured */
  readonly met: boolean | null;
  readonly note: string | null;
}

/** What a figure is, before it is measured. */
export interface Description {
  readonly id: string;
  readonly what: string;
  readonly unit: string;
  readonly bar?: Bar;
  readonly note?: string;
}

/** A figure that stands alone. */
export function measured(description: Description, { median, spread, samples }: Summary): Figure {
  return judged({ ...empty(description), value: median, spread, samples });
}

/** A figure with its ratio to another one that was measured in turns with it. */
export function compared(description: Description, own: Summary, name: string, other: Summary): Figure {
  const ratio = ratioOf(own, other);
  return judged({
    ...empty(description),
    value: own.median,
    spread: own.spread,
    samples: own.samples,
    against: { name, value: other.median, spread: other.spread },
    ratio: ratio.median,
    ratioSpread: ratio.spread,
  });
}

/** A figure that could not be measured. */
export function missing(description: Description, reason: string): Figure {
  return { ...empty(description), note: reason };
}

function empty({ id, what, unit, bar, note }: Description): Figure {
  return {
    id,
    what,
    value: null,
    unit,
    spread: null,
    samples: [],
    against: null,
    ratio: null,
    ratioSpread: null,
    bar: bar ?? null,
    met: null,
    note: note ?? null,
  };
}

function judged(figure: Figure): Figure {
  const { bar } = figure;
  if (bar === null) return figure;
  const value = figure[bar.of];
  if (value === null) return figure;
  return { ...figure, met: value >= (bar.least ?? -Infinity) && value <= (bar.most ?? Infinity) };
}
