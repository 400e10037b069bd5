-- What the scheduler knows: who has which part of the space, what it has decided, and what trials in progress left.

CREATE TABLE parts (
  task_id numeric(78, 0) NOT NULL REFERENCES tasks (task_id),
  -- from 0 on
  part integer NOT NULL,
  -- ten lists, or boxes; what is left of it after it was split
  space jsonb NOT NULL,
  -- binary logarithm of the number of its architectures
  bits double precision NOT NULL,
  -- the part it was split off, or null
  parent integer,
  -- the speed in MAC/s that its size was made for; null where sizes follow no speed
  weight double precision,
  -- best accuracy (0 … 1) and number of the trials that were told of, since it was made
  best double precision NOT NULL DEFAULT 0,
  trials integer NOT NULL DEFAULT 0,
  -- the strong miner's session that searches it; null: nobody
  session_id text REFERENCES sessions (id),
  -- trials when its holder got it, or when it was last split
  trials_before integer NOT NULL DEFAULT 0,
  -- a holder without a lease keeps it at least until then
  kept_until bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (task_id, part)
);
-- One part for each session.
CREATE UNIQUE INDEX parts_one_held ON parts (task_id, session_id) WHERE session_id IS NOT NULL;

-- What each session was last taken for in each task.
CREATE TABLE roles (
  task_id numeric(78, 0) NOT NULL REFERENCES tasks (task_id),
  session_id text NOT NULL REFERENCES sessions (id),
  strong boolean NOT NULL,
  -- ready to go on with the part of a high-reward miner that leaves
  backup boolean NOT NULL DEFAULT false,
  PRIMARY KEY (task_id, session_id)
);

-- σ_p over the high-reward miners: its last value, and the mean and number of the values before it.
CREATE TABLE spread (
  task_id numeric(78, 0) PRIMARY KEY REFERENCES tasks (task_id),
  sigma double precision NOT NULL,
  mean double precision NOT NULL,
  samples integer NOT NULL
);

CREATE TABLE decisions (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  task_id numeric(78, 0) NOT NULL REFERENCES tasks (task_id),
  at bigint NOT NULL,
  kind text NOT NULL,
  miner text,
  session_id text,
  part integer,
  lease_id bigint,
  reason text NOT NULL,
  figures jsonb NOT NULL
);
CREATE INDEX decisions_by_task ON decisions (task_id, id);
CREATE INDEX decisions_by_miner ON decisions (miner, task_id, id);

-- The newest model of a trial in progress.
CREATE TABLE checkpoints (
  lease_id bigint PRIMARY KEY REFERENCES leases (id),
  task_id numeric(78, 0) NOT NULL REFERENCES tasks (task_id),
  -- epochs of its lease that the model has behind it
  epochs integer NOT NULL,
  model_root text NOT NULL,
  bytes bytea NOT NULL,
  taken_at bigint NOT NULL
);

-- The lease whose checkpoint this one goes on from, and the epochs that lie behind it, of whomever.
ALTER TABLE leases ADD COLUMN resumes bigint REFERENCES leases (id);
ALTER TABLE leases ADD COLUMN epochs_before integer NOT NULL DEFAULT 0;
CREATE INDEX leases_by_session ON leases (session_id, id DESC);

-- What a search was asked and told since its state was saved, in order: the state alone grows too large to be written
-- with every trial.
CREATE TABLE strategy_events (
  task_id numeric(78, 0) NOT NULL REFERENCES tasks (task_id),
  part integer NOT NULL,
  sequence integer NOT NULL,
  -- null: a proposal was asked for; else what was told of, and its reward
  architecture jsonb,
  reward double precision,
  PRIMARY KEY (task_id, part, sequence)
);
ALTER TABLE strategies ADD COLUMN sequence integer NOT NULL DEFAULT 0;
