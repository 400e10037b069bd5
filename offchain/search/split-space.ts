/** Dividing a part of a space in two while it is being searched. */
import { HYPERPARAMETERS } from "../protocol/architecture.ts";
import type { Random } from "../protocol/random.ts";
import { boxesOf, usableChoices, type Box, type SearchSpace } from "./boxes.ts";

/**
 * Two disjoint spaces that are the one together. Every box is cut at one of the decisions with the most choices, so
 * neither half has more boxes than the whole; choices on either side of the cut are neighbours in the list's order.
 * @param share of the second one, above 0 and below 1: kept as nearly as whole choices allow
 * @param random chooses the decision, and which end of its list goes
 * @returns null where there is only one architecture in every box
 */
export function splitSpace(
  space: SearchSpace,
  depth: number,
  share: number,
  random: Random,
): readonly [kept: Box[], given: Box[]] | null {
  const kept: Box[] = [];
  const given: Box[] = [];
  for (const box of boxesOf(space, depth)) {
    const decisions = box.flatMap((lists, layer) =>
      HYPERPARAMETERS.map((name) => ({ layer, name, choices: usableChoices(lists, name).sort((a, b) => a - b) })),
    );
    const most = Math.max(...decisions.map(({ choices }) => choices.length));
    if (most < 2) {
      kept.push(box);
      continue;
    }
    const { layer, name, choices } = random.choice(decisions.filter((decision) => decision.choices.length === most));
    const count = Math.min(most - 1, Math.max(1, Math.round(most * share)));
    const first = random.integer(2) === 0;
    const going = first ? choices.slice(0, count) : choices.slice(most - count);
    const staying = first ? choices.slice(count) : choices.slice(0, most - count);
    const withChoices = (values: number[]): Box =>
      box.map((lists, at) => (at === layer ? { ...lists, [name]: values } : lists));
    kept.push(withChoices(staying));
    given.push(withChoices(going));
  }
  return given.length === 0 ? null : [kept, given];
}
