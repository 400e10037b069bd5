import { expect } from "chai";

import type { Architecture } from "../../offchain/protocol/architecture.ts";
import { LOGGED } from "../evaluation/naqs-logs.ts";
import { createWorkplace, expectRefusal, jsonOf, ponas, type Finished, type Workplace } from "./support.ts";

interface Cost {
  readonly luts: number | null;
  readonly throughput: number | null;
  readonly feasible: boolean;
  readonly tiling: Architecture["tiling"] | null;
  readonly reason: string | null;
}

describe("ponas cost", () => {
  let place: Workplace;
  const [logged] = LOGGED;
  const run = (...args: string[]): Promise<Finished> => ponas(["cost", ...args], place);
  before(() => {
    place = createWorkplace();
    place.writeJson("arch.json", logged!.architecture);
  });
  after(() => place[Symbol.dispose]());

  it("prints look-up tables, throughput and tiling", async () => {
    const { luts, throughput, feasible, tiling } = jsonOf<Cost>(await run("arch.json", "--json"));
    expect({ luts, throughput: Number(throughput!.toFixed(2)) }).to.deep.equal(logged!.corrected);
    expect(feasible).to.equal(true);
    expect(tiling!.groups).to.deep.equal([3, 2, 1]);

    const { code, stdout } = await run("arch.json");
    expect(code).to.equal(0);
    expect(stdout.split("\n").slice(0, 2)).to.deep.equal([
      "95100 look-up tables, 4722.55 images/s",
      "group 1: tiles 3×64, 64×64, 64×36 (channels × filters at a time)",
    ]);
  });

  it("repeats the paper's source, mistake included, where it is asked to", async () => {
    const cost = jsonOf<Cost>(await run("arch.json", "--naqs-compat", "--min-throughput", "1000", "--json"));
    const { luts, throughput, tiles, groups } = logged!;
    expect(cost).to.deep.equal({ luts, throughput, feasible: true, tiling: { tiles, groups }, reason: null });
  });

  it("takes another input than the architecture's own", async () => {
    const small = jsonOf<Cost>(await run("arch.json", "--input", "28x28x1", "--json"));
    expect(small.throughput).to.be.above(logged!.corrected.throughput);
    expect(small.tiling!.tiles[0]).to.deep.equal([1, 64]);
  });

  it("takes what is not feasible for an answer, with the figures of what comes nearest", async () => {
    const finished = await run("arch.json", "--max-luts", "3000", "--min-throughput", "1000", "--json");
    const { luts, throughput, feasible, tiling, reason } = jsonOf<Cost>(finished);
    expect({ feasible, tiling }).to.deep.equal({ feasible: false, tiling: null });
    expect(luts).to.be.within(1, 3000);
    expect(throughput).to.be.within(1, 1000);
    expect(reason).to.match(
      /^the fastest tiling found takes \d+ cycles an image, and more than 1000 images per second/,
    );

    const { code, stdout } = await run("arch.json", "--max-luts", "5");
    expect(code).to.equal(0);
    expect(stdout).to.match(/^not feasible: its smallest tiling needs \d+ look-up tables, more than 5\n$/);
  });

  it("says in one sentence what it cannot do", async () => {
    expectRefusal(await run("nosuch.json"), 1, "The file nosuch.json does not exist.");
    for (const input of ["28x28", "65x1x1", "28.5x28x1"]) {
      expectRefusal(
        await run("arch.json", "--input", input),
        2,
        `--input takes height x width x channels, up to 64x64x255, such as 32x32x3, not "${input}".`,
      );
    }
    expectRefusal(
      await run("arch.json", "--max-luts", "-1"),
      2,
      /--max-luts takes a whole number from 0 to 4294967295/,
    );
    expectRefusal(await run("arch.json", "--min-throughput", "0.5"), 2, /--min-throughput takes a whole number/);
    place.writeJson("bad.json", { ...logged!.architecture, layers: [] });
    expectRefusal(await run("bad.json"), 1, "The architecture bad.json is not valid at layers");
  });
});
