/** The IDX format, in which MNIST and its relatives are published: a big-endian header, then bytes. */
import { fileFault, MAX_BYTES, openBytes, type ReadOptions } from "./byte-reader.ts";
import type { Placement } from "./splits.ts";

/** Magic numbers of unsigned bytes in so many dimensions. */
const MAGIC_BYTES = 0x0800;

/**
 * Reads an IDX file of unsigned bytes, gzipped where its name ends in .gz, record by record.
 * @param ranks the numbers of dimensions that are right here
 * @param prepare hears the dimensions before any record is read and says where records go
 * @returns MD5 of the uncompressed content, as hex digits
 * @throws PonasError dataset: not readable, wrong magic number, shorter or longer than its header says; and what
 *   `prepare` throws
 */
export async function readIdx(
  file: string,
  ranks: readonly number[],
  prepare: (dims: readonly number[]) => Placement,
  options: ReadOptions = {},
): Promise<string> {
  await using reader = openBytes(file, options);
  const { name } = reader;
  const magicBytes = new Uint8Array(4);
  if ((await reader.read(magicBytes)) < 4) {
    throw fileFault(`${name} is truncated: it ends at offset ${reader.offset()}, inside its magic number.`);
  }
  const magic = new DataView(magicBytes.buffer).getUint32(0);
  const rank = magic - MAGIC_BYTES;
  if (!ranks.includes(rank)) {
    const right = ranks.map((r) => hex32(MAGIC_BYTES + r)).join(" or ");
    throw fileFault(`${name} starts with the magic number ${hex32(magic)} instead of ${right}.`);
  }
  const truncated = (promised: number) =>
    fileFault(`${name} is truncated: it ends at offset ${reader.offset()}, but its header promises ${promised} bytes.`);
  const dimBytes = new Uint8Array(4 * rank);
  const header = 4 + dimBytes.length;
  if ((await reader.read(dimBytes)) < dimBytes.length) throw truncated(header);
  const view = new DataView(dimBytes.buffer);
  const dims = Array.from({ length: rank }, (_, i) => view.getUint32(4 * i));
  const [count, ...rest] = dims as [number, ...number[]];
  const recordBytes = rest.reduce((product, dim) => product * dim, 1);
  const size = header + count * recordBytes;
  // Nothing is allocated for a promise that no file can keep.
  if (size > MAX_BYTES) {
    await reader.drain();
    throw truncated(size);
  }

  const place = prepare(dims);
  const unwanted = new Uint8Array(recordBytes);
  for (let index = 0; index < count; index++) {
    if ((await reader.read(place(index) ?? unwanted)) < recordBytes) throw truncated(size);
  }
  const more = await reader.drain();
  if (more > 0) throw fileFault(`${name} has ${reader.offset()} bytes, ${more} more than its header says.`);
  return reader.md5();
}

const hex32 = (value: number): string => `0x${value.toString(16).padStart(8, "0")}`;
