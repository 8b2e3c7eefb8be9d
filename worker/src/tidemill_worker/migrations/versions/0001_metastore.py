"""The metastore: runs, slots, the plan of chunks and what became of it, dead letters, and views for people."""

from alembic import op

revision = "0001"
down_revision = None

TABLES = """
CREATE TABLE tidemill.runs (
    uid text NOT NULL,
    run_key text NOT NULL,
    execution integer NOT NULL,
    installation text NOT NULL,
    namespace text NOT NULL,
    pipeline text NOT NULL,
    generation bigint NOT NULL,
    trigger text NOT NULL,
    run_time timestamptz NOT NULL,
    spec jsonb,
    parameters jsonb NOT NULL,
    workflow_id text NOT NULL,
    workflow_run_id text NOT NULL,
    result text NOT NULL CHECK (result IN ('Running', 'Succeeded', 'Failed', 'Skipped', 'Cancelled')),
    chunks integer,
    staged text[],
    rows_read bigint NOT NULL DEFAULT 0,
    rows_loaded bigint NOT NULL DEFAULT 0,
    rows_rejected bigint NOT NULL DEFAULT 0,
    rows_skipped bigint NOT NULL DEFAULT 0,
    error_type text,
    error_message text,
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    summary jsonb,
    PRIMARY KEY (uid, run_key, execution)
);
CREATE INDEX runs_by_pipeline ON tidemill.runs (namespace, pipeline, started_at DESC);
CREATE INDEX runs_by_workflow ON tidemill.runs (workflow_run_id);
CREATE INDEX runs_open ON tidemill.runs (uid) WHERE result = 'Running';

CREATE TABLE tidemill.slots (
    uid text NOT NULL,
    workflow_id text NOT NULL,
    workflow_run_id text NOT NULL,
    run_key text NOT NULL,
    place bigint GENERATED ALWAYS AS IDENTITY,
    holding boolean NOT NULL,
    since timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (uid, workflow_run_id)
);

CREATE TABLE tidemill.chunks (
    uid text NOT NULL,
    run_key text NOT NULL,
    execution integer NOT NULL,
    chunk integer NOT NULL,
    source text NOT NULL,
    file text NOT NULL,
    bytes bigint NOT NULL,
    plan jsonb NOT NULL,
    rows_read bigint,
    bytes_read bigint,
    finished_at timestamptz,
    PRIMARY KEY (uid, run_key, execution, chunk)
);

CREATE TABLE tidemill.chunk_steps (
    uid text NOT NULL,
    run_key text NOT NULL,
    execution integer NOT NULL,
    step text NOT NULL,
    source text NOT NULL,
    chunk integer NOT NULL,
    rows_in bigint NOT NULL,
    rows_out bigint NOT NULL,
    rejected bigint NOT NULL,
    skipped bigint NOT NULL,
    PRIMARY KEY (uid, run_key, execution, step, source, chunk),
    CHECK (rows_in = rows_out + rejected + skipped)
);

CREATE TABLE tidemill.chunk_sinks (
    uid text NOT NULL,
    run_key text NOT NULL,
    execution integer NOT NULL,
    sink text NOT NULL,
    chunk integer NOT NULL,
    rows bigint NOT NULL,
    inserted bigint,
    updated bigint,
    PRIMARY KEY (uid, run_key, execution, sink, chunk)
);

CREATE TABLE tidemill.dead_letters (
    uid text NOT NULL,
    run_key text NOT NULL,
    execution integer NOT NULL,
    step text NOT NULL,
    source text NOT NULL,
    chunk integer NOT NULL,
    position bigint NOT NULL,
    part integer NOT NULL,
    namespace text NOT NULL,
    pipeline text NOT NULL,
    reason text NOT NULL,
    rules text[] NOT NULL,
    error text NOT NULL,
    file text,
    byte_offset bigint,
    line bigint,
    row_text text,
    row_columns jsonb,
    status text NOT NULL DEFAULT 'New' CHECK (status IN ('New', 'Replayed', 'Discarded')),
    attempts integer NOT NULL DEFAULT 1,
    first_seen timestamptz NOT NULL DEFAULT now(),
    last_seen timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (uid, run_key, execution, step, source, chunk, position, part)
);
CREATE INDEX dead_letters_by_pipeline ON tidemill.dead_letters (namespace, pipeline, first_seen DESC);
"""

