"""Dead letters as people work with them: a number each, causes, edits, what may be kept and for how long, an audit."""

from alembic import op

revision = "0003"
down_revision = "0002"

LETTERS = """
ALTER TABLE tidemill.dead_letters
    ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY,
    ADD COLUMN cause text,
    ADD COLUMN row_keys jsonb,
    ADD COLUMN layout text,
    ADD COLUMN stored text NOT NULL DEFAULT 'Full' CHECK (stored IN ('Full', 'KeysOnly', 'None')),
    ADD COLUMN redacted text[] NOT NULL DEFAULT '{}',
    ADD COLUMN edited_text text,
    ADD COLUMN edited_by text,
    ADD COLUMN edited_at timestamptz,
    ADD COLUMN status_note text,
    DROP CONSTRAINT dead_letters_status_check,
    ADD CONSTRAINT dead_letters_status_check CHECK (status IN ('New', 'Replayed', 'Discarded', 'Erased'));
UPDATE tidemill.dead_letters SET cause = CASE
    WHEN reason = 'RunFailed' THEN split_part(error, ':', 1)
    ELSE regexp_replace(error, '^(.*?): .* is not of type ', '\\1 is not of type ') END;
ALTER TABLE tidemill.dead_letters ALTER COLUMN cause SET NOT NULL;
CREATE UNIQUE INDEX dead_letters_by_id ON tidemill.dead_letters (id);
CREATE INDEX dead_letters_by_step ON tidemill.dead_letters (namespace, pipeline, step, first_seen DESC);
CREATE INDEX dead_letters_by_age ON tidemill.dead_letters USING brin (last_seen) WITH (autosummarize = on);
CREATE INDEX dead_letters_done ON tidemill.dead_letters (uid, id) WHERE status <> 'New';

CREATE TABLE tidemill.dead_letter_layouts (
    layout text PRIMARY KEY,
    columns text[] NOT NULL,
    delimiter text NOT NULL,
    quote text NOT NULL
);

CREATE TABLE tidemill.dead_letter_keeping (
    uid text PRIMARY KEY,
    letters bigint NOT NULL DEFAULT 0,
    retention interval
);
INSERT INTO tidemill.dead_letter_keeping (uid, letters)
    SELECT uid, count(*) FROM tidemill.dead_letters GROUP BY uid;

CREATE TABLE tidemill.dead_letter_audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    action text NOT NULL CHECK (action IN ('Show', 'Export', 'Edit', 'Discard', 'Erase')),
    database_user text NOT NULL DEFAULT session_user,
    person text NOT NULL,
    letters bigint NOT NULL,
    ids bigint[] NOT NULL,
    filter jsonb NOT NULL,
    note text
);
CREATE INDEX dead_letter_audit_by_time ON tidemill.dead_letter_audit (at DESC);
"""

COUNTING = """
CREATE FUNCTION tidemill.count_new_letters() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO tidemill.dead_letter_keeping AS k (uid, letters)
        SELECT uid, count(*) FROM fresh GROUP BY uid ORDER BY uid
        ON CONFLICT (uid) DO UPDATE SET letters = k.letters + excluded.letters;
    RETURN NULL;
END $$;
CREATE FUNCTION tidemill.count_gone_letters() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    UPDATE tidemill.dead_letter_keeping k SET letters = k.letters - g.letters
        FROM (SELECT uid, count(*) AS letters FROM gone GROUP BY uid ORDER BY uid) g WHERE k.uid = g.uid;
    RETURN NULL;
END $$;
CREATE TRIGGER count_new AFTER INSERT ON tidemill.dead_letters
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION tidemill.count_new_letters();
CREATE TRIGGER count_gone AFTER DELETE ON tidemill.dead_letters
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION tidemill.count_gone_letters();
"""

SUMMARY = """
CREATE VIEW tidemill.dead_letter_summary AS
    SELECT namespace, pipeline, step, reason, rule, cause, (first_seen AT TIME ZONE 'UTC')::date AS day,
        count(*) AS letters, count(*) FILTER (WHERE status = 'New') AS open,
        count(DISTINCT (run_key, execution)) AS runs, min(first_seen) AS first_seen, max(last_seen) AS last_seen
    FROM tidemill.dead_letters LEFT JOIN LATERAL unnest(rules) AS rule ON true
    GROUP BY namespace, pipeline, step, reason, rule, cause, day;
"""

