import { expect } from "chai";

import { standingOf, type AcceptedShare } from "../../offchain/agents/share-receipts.ts";
import { encodeSharesFile, type SharesFile } from "../../offchain/pool/shares-file.ts";
import type { Address } from "../../offchain/protocol/bytes.ts";
import { MINERS, sharesFile } from "../pool/kit/won-task.ts";

describe("A miner's receipts beside the posted shares file", () => {
  const ben = MINERS[1]!.address;
  let file: SharesFile;
  let accepted: AcceptedShare[];
  before(async () => {
    file = await sharesFile();
    accepted = file.shares.filter(({ miner }) => miner === ben);
  });
  const standing = (shares: SharesFile["shares"], miner: Address = ben) =>
    standingOf(accepted, encodeSharesFile({ ...file, shares }), "The shares file", miner);

  it("are all in it where nobody lies", () => {
    expect(accepted).to.have.length(2);
    expect(standing(file.shares)).to.deep.equal({ missing: [], voided: [] });
  });

  it("show a share that was left out, is another model's, or is somebody else's", () => {
    const [first, second] = accepted.map(({ share }) => share.lease) as [number, number];
    expect(standing(file.shares.filter(({ lease }) => lease !== second)).missing).to.deep.equal([second]);
    const swapped = file.shares.map((share) =>
      share.lease === first ? { ...share, modelRoot: file.shares[0]!.modelRoot } : share,
    );
    expect(standing(swapped).missing).to.deep.equal([first]);
    expect(standing(file.shares, MINERS[2]!.address).missing).to.deep.equal([first, second]);
  });

  it("tell why a share counts for nothing", () => {
    const voided = file.shares.map((share) => ({ ...share, voided: true, reason: "It was false." }));
    expect(standing(voided)).to.deep.equal({ missing: [], voided: ["It was false."] });
  });

  it("are not compared with what is no shares file", () => {
    expect(() => standingOf(accepted, Buffer.from("{}"), "The shares file", ben)).to.throw(
      "The shares file is not valid",
    );
  });
});
