/** The statements of the sql spool. Each keeps the invariants of sql/001-spool.sql by itself. */

/** What a row costs beside its key and value, roughly: columns, headers, its place in the index. */
export const recordOverheadBytes = 100;

export interface Statements {
  readonly append: string;
  readonly peek: string;
  readonly waitingAfter: string;
  readonly commit: string;
  readonly size: string;
  readonly deadLetter: string;
  readonly deadAfter: string;
  readonly lastDead: string;
  readonly requeue: string;
}

export function statementsOf(schema: string): Statements {
  const records = `"${schema}".spool_records`;
  const letters = `"${schema}".spool_dead_letters`;
  const totals = `"${schema}".spool_totals`;
  const oldestOf = (condition: string) => `
      SELECT sequence, key, value, checksum FROM (
        SELECT *, row_number() OVER oldest AS place, sum(octet_length(key) + octet_length(value)) OVER oldest AS reached
        FROM (
          SELECT sequence, key, value, checksum FROM ${records}
          WHERE ${condition} ORDER BY sequence LIMIT $1
        ) AS head
        WINDOW oldest AS (ORDER BY sequence)
      ) AS measured
      WHERE place = 1 OR reached <= $2::bigint
      ORDER BY sequence`;
  return {
    /** 1 records · 2 bytes · 3 maxBytes · 4 content · 5 starts · 6 key bytes · 7 value bytes · 8 checksums · 9 now. Writes no row where there is no room. */
    append: `
      WITH room AS (
        UPDATE ${totals} SET records = records + $1::bigint, bytes = bytes + $2::bigint, next_sequence = next_sequence + $1
        WHERE bytes + $2 <= $3::bigint
        RETURNING next_sequence - $1 AS first
      )
      INSERT INTO ${records} (sequence, key, value, checksum, bytes, appended_at)
      SELECT first + place - 1, substring($4::bytea FROM start FOR key_bytes),
        substring($4 FROM start + key_bytes FOR value_bytes), checksum,
        key_bytes + value_bytes + ${recordOverheadBytes}, $9::timestamptz
      FROM room, unnest($5::int[], $6::int[], $7::int[], $8::bigint[])
        WITH ORDINALITY AS one (start, key_bytes, value_bytes, checksum, place)`,

    /** 1 most records · 2 most bytes; the first always. It begins at first_sequence, lest it wade through removed rows. */
    peek: oldestOf(`sequence >= (SELECT first_sequence FROM ${totals})`),

    /** 1 and 2 as of peek · 3 sequence of the one before. */
    waitingAfter: oldestOf('sequence > $3::bigint'),

    /** 1 sequences · 2 what no live record is below, then. Those that are gone already are passed over. */
    commit: `
      WITH gone AS (DELETE FROM ${records} WHERE sequence = ANY ($1::bigint[]) RETURNING bytes)
      UPDATE ${totals} SET records = records - (SELECT count(*) FROM gone),
        bytes = bytes - (SELECT coalesce(sum(gone.bytes), 0) FROM gone),
        first_sequence = greatest(first_sequence, $2::bigint)`,

    size: `
      SELECT records, bytes, dead, (
        SELECT appended_at FROM ${records} WHERE sequence >= first_sequence ORDER BY sequence LIMIT 1
      ) AS oldest
      FROM ${totals}`,

    /** 1 sequences · 2 whether the key is to be trusted · 3 reason · 4 now. Those that are gone already are passed over. */
    deadLetter: `
      WITH gone AS (DELETE FROM ${records} WHERE sequence = ANY ($1::bigint[]) RETURNING *),
      put AS (
        INSERT INTO ${letters} (sequence, key, raw, checksum, bytes, reason, died_at)
        SELECT sequence, CASE WHEN $2::boolean THEN key END, value, checksum, bytes, $3::text, $4::timestamptz FROM gone
      )
      UPDATE ${totals} SET records = records - (SELECT count(*) FROM gone), dead = dead + (SELECT count(*) FROM gone)`,

    /** 1 sequence of the one before. */
    deadAfter: `
      SELECT sequence, key, raw, reason, died_at FROM ${letters} WHERE sequence > $1::bigint ORDER BY sequence LIMIT 1`,

    lastDead: `SELECT max(sequence) AS sequence FROM ${letters}`,

    /** 1 sequence of the one before · 2 the last · 3 sequences or null · 4 most · 5 now. Answers how many it moved, and the last of them (null: none). */
    requeue: `
      WITH chosen AS (
        SELECT sequence FROM ${letters}
        WHERE key IS NOT NULL AND sequence > $1::bigint AND sequence <= $2::bigint
          AND ($3::bigint[] IS NULL OR sequence = ANY ($3))
        ORDER BY sequence LIMIT $4 FOR UPDATE
      ),
      gone AS (DELETE FROM ${letters} WHERE sequence IN (SELECT sequence FROM chosen) RETURNING *),
      room AS (
        UPDATE ${totals} SET records = records + (SELECT count(*) FROM gone), dead = dead - (SELECT count(*) FROM gone),
          next_sequence = next_sequence + (SELECT count(*) FROM gone)
        RETURNING next_sequence - (SELECT count(*) FROM gone) AS first
      ),
      put AS (
        INSERT INTO ${records} (sequence, key, value, checksum, bytes, appended_at)
        SELECT first + row_number() OVER (ORDER BY sequence) - 1, key, raw, checksum, bytes, $5::timestamptz FROM gone, room
      )
      SELECT (SELECT count(*) FROM gone) AS moved, (SELECT max(sequence) FROM gone) AS reached`,
  };
}
