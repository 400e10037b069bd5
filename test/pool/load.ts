import { expect } from "chai";

import { whyNoServer } from "./kit/postgres.ts";
import { measure } from "./load/measure.ts";

describe("One manager process under load", function () {
  for (const [database, missing] of [["folder", null] as const, ["server", whyNoServer()] as const]) {
    // How quickly is for `test/pool/load/measure.ts` on a quiet machine; here nothing may be lost, refused or forgotten.
    it(`acknowledges every share of 100 miners in 5 seconds, its database ${database === "folder" ? "in a folder" : "on a server"}`, async function () {
      if (missing !== null) {
        console.log(`      skipped: ${missing}`);
        return this.skip();
      }
      const result = await measure({ database, miners: 100, rate: 15, seconds: 5 });
      const { sent, acknowledged, refused, unanswered, p50, p99, cpuPerShare } = result;
      console.log(`      ${JSON.stringify({ acknowledged, p50, p99, cpuPerShare, rss: result.rss.at(-1) })}`);
      expect(result.reasons).to.deep.equal({});
      expect({ refused, unanswered }).to.deep.equal({ refused: 0, unanswered: 0 });
      expect(acknowledged).to.equal(sent);
      expect(acknowledged).to.be.greaterThan(0);
    });
  }
});
