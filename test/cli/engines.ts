import { expect } from "chai";

import { ENGINE_NAMES } from "../../offchain/training/engine.ts";
import { ARCHITECTURE, createWorkplace, expectRefusal, jsonOf, ponas, type Workplace } from "./support.ts";

interface Finding {
  readonly check: string;
  readonly severity: string;
  readonly message: string;
  readonly cure: string | null;
}

describe("engines on the command line", function () {
  let place: Workplace;
  let findings: Finding[];
  before(async () => {
    place = createWorkplace();
    findings = jsonOf<Finding[]>(await ponas(["doctor", "--json"], place));
  });
  after(() => place[Symbol.dispose]());
  const findingOf = (name: string): Finding => findings.find(({ check }) => check === `engine ${name}`)!;

  it("are listed by doctor, with how to get those that are missing", () => {
    for (const name of ENGINE_NAMES) {
      const { message, cure } = findingOf(name);
      expect(message, name).not.to.equal("");
      if (message.startsWith("not present: ")) expect(cure, name).not.to.equal(null);
    }
    expect(findingOf("onnx-web")).to.include({ severity: "ok", cure: null });
  });

  it("are refused by train in one sentence where they are missing", async function () {
    const missing = ENGINE_NAMES.find((name) => findingOf(name).message.startsWith("not present: "));
    if (missing === undefined) return this.skip();
    const architecture = place.writeJson("arch.json", ARCHITECTURE);
    const args = ["train", architecture, "--dataset", "mnist", "--limit", "10", "--out", "model", "--engine", missing];
    const refused = await ponas(args, place);
    expectRefusal(refused, 1, `The engine ${missing} does not run here: ${findingOf(missing).message.slice(13)}.`);
  });
});
