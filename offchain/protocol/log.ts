import { pino, type Logger } from "pino";
import pc from "picocolors";

export type Log = Logger;

export const LOG_FORMATS = ["text", "json"] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

const COLOURS: Record<number, (text: string) => string> = { 40: pc.yellow, 50: pc.red, 60: pc.red };

/** One line a record, for people: time, name, message. The structured fields stay in the json format. */
function asText(line: string): string {
  const record = JSON.parse(line) as { time: number; level: number; name?: string; msg?: string };
  const clock = new Date(record.time).toISOString().slice(11, 19);
  const paint = COLOURS[record.level] ?? ((text: string) => text);
  return `${pc.dim(clock)} ${pc.bold((record.name ?? "").padEnd(12))} ${paint(record.msg ?? "")}\n`;
}

/**
 * A log on stderr; stdout stays for results. Levels: error = needs a person; warn = will be retried or was refused;
 * info = a duty done; debug = everything else, "somebody already did it" among it.
 */
export function createLog(
  name: string,
  { format = "text", level = "info" }: { format?: LogFormat; level?: string } = {},
): Log {
  const write = (line: string): void => {
    process.stderr.write(format === "json" ? line : asText(line));
  };
  return pino({ name, level, base: { name } }, { write });
}
