import { FsBlockstore } from "blockstore-fs";
import { NotFoundError } from "interface-store";
import type { CID } from "multiformats/cid";
import { sha256 } from "multiformats/hashes/sha2";

/**
 * Blocks on disk that are hashed as they are read. Helia trusts its disk; so a block that a crash left torn would be
 * served for ever. Here it is thrown away at its first reading and counts as missing: the next request fetches it
 * from peers, or its owner adds it again.
 */
export class CheckedBlockstore extends FsBlockstore {
  /**
   * Called after a block has been written. Helia announces a block to the peers that want it before it writes it, and
   * they get nothing when the look into the folder comes first; so it has to be announced once more.
   */
  onStored: (cid: CID) => void = () => {};

  override async put(...args: Parameters<FsBlockstore["put"]>): Promise<CID> {
    const cid = await super.put(...args);
    this.onStored(cid);
    return cid;
  }

  override async *get(cid: CID, options?: Parameters<FsBlockstore["get"]>[1]): AsyncGenerator<Uint8Array> {
    const parts: Uint8Array[] = [];
    for await (const part of super.get(cid, options)) parts.push(part);
    const block = Buffer.concat(parts);
    if (cid.multihash.code === sha256.code) {
      const { digest } = await sha256.digest(block);
      if (!Buffer.from(digest).equals(cid.multihash.digest)) {
        await this.delete(cid);
        throw new NotFoundError(`the block ${cid} on disk was damaged, and is removed`);
      }
    }
    yield block;
  }
}
