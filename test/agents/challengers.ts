import { sideBySide, startLocalNetwork, type LocalNetwork } from "./local-network.ts";
import { challengeAtOnce, goOnWhenFunded } from "./scenarios/challengers.ts";
import { challengePools } from "./scenarios/pool-disputes.ts";

describe("Pools, crowds and poor accounts in disputes", function () {
  this.timeout(480_000);
  let network: LocalNetwork | undefined;

  after(() => network?.stop());

  sideBySide(async () => (network = await startLocalNetwork({ disputes: true })), {
    "a lying manager's pool falls; an honest one, killed and without coin for gas in between, beats a fool and pays its members":
      challengePools,
    "three challengers of one lie: one refutes it, all have their bonds back, the one that was away as well":
      challengeAtOnce,
    "a challenger without its bond, and then without coin for gas, says so and goes on when it is funded":
      goOnWhenFunded,
  });
});
