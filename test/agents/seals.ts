import { sideBySide, startLocalNetwork, type LocalNetwork } from "./local-network.ts";
import {
  slashForMalformedModel,
  slashLyingSeals,
  startHonest,
  upholdTrueSeal,
  type Honest,
} from "./scenarios/seals.ts";

describe("Validators that sealed what was refuted", function () {
  this.timeout(480_000);
  let network: LocalNetwork | undefined;
  let honest: Honest | undefined;

  after(async () => {
    await network?.stop();
    await honest?.ended();
  });

  const setUp = async (): Promise<{ network: LocalNetwork; honest: Honest }> => {
    network = await startLocalNetwork({ disputes: true });
    honest = await startHonest(network);
    return { network, honest };
  };

  sideBySide(setUp, {
    "lose their stakes to a challenger where they sealed a lie, by its proof and by their silence": (shared) =>
      slashLyingSeals(shared.network, shared.honest),
    "keep them where the claimant lost on purpose, killed in the middle of the game": (shared) =>
      upholdTrueSeal(shared.network, shared.honest),
    "lose them for a malformed model, also where a friend has refuted it by a prediction first": (shared) =>
      slashForMalformedModel(shared.network),
  });
});
