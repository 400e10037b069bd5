import { createWorkplace, expectRefusal, ponas, type Workplace } from "./support.ts";

const POOL = `0x${"ab".repeat(20)}`;

describe("ponas pool objections, demand-leaf and recover", () => {
  let place: Workplace;
  before(() => void (place = createWorkplace()));
  after(() => place[Symbol.dispose]());

  it("take a pool's address, a task and a leaf, or say what is wrong with them", async () => {
    const refused: [string[], string][] = [
      [["objections", "--pool", "mine", "--task", "1"], '--pool takes an address of 0x and 40 hex digits, not "mine".'],
      [["recover", "--pool", POOL, "--task", "one"], 'A task is named by its number, not "one".'],
      [
        ["demand-leaf", "--pool", POOL, "--task", "1", "--index", "-1"],
        '--index takes a whole number from 0 to 4294967295, not "-1".',
      ],
    ];
    for (const [args, sentence] of refused) expectRefusal(await ponas(["pool", ...args], place), 2, sentence);
  });

  it("need a deployment", async () => {
    const finished = await ponas(["pool", "objections", "--pool", POOL, "--task", "1"], place);
    expectRefusal(finished, 1, "deployment.json");
  });
});
