-- Shares that are acknowledged without their model, the audits drawn among them, and where each model is.

CREATE TABLE audits (
  task_id numeric(78, 0) PRIMARY KEY REFERENCES tasks (task_id),
  -- what the draws hang on; miners are shown its hash, and the shares file reveals it
  secret text NOT NULL,
  -- least chance in millionths
  rate integer NOT NULL,
  -- Unix milliseconds until which models are waited for when points are counted, and samples of the test set that they
  -- are counted on; null: not counted yet
  hand_over_by bigint,
  test_count integer
);

-- What was taken before this was checked in full, its model kept.
ALTER TABLE shares
  ADD COLUMN work numeric(39, 0) NOT NULL DEFAULT 0,
  ADD COLUMN chance integer NOT NULL DEFAULT 1000000,
  ADD COLUMN audit text NOT NULL DEFAULT 'passed' CHECK (audit IN ('none', 'due', 'passed', 'false', 'missing')),
  -- who has the model: nobody, when its miner has said that it is lost
  ADD COLUMN holder text NOT NULL DEFAULT 'manager' CHECK (holder IN ('manager', 'miner', 'nobody')),
  -- why it counts for less than it might, for its miner to read
  ADD COLUMN reason text;
ALTER TABLE shares ALTER COLUMN audit DROP DEFAULT, ALTER COLUMN holder DROP DEFAULT;
ALTER TABLE shares DROP CONSTRAINT shares_task_id_model_root_fkey;
CREATE INDEX shares_by_miner ON shares (task_id, miner, id);
CREATE INDEX shares_due ON shares (task_id, id) WHERE audit = 'due';
CREATE INDEX shares_to_hand_over ON shares (task_id, id) WHERE holder = 'miner' AND NOT voided;
