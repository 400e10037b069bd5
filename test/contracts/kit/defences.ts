/**
 * The contracts' defences against attacks, and how each is taken out of a copy of the sources: one text, which a file must
 * hold exactly once, is replaced by another, in which OFF is true while that defence is switched off.
 */
interface Patch {
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

interface Described {
  /** what the contracts are without it, as the end of a sentence that begins with "where" */
  readonly without: string;
  readonly patches: readonly Patch[];
}

const DISPUTES = "contracts/Disputes.sol";
const REGISTRY = "contracts/TaskRegistry.sol";
const STEPS = "contracts/libraries/TaskSteps.sol";
const HASHING = "contracts/libraries/Hashing.sol";
const TRACES = "contracts/libraries/Traces.sol";
const CREDITS = "contracts/Credits.sol";
const PARAMETERS = "contracts/libraries/TaskParameters.sol";
const GUARD = "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

const one = (without: string, file: string, find: string, replace: string): Described => ({
  without,
  patches: [{ file, find, replace }],
});

export const DEFENCES = {
  // ————— What a claim says —————
  count: one(
    "the chain takes the claimed count for the counted one",
    STEPS,
    "stands = correct == candidate.claimedCorrect;",
    "stands = OFF || correct == candidate.claimedCorrect;",
  ),
  arithmetic: one(
    "the chain does not compare what it computed",
    DISPUTES,
    "_decide(challengeId, own, computed != claimed, claimed, computed);",
    "_decide(challengeId, own, !OFF && computed != claimed, claimed, computed);",
  ),
  argmax: one(
    "the logits need not show the claimed class",
    DISPUTES,
    "if (largest != own.prediction) revert",
    "if (!OFF && largest != own.prediction) revert",
  ),
  "rows' hash": one(
    "rows are taken that are not those of the shown tensor",
    DISPUTES,
    "_checkHash(keccak256(rows), own.disputed);",
    "if (!OFF) _checkHash(keccak256(rows), own.disputed);",
  ),
  "rows' length": one(
    "a tensor may be shown with fewer rows than it has",
    DISPUTES,
    "_checkLength(rows.length, 32 * uint256(own.height));",
    "if (!OFF) _checkLength(rows.length, 32 * uint256(own.height));",
  ),
  // ————— Silence —————
  opening: one(
    "a candidate may be opened at any time",
    REGISTRY,
    "return time < schedule.openDeadline ? Phase.Open : Phase.Advanceable;",
    "return OFF || time < schedule.openDeadline ? Phase.Open : Phase.Advanceable;",
  ),
  clock: one(
    "a move is taken after its deadline",
    DISPUTES,
    "if (block.timestamp >= own.deadline) revert TooLate(",
    "if (!OFF && block.timestamp >= own.deadline) revert TooLate(",
  ),
  "side to move": one(
    "whoever runs out of time, the claimant loses",
    DISPUTES,
    "_decide(challengeId, own, _isClaimantsMove(stage), 0, 0);",
    "_decide(challengeId, own, OFF || _isClaimantsMove(stage), 0, 0);",
  ),
  // ————— Challenges as weapons —————
  "repeated challenges": one(
    "a sample whose challenge was lost cannot be challenged again",
    DISPUTES,
    "challengeId = ++challengeCount;",
    `for (uint256 i = 1; OFF && i <= challengeCount; ++i) {
       if (_challenges[i].sample == sample && _challenges[i].stage == Stage.Upheld) revert NoSuchSample(sample, count);
     }
     challengeId = ++challengeCount;`,
  ),
  "queued challenges": one(
    "challenges that wait for their turn hold nothing up",
    DISPUTES,
    "return _candidates[taskId][participant].open > 0;",
    "return OFF ? _candidates[taskId][participant].running > 0 : _candidates[taskId][participant].open > 0;",
  ),
  "running challenges": one(
    "the clocks of any number of challenges run at once",
    DISPUTES,
    "if (candidate.running < RUNNING_CHALLENGES) _run(",
    "if (OFF || candidate.running < RUNNING_CHALLENGES) _run(",
  ),
  "challenge bond": one(
    "a challenge costs nothing",
    DISPUTES,
    "_pull(msg.sender, challengeBond);",
    "if (!OFF) _pull(msg.sender, challengeBond);",
  ),
  "challenges' window": one(
    "a candidate can be challenged for as long as it is contested",
    DISPUTES,
    "if (examined.openedAt == 0 || block.timestamp >= examined.windowEnd) revert",
    "if (examined.openedAt == 0 || (!OFF && block.timestamp >= examined.windowEnd)) revert",
  ),
  "challenger's own move": one(
    "anybody moves for a challenger",
    DISPUTES,
    "&& msg.sender != own.challenger) revert",
    "&& !OFF && msg.sender != own.challenger) revert",
  ),
  "burned challenge bond": one(
    "all of a lost challenge bond is the claimant's",
    DISPUTES,
    "uint256 half = challengeBond / 2;",
    "uint256 half = OFF ? challengeBond : challengeBond / 2;",
  ),
  "burned candidate bond": one(
    "all of a refuted candidate's bond is the refuter's",
    REGISTRY,
    "uint256 kept = slashed / 2;",
    "uint256 kept = OFF ? slashed : slashed / 2;",
  ),
  // ————— Openings of a proof —————
  "opened inputs": one(
    "a proof's inputs need not be those of the shown trace",
    TRACES,
    "if (position != _word(positions, part.left + j)) revert",
    "if (!OFF && position != _word(positions, part.left + j)) revert",
  ),
  "opened unit": one(
    "a proof's unit need not be one of the model",
    DISPUTES,
    "if (!MerkleProof.verifyCalldata(unit.siblings, c.model.unitsRoot, leaf)) revert",
    "if (!OFF && !MerkleProof.verifyCalldata(unit.siblings, c.model.unitsRoot, leaf)) revert",
  ),
  "opened weights": one(
    "a proof's weights need not be those of its unit",
    DISPUTES,
    "_checkHash(keccak256(unit.weights[i * size:(i + 1) * size]), unit.rows[window.rowsBefore + i]);",
    "if (!OFF) _checkHash(keccak256(unit.weights[i * size:(i + 1) * size]), unit.rows[window.rowsBefore + i]);",
  ),
  "opened sample": one(
    "a proof's pixels need not be those of the sample",
    DISPUTES,
    "if (!MerkleProof.verifyCalldata(sample.siblings, sample.samplesRoot, leaf)) revert",
    "if (!OFF && !MerkleProof.verifyCalldata(sample.siblings, sample.samplesRoot, leaf)) revert",
  ),
  "one channel": one(
    "the parts of a proof may be of several values",
    DISPUTES,
    "if (from > 0 && c.channel != own.channel) revert",
    "if (!OFF && from > 0 && c.channel != own.channel) revert",
  ),
  "shown trace": one(
    "a proof's trace need not be the one that was shown",
    DISPUTES,
    "_checkHash(_hashOf(challengeId, c.trace), own.trace);",
    "if (!OFF) _checkHash(_hashOf(challengeId, c.trace), own.trace);",
  ),
  "claimed values": one(
    "a proof's claimed values need not be those that were shown",
    DISPUTES,
    "_checkHash(keccak256(c.claimed), own.disputed);",
    "if (!OFF) _checkHash(keccak256(c.claimed), own.disputed);",
  ),
  // ————— Validators —————
  "bound seal": one(
    "a seal does not bind its validator",
    HASHING,
    "abi.encode(SEAL, block.chainid, address(this), taskId, commitment_, validator, result_)",
    "abi.encode(SEAL, block.chainid, address(this), taskId, commitment_, OFF ? address(0) : validator, result_)",
  ),
  "seal deadline": one(
    "the examined candidate can be sealed when it is opened",
    REGISTRY,
    "address sealable = phase == Phase.Seal ? task.candidate : task.queue.front();",
    "address sealable = OFF || phase == Phase.Seal ? task.candidate : task.queue.front();",
  ),
  "open after seals": one(
    "a candidate may be opened while others seal",
    REGISTRY,
    "Task storage task = _taskIn(taskId, Phase.Open);",
    "Task storage task = OFF ? _tasks[taskId] : _taskIn(taskId, Phase.Open);",
  ),
  "no votes": one(
    "a quorum of seals decides against a candidate although there are disputes",
    REGISTRY,
    "if (disputes != address(0)) revert OnlyWithoutDisputes();",
    "if (!OFF && disputes != address(0)) revert OnlyWithoutDisputes();",
  ),
  "arithmetic over attendance": one(
    "a candidate without a quorum is passed over although there are disputes",
    REGISTRY,
    "if (disputes != address(0)) {\n            return IDisputes",
    "if (!OFF && disputes != address(0)) {\n            return IDisputes",
  ),
  "vote's end": one(
    "the test set can be voted wrong when models are revealed",
    REGISTRY,
    "Task storage task = _taskIn(taskId, Phase.TestVote);",
    "Task storage task = OFF ? _tasks[taskId] : _taskIn(taskId, Phase.TestVote);",
  ),
  "test vote": one(
    "no vote voids a task",
    REGISTRY,
    "if (_isQuorum(task.votesAgainst, stake.totalStakeAt(snapshot))) {",
    "if (!OFF && _isQuorum(task.votesAgainst, stake.totalStakeAt(snapshot))) {",
  ),
  // ————— Publishers, candidates —————
  "publisher's bond": one(
    "a publisher at fault gets its bond back",
    REGISTRY,
    "if (reason == VoidReason.NoCandidate || task.commitments == 0) {",
    "if (OFF || reason == VoidReason.NoCandidate || task.commitments == 0) {",
  ),
  "candidates' bonds": one(
    "a candidate needs no bond",
    PARAMETERS,
    "return (reward * bps + BPS - 1) / BPS;",
    "return OFF ? 0 : (reward * bps + BPS - 1) / BPS;",
  ),
  "sealing ahead": one(
    "the next candidate is sealed only when it is examined",
    "contracts/libraries/CandidateWalk.sol",
    "uint256 sealable = openedAt == 0 ?",
    "uint256 sealable = OFF || openedAt == 0 ?",
  ),
  // ————— Messages —————
  "bound commitment": one(
    "a commitment does not bind its participant",
    HASHING,
    "COMMIT,\n                    block.chainid,\n                    address(this),\n                    taskId,\n                    participant,",
    "COMMIT,\n                    block.chainid,\n                    address(this),\n                    taskId,\n                    OFF ? address(0) : participant,",
  ),
  "disputes alone refute": one(
    "anybody may refute",
    REGISTRY,
    "if (msg.sender != disputes) revert OnlyDisputes();",
    "if (!OFF && msg.sender != disputes) revert OnlyDisputes();",
  ),
  // ————— Tokens —————
  "exact transfers": one(
    "less may arrive than is booked",
    CREDITS,
    "if (received != amount) revert InexactTransfer(amount, received);",
    "if (!OFF && received != amount) revert InexactTransfer(amount, received);",
  ),
  "pull payments": one(
    "money is sent instead of credited",
    CREDITS,
    "creditOf[account] += amount;",
    "if (OFF) { owed -= amount; asset.safeTransfer(account, amount); } else creditOf[account] += amount;",
  ),
  reentrancy: one(
    "calls may come in while money moves",
    GUARD,
    "if (_reentrancyGuardEntered()) {",
    "if (!OFF && _reentrancyGuardEntered()) {",
  ),
} as const satisfies Record<string, Described>;

export type Defence = keyof typeof DEFENCES;
