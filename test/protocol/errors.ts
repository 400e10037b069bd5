import { expect } from "chai";

import { explainError, PonasError, type ErrorCode } from "../../offchain/protocol/errors.ts";

const EXIT_CODES: Record<ErrorCode, number> = {
  usage: 2,
  "bad-input": 1,
  "malformed-model": 1,
  "model-too-large": 1,
  "not-found": 1,
  unavailable: 75,
  integrity: 1,
  dataset: 1,
  engine: 1,
  "chain-unreachable": 75,
  "chain-mismatch": 1,
  reverted: 1,
  "wrong-key": 1,
  funds: 1,
  "store-unreachable": 75,
  timeout: 75,
  pool: 1,
  aborted: 1,
};

describe("errors", () => {
  for (const [code, exitCode] of Object.entries(EXIT_CODES) as [ErrorCode, number][]) {
    it(`${code} ends the command line with ${exitCode}`, () => {
      const error = new PonasError(code, "It failed.");
      expect(error.exitCode).to.equal(exitCode);
      expect(error.retryable).to.equal(exitCode === 75);
    });
  }

  it("are explained in one line, with the cure where there is one", () => {
    expect(explainError(new PonasError("dataset", "It is gone."))).to.equal("It is gone.");
    expect(explainError(new PonasError("dataset", "It is gone.", { cure: "find it" }))).to.equal(
      "It is gone. (find it)",
    );
    expect(explainError(new Error("plain"))).to.equal("plain");
    expect(explainError("text")).to.equal("text");
    expect(explainError(undefined)).to.equal("undefined");
  });

  it("keep their cause", () => {
    const cause = new Error("below");
    expect(new PonasError("engine", "It stopped.", { cause }).cause).to.equal(cause);
  });
});