COMMENTS = """
COMMENT ON COLUMN tidemill.dead_letters.uid IS 'The DataPipeline''s uid.';
COMMENT ON COLUMN tidemill.dead_letters.run_key IS 'The run that rejected the row: its key.';
COMMENT ON COLUMN tidemill.dead_letters.execution IS 'Which processing of that key.';
COMMENT ON COLUMN tidemill.dead_letters.source IS 'The source that the row was read from.';
COMMENT ON COLUMN tidemill.dead_letters.chunk IS 'The chunk of the run''s plan; -1 for a failed run.';
COMMENT ON COLUMN tidemill.dead_letters.namespace IS 'The pipeline''s namespace.';
COMMENT ON COLUMN tidemill.dead_letters.pipeline IS 'The pipeline''s name.';
COMMENT ON COLUMN tidemill.dead_letters.reason IS
    'Type of the error: BadValue, BadRow, RuleBroken, BadKey, or RunFailed for a run.';
COMMENT ON COLUMN tidemill.dead_letters.rules IS 'Rules of a validate step that the row broke; else empty.';
COMMENT ON COLUMN tidemill.dead_letters.error IS 'The error in words; may quote the value at fault.';
COMMENT ON COLUMN tidemill.dead_letters.file IS 'The file, with the member of a zip after a !.';
COMMENT ON COLUMN tidemill.dead_letters.byte_offset IS 'Where the row begins in the file, uncompressed.';
COMMENT ON COLUMN tidemill.dead_letters.attempts IS 'How often the row was rejected, attempts of a chunk included.';
COMMENT ON COLUMN tidemill.dead_letters.first_seen IS 'When it was rejected first.';
COMMENT ON COLUMN tidemill.dead_letters.last_seen IS 'When it was rejected last; retention counts from here.';
COMMENT ON COLUMN tidemill.dead_letters.id IS 'The letter''s number, for people: tidemill rejects show ID.';
COMMENT ON COLUMN tidemill.dead_letters.cause IS 'The error without values of the row: what letters are counted by.';
COMMENT ON COLUMN tidemill.dead_letters.row_keys IS
    'The row''s columns that are a primary key of a sink, as far as they can be told.';
COMMENT ON COLUMN tidemill.dead_letters.layout IS 'How row_text is cut into columns: see dead_letter_layouts.';
COMMENT ON COLUMN tidemill.dead_letters.stored IS
    'What spec.deadLetter.store let be kept: Full, KeysOnly (row_keys) or None.';
COMMENT ON COLUMN tidemill.dead_letters.redacted IS
    'spec.deadLetter.redactColumns of the run: their values are replaced in row_text and row_columns.';
COMMENT ON COLUMN tidemill.dead_letters.edited_text IS 'The row as somebody has mended it; row_text stays as it was.';
COMMENT ON COLUMN tidemill.dead_letters.edited_by IS 'Who did.';
COMMENT ON COLUMN tidemill.dead_letters.edited_at IS 'When.';
COMMENT ON COLUMN tidemill.dead_letters.status IS
    'New; Discarded by a person; Erased: its data was removed for good; Replayed.';
COMMENT ON COLUMN tidemill.dead_letters.status_note IS 'What was said when the status was changed.';
COMMENT ON TABLE tidemill.dead_letter_layouts IS 'How the texts of letters are cut into columns; one row a layout.';
COMMENT ON COLUMN tidemill.dead_letter_layouts.layout IS 'Hash of the other columns.';
COMMENT ON COLUMN tidemill.dead_letter_layouts.columns IS
    'Name of each field in order; NULL for fields that the pipeline doesn''t read.';
COMMENT ON COLUMN tidemill.dead_letter_layouts.delimiter IS 'What stands between fields.';
COMMENT ON COLUMN tidemill.dead_letter_layouts.quote IS 'What stands around quoted fields.';
COMMENT ON TABLE tidemill.dead_letter_keeping IS
    'One row a pipeline: how many letters it has (kept by triggers) and how long they are kept.';
COMMENT ON COLUMN tidemill.dead_letter_keeping.uid IS 'The DataPipeline''s uid.';
COMMENT ON COLUMN tidemill.dead_letter_keeping.letters IS 'Letters in dead_letters, whatever their status.';
COMMENT ON COLUMN tidemill.dead_letter_keeping.retention IS
    'spec.deadLetter.retention of the newest run; NULL until one has ended.';
COMMENT ON TABLE tidemill.dead_letter_audit IS
    'Who has seen or changed dead letters by tidemill rejects: one row each time.';
COMMENT ON COLUMN tidemill.dead_letter_audit.id IS 'Number of the entry.';
COMMENT ON COLUMN tidemill.dead_letter_audit.at IS 'When.';
COMMENT ON COLUMN tidemill.dead_letter_audit.action IS 'Show, Export, Edit, Discard or Erase.';
COMMENT ON COLUMN tidemill.dead_letter_audit.database_user IS 'The role that was logged in, as the database says.';
COMMENT ON COLUMN tidemill.dead_letter_audit.person IS 'Who it was, as the program was told: user and machine.';
COMMENT ON COLUMN tidemill.dead_letter_audit.letters IS 'How many letters it was about.';
COMMENT ON COLUMN tidemill.dead_letter_audit.ids IS 'Which: at most the first 1000.';
COMMENT ON COLUMN tidemill.dead_letter_audit.filter IS
    'What was asked for. Of an erasure the column only: the value is what had to go.';
COMMENT ON COLUMN tidemill.dead_letter_audit.note IS 'What was said with it.';
COMMENT ON VIEW tidemill.dead_letter_summary IS
    'Errors by type, step, rule, cause and day (UTC) over all runs. A row that broke two rules counts for each.';
"""


def upgrade() -> None:
    """Extend dead letters, and make what stands around them."""
    op.execute(LETTERS)
    op.execute(COUNTING)
    op.execute(SUMMARY)
    op.execute(COMMENTS)