VIEWS = """
CREATE VIEW tidemill.latest_runs AS
    SELECT DISTINCT ON (uid, run_key)
        namespace, pipeline, run_key, execution, result, started_at, finished_at,
        chunks, rows_read, rows_loaded, rows_rejected, rows_skipped, error_type, error_message, uid
    FROM tidemill.runs
    ORDER BY uid, run_key, execution DESC;

CREATE VIEW tidemill.run_steps AS
    SELECT r.namespace, r.pipeline, r.run_key, r.execution, s.ordinality AS place, s.value ->> 'step' AS step,
        (s.value ->> 'rowsIn')::bigint AS rows_in, (s.value ->> 'rowsOut')::bigint AS rows_out,
        (s.value ->> 'rejected')::bigint AS rejected, (s.value ->> 'skipped')::bigint AS skipped, r.uid
    FROM tidemill.runs r CROSS JOIN LATERAL jsonb_array_elements(r.summary -> 'steps') WITH ORDINALITY AS s;

CREATE VIEW tidemill.dead_letter_counts AS
    SELECT namespace, pipeline, run_key, execution, step, reason, rule, count(*) AS rows, min(first_seen) AS first_seen
    FROM tidemill.dead_letters LEFT JOIN LATERAL unnest(rules) AS rule ON true
    GROUP BY namespace, pipeline, run_key, execution, step, reason, rule;
"""

COMMENTS = """
COMMENT ON SCHEMA tidemill IS 'Tidemill''s own tables. Read them as you like; only Tidemill writes them.';
COMMENT ON TABLE tidemill.runs IS
    'One row for each execution of a run key. Execution 0 is a run that never began (skipped, or failed before).';
COMMENT ON COLUMN tidemill.runs.run_key IS
    'Nominal time of a scheduled run, or the name of the DataPipelineRun.';
COMMENT ON COLUMN tidemill.runs.execution IS 'How many times the key has been processed, this one included.';
COMMENT ON COLUMN tidemill.runs.staged IS
    'Sinks that are published after all chunks; NULL until the run is planned.';
COMMENT ON COLUMN tidemill.runs.workflow_run_id IS
    'Temporal''s run id of the first workflow run (before it continued as new).';
COMMENT ON COLUMN tidemill.runs.summary IS 'The run''s whole result as JSON: counts of each step and sink.';
COMMENT ON TABLE tidemill.slots IS
    'Who holds a pipeline''s slot, and who waits for it (holding = false) in which place.';
COMMENT ON TABLE tidemill.chunks IS
    'The plan of each execution: its pieces of work, and which of them are done.';
COMMENT ON TABLE tidemill.chunk_steps IS
    'Rows of each reading and validating step, chunk by chunk: rows_in = rows_out + rejected + skipped.';
COMMENT ON TABLE tidemill.chunk_sinks IS
    'Rows handed to each sink, chunk by chunk; chunk -1 is the publishing of staged rows.';
COMMENT ON TABLE tidemill.dead_letters IS
    'Rows that were rejected: what they were, where they came from, and why.';
COMMENT ON COLUMN tidemill.dead_letters.step IS
    'Source, validate step or sink that rejected the row; of a failed run (reason RunFailed) the step if known.';
COMMENT ON COLUMN tidemill.dead_letters.position IS
    'Byte offset of the source''s row in its file, uncompressed.';
COMMENT ON COLUMN tidemill.dead_letters.part IS
    'Which of the rows that a query made of the source''s row; 0 otherwise.';
COMMENT ON COLUMN tidemill.dead_letters.line IS 'Line in the file, from 1.';
COMMENT ON COLUMN tidemill.dead_letters.row_text IS 'The row as it stands in the file.';
COMMENT ON COLUMN tidemill.dead_letters.row_columns IS
    'The row''s columns where a query had changed it, or where there is no text.';
COMMENT ON COLUMN tidemill.dead_letters.status IS 'New, Replayed or Discarded.';
COMMENT ON VIEW tidemill.latest_runs IS 'The newest execution of each run key.';
COMMENT ON VIEW tidemill.run_steps IS 'Counts of each step of each run that has ended.';
COMMENT ON VIEW tidemill.dead_letter_counts IS
    'How many rows each step and rule has rejected, run by run. A row that broke two rules counts twice.';
"""


def upgrade() -> None:
    """Make the tables of the metastore."""
    op.execute(TABLES)
    op.execute(VIEWS)
    op.execute(COMMENTS)
