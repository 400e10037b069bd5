/** A run of the benchmark as one JSON value, as text for a terminal and as Markdown to keep. */
import type { EnginePresence } from "../../training/engines.ts";
import type { Bar, Figure } from "./figures.ts";
import type { Machine } from "./machine.ts";

export interface GroupResult {
  readonly name: string;
  readonly seconds: number;
  /** why none of the group could be measured, or null */
  readonly failed: string | null;
}

export interface Report {
  /** when it began, ISO 8601 */
  readonly date: string;
  /** true where runs were too short for their figures to count */
  readonly quick: boolean;
  readonly machine: Machine;
  readonly engines: readonly EnginePresence[];
  readonly groups: readonly GroupResult[];
  readonly figures: readonly Figure[];
  readonly summary: { readonly met: number; readonly missed: number; readonly unmeasured: number };
}

/** How many bars were met, missed, and not put to the test. */
export function summaryOf(figures: readonly Figure[]): Report["summary"] {
  const asked = figures.filter(({ bar }) => bar !== null);
  return {
    met: asked.filter(({ met }) => met === true).length,
    missed: asked.filter(({ met }) => met === false).length,
    unmeasured: asked.filter(({ met }) => met === null).length,
  };
}

const HEADINGS = ["what", "figure", "ratio", "bar", ""] as const;

export function renderText(report: Report): string {
  const rows = report.figures.map((figure) => cellsOf(figure));
  const widths = HEADINGS.map((heading, i) => Math.max(heading.length, ...rows.map((cells) => cells[i]!.length)));
  const line = (cells: readonly string[]): string => cells.map((cell, i) => cell.padEnd(widths[i]!)).join("  ").trimEnd(); // prettier-ignore
  return [
    ...machineLines(report.machine),
    "",
    ...report.engines.map(engineLine),
    "",
    line(HEADINGS),
    ...rows.map(line),
    "",
    ...remarks(report),
  ].join("\n");
}

export function renderMarkdown(report: Report): string {
  const { machine, figures, engines } = report;
  const row = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  const notes = figures.filter(({ note }) => note !== null);
  const absent = engines.filter(({ present }) => !present);
  return [
    `# ${machine.cpu}, ${machine.cores} ${machine.cores === 1 ? "core" : "cores"}`,
    "",
    `Written by \`ponas bench\` on ${report.date.slice(0, 10)}.`,
    "",
    ...machineLines(machine).map((text) => `- ${text}`),
    "",
    "## Engines",
    "",
    ...engines.map((engine) => `- ${engineLine(engine)}`),
    "",
    "## Figures",
    "",
    row(HEADINGS.map((heading) => heading || "met")),
    row(HEADINGS.map(() => "---")),
    ...figures.map((figure) => row(cellsOf(figure))),
    "",
    ...remarks(report),
    ...(notes.length === 0 ? [] : ["", "## Notes", ""]),
    ...notes.map(({ what, note }) => `- ${what}: ${note}.`),
    "",
    "## Not tried",
    "",
    ...(absent.length === 0
      ? ["Every engine that there is was present on this machine."]
      : absent.map(({ name, detail, cure }) => `- ${name}: ${detail}${cure === null ? "" : `; to try it: ${cure}`}.`)),
    "- Any other machine: figures are of the one named above, and of nothing else.",
    "",
  ].join("\n");
}

function machineLines({ cpu, cores, memoryGiB, os, node, accelerators, loadAverage, busy }: Machine): string[] {
  return [
    `${cpu}, ${cores} ${cores === 1 ? "core" : "cores"}, ${memoryGiB} GiB of memory`,
    `${os}; Node ${node}`,
    ...accelerators,
    `load average at the start ${loadAverage.join(", ")}`,
    ...(busy === null ? [] : [busy]),
  ];
}

function engineLine({ name, present, detail, cure }: EnginePresence): string {
  const state = present ? "present" : "absent";
  return `${name}: ${state}${detail === "" ? "" : `, ${detail}`}${cure === null ? "" : ` → ${cure}`}`;
}

function remarks({ quick, groups, summary: { met, missed, unmeasured } }: Report): string[] {
  return [
    `Bars: ${met} met, ${missed} missed, ${unmeasured} not measured.`,
    "Figures and ratios are medians of runs that took turns; ± is half of the range of the samples.",
    ...(quick ? ["A quick run: too short for its figures to count."] : []),
    ...groups.flatMap(({ name, failed }) => (failed === null ? [] : [`The group ${name} failed: ${failed}`])),
  ];
}

function cellsOf({ what, value, unit, spread, against, ratio, ratioSpread, bar, met, note }: Figure): string[] {
  return [
    what,
    value === null ? `not measured: ${note ?? "unknown"}` : `${withUnit(quantity(value), unit)}${plusMinus(spread)}`,
    ratio === null
      ? ""
      : `${quantity(ratio)} ×${plusMinus(ratioSpread)} ${against?.name} (${quantity(against!.value)})`,
    bar === null ? "" : barText(bar, unit),
    met === null ? "" : met ? "met" : "MISSED",
  ];
}

function barText({ of, least, most }: Bar, unit: string): string {
  const suffix = of === "ratio" ? "×" : unit;
  const sides = [least === undefined ? "" : `≥ ${withUnit(least, suffix)}`, most === undefined ? "" : `≤ ${withUnit(most, suffix)}`]; // prettier-ignore
  return sides.filter((side) => side !== "").join(", ");
}

const withUnit = (value: string | number, unit: string): string => (unit === "" ? String(value) : `${value} ${unit}`);

const plusMinus = (spread: number | null): string =>
  spread === null || spread === 0 ? "" : ` ± ${(50 * spread).toFixed(0)} %`;

/** Three significant digits, and no exponent. */
function quantity(value: number): string {
  const size = Math.abs(value);
  return size >= 100 ? Math.round(value).toLocaleString("en") : Number(value.toPrecision(3)).toString();
}
