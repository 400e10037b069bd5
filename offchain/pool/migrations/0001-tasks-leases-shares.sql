-- Everything a pool's manager knows. Times are Unix milliseconds; addresses and hashes are 0x-prefixed text.

CREATE TABLE tasks (
  task_id numeric(78, 0) PRIMARY KEY,
  descriptor jsonb NOT NULL,
  -- subspaces of the partition, by part number; fixed when the task is opened
  subspaces jsonb NOT NULL,
  seed bigint NOT NULL,
  opened_at bigint NOT NULL,
  ends_at bigint NOT NULL,
  closed boolean NOT NULL DEFAULT false
);

CREATE TABLE miners (
  address text PRIMARY KEY,
  first_seen bigint NOT NULL,
  banned_at bigint,
  ban_reason text
);

CREATE TABLE sessions (
  -- sha256 of the session's token; the token itself is with the miner alone
  id text PRIMARY KEY,
  miner text NOT NULL REFERENCES miners (address),
  client text NOT NULL,
  -- multiply-accumulates of forward passes in training per second: claimed at first, then measured
  speed double precision NOT NULL,
  measured integer NOT NULL DEFAULT 0,
  last_seen bigint NOT NULL
);
CREATE INDEX sessions_by_miner ON sessions (miner);

CREATE TABLE leases (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  task_id numeric(78, 0) NOT NULL REFERENCES tasks (task_id),
  session_id text NOT NULL REFERENCES sessions (id),
  miner text NOT NULL REFERENCES miners (address),
  kind text NOT NULL CHECK (kind IN ('explore', 'exploit')),
  -- part of the partition; -1 is the whole space; null for exploit
  part integer,
  architecture jsonb NOT NULL,
  seed bigint NOT NULL,
  settings jsonb NOT NULL,
  -- the share whose test accuracy is this lease's baseline
  parent_share bigint,
  -- whether training starts from the parent's weights
  continues boolean NOT NULL DEFAULT false,
  -- live; expired (may be handed out again); reissued; done (a share was accepted); refused; infeasible;
  -- given-up (handed out too often)
  state text NOT NULL CHECK (state IN ('live', 'expired', 'reissued', 'done', 'refused', 'infeasible', 'given-up')),
  -- how often this trial was handed out
  attempt integer NOT NULL DEFAULT 1,
  issued_at bigint NOT NULL,
  heartbeat_by bigint NOT NULL,
  ends_at bigint NOT NULL,
  epoch double precision NOT NULL DEFAULT 0,
  -- digest and reason of the share that ended it, so that the same share gets the same answer again
  share_digest text,
  refusal text
);
CREATE INDEX leases_by_state ON leases (task_id, state);
-- One trial at a time for each session, even when two connections race for it.
CREATE UNIQUE INDEX leases_one_live ON leases (session_id) WHERE state = 'live';

CREATE TABLE models (
  task_id numeric(78, 0) NOT NULL REFERENCES tasks (task_id),
  model_root text NOT NULL,
  bytes bytea NOT NULL,
  PRIMARY KEY (task_id, model_root)
);

CREATE TABLE shares (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  task_id numeric(78, 0) NOT NULL REFERENCES tasks (task_id),
  lease_id bigint NOT NULL UNIQUE REFERENCES leases (id),
  miner text NOT NULL REFERENCES miners (address),
  share jsonb NOT NULL,
  signature text NOT NULL,
  receipt text NOT NULL,
  model_root text NOT NULL,
  correct integer NOT NULL,
  total integer NOT NULL,
  accepted_at bigint NOT NULL,
  -- set when the miner was caught lying in this task: the share earns nothing
  voided boolean NOT NULL DEFAULT false,
  test_correct integer,
  test_total integer,
  baseline integer,
  points numeric(39, 0),
  FOREIGN KEY (task_id, model_root) REFERENCES models (task_id, model_root),
  UNIQUE (task_id, model_root)
);
CREATE INDEX shares_by_accuracy ON shares (task_id, correct DESC, id);

ALTER TABLE leases ADD FOREIGN KEY (parent_share) REFERENCES shares (id);

CREATE TABLE receipts (
  task_id numeric(78, 0) NOT NULL REFERENCES tasks (task_id),
  miner text NOT NULL REFERENCES miners (address),
  sequence bigint NOT NULL,
  points numeric(39, 0) NOT NULL,
  signature text NOT NULL,
  issued_at bigint NOT NULL,
  PRIMARY KEY (task_id, miner, sequence)
);

CREATE TABLE strategies (
  task_id numeric(78, 0) NOT NULL REFERENCES tasks (task_id),
  part integer NOT NULL,
  state jsonb NOT NULL,
  PRIMARY KEY (task_id, part)
);
