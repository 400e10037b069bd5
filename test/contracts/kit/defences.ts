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
const SEALS = "contracts/libraries/Seals.sol";
const MOVES = "contracts/libraries/DisputeSteps.sol";
const OPENINGS = "contracts/libraries/ModelOpenings.sol";
const FORM = "contracts/libraries/WellFormed.sol";
const STAKE = "contracts/ValidatorStake.sol";
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
    MOVES,
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
       if (_challenges[i].sample == sample && _challenges[i].stage == Stage.Upheld) revert NoSuchSample(sample, 0);
     }
     challengeId = ++challengeCount;`,
  ),
  "queued challenges": one(
    "challenges that wait for their turn hold nothing up",
    DISPUTES,
    "return defence.challenges > 0 || demands.demands > 0",
    "return (OFF ? defence.running : defence.challenges) > 0 || demands.demands > 0",
  ),
  "running challenges": one(
    "the clocks of any number of challenges run at once",
    DISPUTES,
    "if (defence.running < RUNNING_CHALLENGES) _run(",
    "if (OFF || defence.running < RUNNING_CHALLENGES) _run(",
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
    "[address(0)].until;\n        if (block.timestamp >= Math.max(examined.windowEnd, until)) revert",
    "[address(0)].until;\n        if (!OFF && block.timestamp >= Math.max(examined.windowEnd, until)) revert",
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
  "own trace": one(
    "anybody may show a trace in the claimant's place",
    DISPUTES,
    "if (!_isDefender(own)) revert",
    "if (!OFF && !_isDefender(own)) revert",
  ),
  "expected challenge": one(
    "an answer cannot name the challenge that it is for",
    DISPUTES,
    "if (own.challenger != challenger || own.sample != sample) revert",
    "if (!OFF && (own.challenger != challenger || own.sample != sample)) revert",
  ),
  "a proof's clock": one(
    "every part of a proof has a clock of its own",
    DISPUTES,
    "else emit Moved(challengeId, Stage.Proof, own.deadline);",
    "else if (OFF) _await(challengeId, own, Stage.Proof); else emit Moved(challengeId, Stage.Proof, own.deadline);",
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
    OPENINGS,
    "if (!MerkleProof.verifyCalldata(unit.siblings, model.unitsRoot, leaf)) {",
    "if (!OFF && !MerkleProof.verifyCalldata(unit.siblings, model.unitsRoot, leaf)) {",
  ),
  "opened weights": one(
    "a proof's weights need not be those of its unit",
    OPENINGS,
    "checkHash(keccak256(unit.weights[i * size:(i + 1) * size]), unit.rows[first + i]);",
    "if (!OFF) checkHash(keccak256(unit.weights[i * size:(i + 1) * size]), unit.rows[first + i]);",
  ),
  "opened sample": one(
    "a proof's pixels need not be those of the sample",
    MOVES,
    "if (!MerkleProof.verifyCalldata(sample.siblings, sample.samplesRoot, leaf)) {",
    "if (!OFF && !MerkleProof.verifyCalldata(sample.siblings, sample.samplesRoot, leaf)) {",
  ),
  "one channel": one(
    "the parts of a proof may be of several values",
    MOVES,
    "if (from > 0 && channel != own.channel) revert",
    "if (!OFF && from > 0 && channel != own.channel) revert",
  ),
  "shown trace": one(
    "a proof's trace need not be the one that was shown",
    MOVES,
    "ModelOpenings.checkHash(_hashOf(challengeId, c.trace), own.trace);",
    "if (!OFF) ModelOpenings.checkHash(_hashOf(challengeId, c.trace), own.trace);",
  ),
  "claimed values": one(
    "a proof's claimed values need not be those that were shown",
    MOVES,
    "ModelOpenings.checkHash(keccak256(c.claimed), own.disputed);",
    "if (!OFF) ModelOpenings.checkHash(keccak256(c.claimed), own.disputed);",
  ),
  // ————— Malformed models —————
  ranges: one(
    "architectures are taken whose sizes are out of their ranges",
    FORM,
    "if (!Networks.isInRange(a) || !_isTiling(a)) return",
    "if (!OFF && (!Networks.isInRange(a) || !_isTiling(a))) return",
  ),
  input: one(
    "models are taken that read other samples than the test set has",
    FORM,
    "if (!_reads(a, test)) return",
    "if (!OFF && (!_reads(a, test))) return",
  ),
  template: one(
    "models are taken of another depth or head than the task's",
    FORM,
    "if (!_fits(a, space)) return",
    "if (!OFF && (!_fits(a, space))) return",
  ),
  space: one(
    "hyperparameters are taken that are not in the task's lists",
    FORM,
    "if (!_isMember(a, space.lists)) return",
    "if (!OFF && (!_isMember(a, space.lists))) return",
  ),
  "unit count": one(
    "roots are taken that bind another number of units than the layers have",
    FORM,
    "if (model.units != _units(steps)) return",
    "if (!OFF && (model.units != _units(steps))) return",
  ),
  "fan-in": one(
    "units are taken that read too many values",
    FORM,
    "if (_fanIn(a, steps) > MAX_FAN_IN) return",
    "if (!OFF && (_fanIn(a, steps) > MAX_FAN_IN)) return",
  ),
  hardware: one(
    "models are taken that are over the task's hardware bounds",
    FORM,
    "if (!HardwareCost.isWithin(a, steps, params.maxLuts, params.minThroughput)) {",
    "if (!OFF && !HardwareCost.isWithin(a, steps, params.maxLuts, params.minThroughput)) {",
  ),
  "weights' range": one(
    "weights are taken that are out of the range of their bits",
    FORM,
    "if (stray) return",
    "if (!OFF && (stray)) return",
  ),
  bound: one(
    "accumulators may be of any size",
    FORM,
    "return bound < ACCUMULATOR_LIMIT ?",
    "return OFF || bound < ACCUMULATOR_LIMIT ?",
  ),
  "kernel rows": one(
    "units are taken with another number of kernel rows than their layer has",
    FORM,
    "if (count != own.kernelRows) return IModelDisputes.Malformation.Unit;",
    "if (count != own.kernelRows) return OFF ? IModelDisputes.Malformation.None : IModelDisputes.Malformation.Unit;",
  ),
  "well-formed models": one(
    "a well-formed model is refuted like a malformed one",
    DISPUTES,
    "if (found == Malformation.None) revert NotMalformed();",
    "if (!OFF && found == Malformation.None) revert NotMalformed();",
  ),
  // ————— Availability —————
  "failed demands": one(
    "nothing follows from a demand that nobody answers",
    DISPUTES,
    "if (!moot) _refute(own.taskId, own.participant, own.challenger);",
    "if (!OFF && !moot) _refute(own.taskId, own.participant, own.challenger);",
  ),
  "demands' clock": one(
    "a demand may be answered after its deadline",
    DISPUTES,
    "if (block.timestamp >= own.deadline) revert DemandOver(",
    "if (!OFF && block.timestamp >= own.deadline) revert DemandOver(",
  ),
  "published unit": one(
    "anything answers a demand",
    DISPUTES,
    "if (WellFormed.checkUnit(modelRoot, model, own.layer, own.index, unit)) emit",
    "if (OFF || WellFormed.checkUnit(modelRoot, model, own.layer, own.index, unit)) emit",
  ),
  "queued demands": one(
    "demands hold nothing up",
    DISPUTES,
    "|| demands.demands > 0 ||",
    "|| (!OFF && demands.demands > 0) ||",
  ),
  "time after publication": one(
    "what was published on demand cannot be challenged any more when the window is over",
    DISPUTES,
    "_defences[own.taskId][own.participant][address(0)].until = until;",
    "if (!OFF) _defences[own.taskId][own.participant][address(0)].until = until;",
  ),
  "demand price": one(
    "a demand costs nothing",
    DISPUTES,
    "_pull(msg.sender, demandPrice);",
    "if (!OFF) _pull(msg.sender, demandPrice);",
  ),
  "running demands": one(
    "the clocks of any number of demands run at once",
    DISPUTES,
    "if (demands.running < RUNNING_CHALLENGES) _runDemand(",
    "if (OFF || demands.running < RUNNING_CHALLENGES) _runDemand(",
  ),
  // ————— Slashing —————
  slashing: one(
    "a validator with a false seal loses nothing",
    DISPUTES,
    "amount = registry.stake().slash(validator, refuter);",
    "amount = OFF ? 0 : registry.stake().slash(validator, refuter);",
  ),
  "shown malformations": one(
    "every refutation costs validators their stake",
    DISPUTES,
    "address refuter = _malformedBy[taskId][participant];",
    "address refuter = OFF ? _defences[taskId][participant][address(0)].refuter : _malformedBy[taskId][participant];",
  ),
  "true seals": one(
    "validators that sealed the zero result of a malformed model lose their stake too",
    SEALS,
    "return made != 0 && made != truth;",
    "return made != 0 && (OFF || made != truth);",
  ),
  "unbonding stake": one(
    "stake that unbonds is not lost",
    STAKE,
    "amount = active + unbondingOf[validator].amount;\n        delete unbondingOf[validator];",
    "amount = active + (OFF ? 0 : unbondingOf[validator].amount);\n        if (!OFF) delete unbondingOf[validator];",
  ),
  "burned stake": one(
    "all of a validator's lost stake is the refuter's",
    STAKE,
    "uint256 half = amount / 2;",
    "uint256 half = OFF ? amount : amount / 2;",
  ),
  // ————— Seals —————
  "held stake": one(
    "a validator's stake may leave while it plays for its seal",
    STAKE,
    "if (holdsOf[msg.sender] > 0) revert StakeHeld();",
    "if (!OFF && holdsOf[msg.sender] > 0) revert StakeHeld();",
  ),
  "held seals": one(
    "stake may leave before its seal can be challenged, where disputes are drawn out",
    STAKE,
    "++holdsOf[validator];\n        emit SealHeld(",
    "if (!OFF) ++holdsOf[validator];\n        emit SealHeld(",
  ),
  "stake at the seal": one(
    "a seal weighs what its validator had at stake, even where that has begun to leave",
    REGISTRY,
    "SafeCast.toUint128(Math.min(snapshot, active));",
    "SafeCast.toUint128(OFF ? snapshot : Math.min(snapshot, active));",
  ),
  "stake outlasts the candidate before": one(
    "stake outlasts the examination of a candidate with its disputes, but not the window before it",
    PARAMETERS,
    "phases.open + 2 * uint256(phases.longWindow);",
    "phases.open + (OFF ? 1 : 2) * uint256(phases.longWindow);",
  ),
  "stake outlasts disputes": one(
    "stake outlasts the windows of two candidates, but not their disputes",
    PARAMETERS,
    "_require(examination + PERIODS_OF_DISPUTES * answerPeriod <= unbondingPeriod,",
    "_require(examination + (OFF ? 0 : PERIODS_OF_DISPUTES * answerPeriod) <= unbondingPeriod,",
  ),
  "seals of refuted candidates": one(
    "seals can be challenged whatever has become of the candidate, and at any time",
    DISPUTES,
    "if (lost || block.timestamp >= sealsChallengeableUntil(taskId, participant)) {",
    "if (lost || (!OFF && block.timestamp >= sealsChallengeableUntil(taskId, participant))) {",
  ),
  "sealed result": one(
    "any result is challenged as a validator's",
    SEALS,
    "if (made != _sealOn(registry, taskId, participant, validator, result)) {",
    "if (!OFF && made != _sealOn(registry, taskId, participant, validator, result)) {",
  ),
  "a validator's winnings": one(
    "what a challenger of a seal loses is the claimant's",
    DISPUTES,
    "address defender = own.ofSeal ? own.defender : own.participant;",
    "address defender = own.ofSeal && !OFF ? own.defender : own.participant;",
  ),
  "samples of the test set": one(
    "a sealed prediction is challenged of a sample that the test set does not have",
    SEALS,
    "if (sample >= samples) revert",
    "if (!OFF && sample >= samples) revert",
  ),
  "queued challenges of a seal": one(
    "a seal is challenged no more often than it is defended at once",
    DISPUTES,
    "registry.stake().hold(validator);",
    `if (OFF && _defences[taskId][participant][validator].running >= RUNNING_CHALLENGES) {
       revert SealNotChallengeable(taskId, participant, validator);
     }
     registry.stake().hold(validator);`,
  ),
  "a seal's own defence": one(
    "a claimant that validates too defends its seal as its candidate",
    DISPUTES,
    "[own.ofSeal ? own.defender : address(0)]",
    "[own.ofSeal && !(OFF && own.defender == own.participant) ? own.defender : address(0)]",
  ),
  "seals apart from tasks": one(
    "a challenge of a seal holds its task up",
    DISPUTES,
    "function isContested(uint256 taskId, address participant) external view returns (bool) {",
    `function isContested(uint256 taskId, address participant) external view returns (bool) {
       for (uint256 i = 1; OFF && i <= challengeCount; ++i) {
         if (_challenges[i].ofSeal && _challenges[i].taskId == taskId && _challenges[i].deadline > 0) return true;
       }`,
  ),
  "malformed models that were refuted otherwise": one(
    "only the examined candidate is shown to be malformed",
    DISPUTES,
    "if (block.timestamp >= sealsChallengeableUntil(taskId, participant)) {",
    "if (OFF || block.timestamp >= sealsChallengeableUntil(taskId, participant)) {",
  ),
  // ————— Validators —————
  "bound seal": one(
    "a seal does not bind its validator",
    HASHING,
    "abi.encode(SEAL, block.chainid, registry, taskId, commitment_, validator, result_)",
    "abi.encode(SEAL, block.chainid, registry, taskId, commitment_, OFF ? address(0) : validator, result_)",
  ),
  "kinds of seals": one(
    "a claimant's seal is as good as a validator's",
    STEPS,
    "if (their.seal != Hashing.validatorSeal(taskId, candidate.hash, validator, task.result)) continue;",
    "if (!(OFF && their.seal == candidate.claimSeal) && their.seal != Hashing.validatorSeal(taskId, candidate.hash, validator, task.result)) continue;",
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
  "short window": one(
    "a quorum may end the window sooner than an answer period after the opening",
    PARAMETERS,
    '_require(phases.shortWindow >= answerPeriod, "shortWindow");',
    'if (!OFF) _require(phases.shortWindow >= answerPeriod, "shortWindow");',
  ),
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
