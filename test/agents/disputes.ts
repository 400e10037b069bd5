import { sideBySide, startLocalNetwork, type LocalNetwork } from "./local-network.ts";
import { refuteTheLiarsOnly } from "./scenarios/disputes.ts";

describe("Agents in disputes", function () {
  this.timeout(300_000);
  let network: LocalNetwork | undefined;

  after(() => network?.stop());

  sideBySide(async () => (network = await startLocalNetwork({ disputes: true })), {
    "a challenger without stake, killed halfway, refutes a wrong prediction, a malformed model and one that is kept back; the honest claimant, killed halfway too, beats a fool and wins":
      refuteTheLiarsOnly,
  });
});
