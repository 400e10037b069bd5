/** A search with made-up trainings in a process of its own, to be killed: FILE ETA TIMING. Prints its essence. */
import { essence, fakeSearch, fakeTrainer } from "./fake-search.ts";

const [file, eta, timing] = process.argv.slice(2) as [string, string, string];
const { train } = fakeTrainer({ timing, longest: 40 });
const result = await fakeSearch({ file, train, epochs: 4, ...(eta === "none" ? {} : { eta: Number(eta) }) });
process.stdout.write(JSON.stringify(essence(result)));
