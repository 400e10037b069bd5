import { getPriority } from "node:os";

import { expect } from "chai";

import { sleep } from "../../offchain/protocol/wait.ts";
import { runLanes, type Lane, type Suite } from "../../scripts/suites.ts";

/** A suite that is a few lines of JavaScript. */
const suite = (name: string, code: string): Suite => ({ name, command: [process.execPath, "-e", code] });
const lane = (...suites: Suite[]): Lane => ({ suites, niceness: 0 });

/** Two lines, so late in ms. */
const slow = (name: string, ms: number, passing = 1): Suite =>
  suite(
    name,
    `console.log("${name} a"); setTimeout(() => console.log("${name} b\\n  ${passing} passing (1s)"), ${ms})`,
  );

async function run(lanes: readonly Lane[], signal = new AbortController().signal) {
  let said = "";
  const pieces: string[] = [];
  const count = await runLanes(lanes, { signal, say: (text) => void (pieces.push(text), (said += text)) });
  return { count, said, pieces };
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe("The runner of the tests", () => {
  it("runs lanes at once, one suite after another in each, and shows every suite in one piece", async () => {
    const { count, said, pieces } = await run([
      lane(slow("one", 400, 3), slow("two", 10)),
      lane(slow("three", 200, 5)),
    ]);
    expect(count).to.deep.equal({ passed: 9, failed: 0, skipped: 0 });
    expect(said.match(/===== \w+/g)).to.deep.equal(["===== three", "===== one", "===== two"]);
    for (const name of ["one", "two", "three"]) {
      const whole = pieces.filter((piece) => piece.includes(`${name} a`));
      expect(whole).to.have.length(1);
      expect(whole[0]).to.match(
        new RegExp(`^\\n===== ${name} =====\\n${name} a\\n${name} b\\n.*\\(${name}: \\d+ s\\)\\n$`, "s"),
      );
    }
  });

  it("shows the only lane's suites as they go, also where the other lane has none", async () => {
    const { pieces } = await run([lane(), lane(slow("one", 300))]);
    expect(pieces[0]).to.equal("\n===== one =====\n");
    expect(pieces[1]).to.equal("one a\n");
  });

  it("adds up what passed, failed and was skipped, in mocha's words and in Hardhat's", async () => {
    const mocha = suite("mocha", `console.log("  12 passing (3s)\\n  2 pending\\n  1 failing"); process.exit(1)`);
    const hardhat = suite("hardhat", `console.log("  40 passing\\n  3 skipped")`);
    const { count, said } = await run([lane(mocha, hardhat)]);
    expect(count).to.deep.equal({ passed: 52, failed: 1, skipped: 5 });
    expect(said).not.to.match(/before counting|no test/);
  });

  it("tells every failure again after all suites, however much each has said", async () => {
    const failing = (name: string, size = 1): Suite =>
      suite(
        name,
        `console.log("  1 passing\\n  1 failing\\n\\n  1) ${name} is wrong" + "!".repeat(${size})); process.exitCode = 1`,
      );
    const { count, said } = await run([lane(failing("early")), lane(slow("late", 600), failing("wordy", 50_000))]);
    expect(count).to.deep.equal({ passed: 3, failed: 2, skipped: 0 });
    const end = said.slice(said.indexOf("===== early: failures"));
    expect(end).to.match(/^===== early: failures =====\n1 failing\n\n {2}1\) early is wrong!\n\n===== wordy: failures/);
    expect(end).not.to.include("late");
    expect(end.length).to.be.below(7000);
    expect((await run([lane(slow("good", 1))])).said).not.to.include("failures");
  });

  it("counts as failed what ends before it has counted, has no test, is killed, or cannot be started", async () => {
    const { count, said } = await run([
      lane(
        suite("fails", "process.exit(7)"),
        suite("empty", "console.log('nothing to do')"),
        suite("killed", "process.kill(process.pid, 'SIGKILL')"),
        { name: "absent", command: ["no-such-program-of-ponas"] },
        slow("good", 1),
      ),
    ]);
    expect(count).to.deep.equal({ passed: 1, failed: 4, skipped: 0 });
    expect(said).to.include("fails ended with 7 before counting its tests");
    expect(said).to.include("empty ran no test");
    expect(said).to.include("killed ended with SIGKILL before counting its tests");
    expect(said).to.match(/absent ended with .*ENOENT/);
  });

  it("does not wait for a process that a suite has left behind with its output", async () => {
    const child = `require("child_process").spawn("sleep", ["15"], { stdio: "inherit", detached: true }).unref()`;
    const start = performance.now();
    const { count } = await run([lane(suite("leaving", `${child}; console.log("  1 passing")`))]);
    expect(count).to.deep.equal({ passed: 1, failed: 0, skipped: 0 });
    expect(performance.now() - start).to.be.below(8000);
  });

  (process.platform === "win32" ? it.skip : it)("gives a lane the priority that it is to have", async () => {
    const told = suite("told", `console.log(os.getPriority()); console.log("  1 passing")`);
    const later = suite("told", `setTimeout(() => { console.log(os.getPriority()); console.log("  1 passing") }, 200)`);
    const { said } = await run([
      { suites: [told], niceness: 0 },
      { suites: [later], niceness: 7 },
    ]);
    const own = getPriority();
    expect(said.match(/^-?\d+$/gm)?.map(Number)).to.have.members([own, Math.min(19, own + 7)]);
  });

  (process.platform === "win32" ? it.skip : it)(
    "stops every suite at one interrupt, also what will not go and what a suite has started, and begins no other",
    async () => {
      const stop = new AbortController();
      const parent = suite(
        "parent",
        `console.log("pid " + require("child_process").spawn("sleep", ["60"]).pid); setInterval(() => {}, 1000)`,
      );
      const stubborn = suite(
        "stubborn",
        `process.on("SIGTERM", () => {}); console.log("pid " + process.pid); setInterval(() => {}, 1000)`,
      );
      const running = run([lane(parent, slow("later", 1)), lane(stubborn)], stop.signal);
      await sleep(1000);
      stop.abort();
      const { count, said } = await running;
      expect(count).to.deep.equal({ passed: 0, failed: 2, skipped: 0 });
      expect(said).to.match(/(parent|stubborn) was stopped\n(parent|stubborn) was stopped/);
      expect(said).not.to.include("later");
      const pids = [...said.matchAll(/pid (\d+)/g)].map(([, pid]) => Number(pid));
      expect(pids).to.have.length(2);
      await sleep(100);
      expect(pids.filter(alive)).to.deep.equal([]);
    },
  );
});
