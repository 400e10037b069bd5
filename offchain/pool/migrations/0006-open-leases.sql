-- Of leases only those that are open are looked for by their state: the index over all of them grew with every trial, and
-- looked like a way to a session's last lease wherever the planner knew little of the table.
DROP INDEX leases_by_state;
CREATE INDEX leases_live ON leases (task_id) WHERE state = 'live';
CREATE INDEX leases_left ON leases (task_id, id) WHERE state = 'expired';
-- Statistics are renewed while miners wait (offchain/pool/upkeep.ts): a tenth of the usual sample tells as much here.
DO $$
DECLARE one record;
BEGIN
  FOR one IN
    SELECT table_name, column_name FROM information_schema.columns
    WHERE table_schema = current_schema() AND table_name IN ('leases', 'shares', 'models', 'decisions', 'strategy_events')
  LOOP
    EXECUTE format('ALTER TABLE %I ALTER COLUMN %I SET STATISTICS 10', one.table_name, one.column_name);
  END LOOP;
END $$;
