/**
 * A look over CBOR from strangers before any library decodes it: no recursion, no allocation beyond a few numbers.
 * It stops what a decoder would pay for in memory or stack: lengths beyond the file, millions of tiny items, deep
 * nesting.
 */

export interface CborLimits {
  readonly maxItems: number;
  readonly maxDepth: number;
}

/** Major types of RFC 8949, section 3.1. */
const MAJOR = { bytes: 2, text: 3, array: 4, map: 5, tag: 6, simple: 7 } as const;

/** Why the bytes are not one CBOR item within the limits, or null. Content is not judged. */
export function scanCbor(bytes: Uint8Array, { maxItems, maxDepth }: CborLimits): string | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  /** items still to come at each level, outermost first */
  const open = [1];
  let at = 0;
  for (let items = 0; open.length > 0; items++) {
    while (open.at(-1) === 0) open.pop();
    if (open.length === 0) break;
    open[open.length - 1]!--;
    if (items === maxItems) return `it holds more than ${maxItems} values`;
    if (at >= bytes.length) return `it ends after ${bytes.length} bytes, in the middle of a value`;

    const start = at;
    const head = bytes[at++]!;
    const major = head >> 5;
    const minor = head & 31;
    let argument = minor;
    if (minor >= 24) {
      const width = { 24: 1, 25: 2, 26: 4, 27: 8 }[minor];
      if (width === undefined) return `it has an indefinite or reserved length at byte ${start}`;
      if (at + width > bytes.length) return `it ends after ${bytes.length} bytes, in the middle of a value`;
      argument = unsigned(view, at, width);
      at += width;
    }
    if (major === MAJOR.tag) return `it has a tag at byte ${start}, and a model has none`;
    if (major === MAJOR.bytes || major === MAJOR.text) {
      if (argument > bytes.length - at) {
        return `it claims ${argument} bytes at byte ${start}, where ${bytes.length - at} are left`;
      }
      at += argument;
    } else if (major === MAJOR.array || major === MAJOR.map) {
      const inside = major === MAJOR.map ? 2 * argument : argument;
      if (inside > bytes.length - at) {
        return `it claims ${inside} values at byte ${start}, where ${bytes.length - at} bytes are left`;
      }
      if (open.length > maxDepth) return `it nests deeper than ${maxDepth} levels at byte ${start}`;
      open.push(inside);
    }
  }
  return at === bytes.length ? null : `it goes on for ${bytes.length - at} bytes after its end`;
}

function unsigned(view: DataView, at: number, width: number): number {
  if (width === 1) return view.getUint8(at);
  if (width === 2) return view.getUint16(at);
  if (width === 4) return view.getUint32(at);
  return Number(view.getBigUint64(at));
}
