import { sideBySide, startLocalNetwork, type LocalNetwork } from "./local-network.ts";
import { buyTheModel, refuteTheLiarsOnly } from "./scenarios/disputes.ts";

/** With PONAS_LONG the other story, which takes some minutes. */
const STORIES: Record<string, (network: LocalNetwork) => Promise<void>> =
  process.env.PONAS_LONG === undefined
    ? {
        "a challenger without stake, killed halfway, refutes a wrong prediction, a malformed model and one that is kept back; the honest claimant, killed halfway too, beats a fool and wins":
          refuteTheLiarsOnly,
      }
    : {
        "a challenger has a model published part by part that nobody can fetch, and refutes what is claimed of it":
          buyTheModel,
      };

describe("Agents in disputes", function () {
  this.timeout(480_000);
  let network: LocalNetwork | undefined;

  after(() => network?.stop());

  sideBySide(async () => (network = await startLocalNetwork({ disputes: true })), STORIES);
});
