-- The spool in PostgreSQL (12 or newer; tested with 18), version 1. ingest applies this file at its start, unless the
-- spool's params say "migrate": false. By hand, as the owner of the database, where `daybook` stands for params.schema:
--
--   psql "$URL" -1 -v ON_ERROR_STOP=1 -c 'CREATE SCHEMA daybook' -c 'SET search_path TO daybook' -f 001-spool.sql
--
-- A user of ingest that does not own the tables needs:
--
--   GRANT USAGE ON SCHEMA daybook TO ingest;
--   GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA daybook TO ingest;
--
-- What holds between two transactions:
-- - spool_totals has one row. records and dead are the numbers of rows of the two tables, bytes the sum of their `bytes`;
-- - a transaction that adds live records takes the row of spool_totals first and keeps it to its end: so sequences are
--   in the order of commits, without gaps, and never come back (next_sequence outlives the rows below it);
-- - no live record is below first_sequence;
-- - checksum is the CRC-32 of the key and the value, taken before they were sent here.

CREATE TABLE spool_migrations (
  version integer PRIMARY KEY,
  applied_at timestamptz NOT NULL DEFAULT now()
);

-- Live records. The key is bytes, in UTF-8: text cannot hold U+0000. bytes: what the record counts towards maxBytes.
-- Rows come and go fast: what is removed is to be vacuumed whatever the size of the table.
CREATE TABLE spool_records (
  sequence bigint PRIMARY KEY,
  key bytea NOT NULL,
  value bytea NOT NULL,
  checksum bigint NOT NULL,
  bytes integer NOT NULL,
  appended_at timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- Dead letters, under the sequence that they had. key is null where the record was damaged.
CREATE TABLE spool_dead_letters (
  sequence bigint PRIMARY KEY,
  key bytea,
  raw bytea NOT NULL,
  checksum bigint NOT NULL,
  bytes integer NOT NULL,
  reason text NOT NULL,
  died_at timestamptz NOT NULL
);

CREATE TABLE spool_totals (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  records bigint NOT NULL,
  bytes bigint NOT NULL,
  dead bigint NOT NULL,
  next_sequence bigint NOT NULL,
  first_sequence bigint NOT NULL
);

INSERT INTO spool_totals VALUES (true, 0, 0, 0, 1, 1);
INSERT INTO spool_migrations (version) VALUES (1);
