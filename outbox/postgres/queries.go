package postgres

import (
	"strings"

	"github.com/ducnguyen96/ticketing-common/outbox/internal/record"
)

// queries is the SQL of one table. Lists are passed as text, which every driver
// can.
type queries struct {
	names *strings.Replacer

	version, lock                       string
	insert, insertNotify, same          string
	acquirable, acquire, renew, release string
	horizon, pending, first, window     string
	remove, keep, count                 string
	park, wait, purge                   string
	parked, fence                       string
	requeue, discard, replay            string
	unwait, generation, stats           string
}

func (q *queries) fill(text string) string { return q.names.Replace(text) }

// insert, without its end.
const insert = `INSERT INTO {{table}} (id, dedupe_id, key, subject, data, header, time)
	VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING`

// pending, without its end. IN makes one list of the parked keys; with EXISTS
// setting up the query takes twice the time.
const pending = `SELECT ` + record.Columns + `,
		key IN (SELECT p.key FROM {{table}} p WHERE p.state = 2 AND p.key <> '')
	FROM {{table}} t WHERE state = 0 AND seq > $1`

// settled, around a statement about the rows with the numbers $2 and the ids $4.
// The relay's row is locked by its update, so that no other relay takes over in
// between. The numbers by themselves are for the index, and IS TRUE makes one table
// of the pairs: a planner that is free to join them reads all of a long backlog,
// or compares each pair with each row.
const (
	settleBegin = `WITH fence AS (
		UPDATE {{relay}} SET published = published + $3 WHERE epoch = $1 AND holder = $5 RETURNING 1
	), rows AS (`
	settleEnd = ` WHERE state = 0 AND seq = ANY ($2::text::bigint[])
			AND ((seq, id) IN (SELECT * FROM unnest($2::text::bigint[], $4::text::text[]))) IS TRUE
			AND EXISTS (SELECT 1 FROM fence)
	) SELECT count(*) FROM fence`
)

func newQueries(o Options) queries {
	prefix := ""
	if o.Schema != "" {
		prefix = `"` + o.Schema + `".`
	}
	q := queries{names: strings.NewReplacer(
		"{{table}}", prefix+`"`+o.Table+`"`,
		"{{relay}}", prefix+`"`+o.Table+`_relay"`,
		"{{table_pending}}", `"`+o.Table+`_pending"`,
		"{{table_waiting}}", `"`+o.Table+`_waiting"`,
		"{{table_parked}}", `"`+o.Table+`_parked"`,
		"{{table_sent}}", `"`+o.Table+`_sent"`,
	)}
	for _, e := range []struct {
		to   *string
		text string
	}{
		{&q.version, `SELECT version FROM {{relay}}`},
		{&q.lock, `SELECT pg_advisory_xact_lock($1)`},

		{&q.insert, insert},
		{&q.insertNotify, insert + ` RETURNING pg_notify($8, '')`},
		// A row with the id, and once more if it is the same event.
		{&q.same, `SELECT 1 FROM {{table}} WHERE id = $1 UNION ALL SELECT 1 FROM {{table}}
			WHERE id = $1 AND dedupe_id = $2 AND key = $3 AND subject = $4 AND data = $5`},

		{&q.acquirable, `SELECT version, expires_at <= clock_timestamp() OR holder = $1 FROM {{relay}}`},
		{&q.acquire, `UPDATE {{relay}}
			SET holder = $1, epoch = epoch + 1, expires_at = clock_timestamp() + $2::bigint * interval '1 microsecond'
			WHERE expires_at <= clock_timestamp() OR holder = $1 RETURNING epoch`},
		{&q.renew, `UPDATE {{relay}} SET expires_at = clock_timestamp() + $1::bigint * interval '1 microsecond'
			WHERE epoch = $2 AND holder = $3`},
		{&q.release, `UPDATE {{relay}} SET expires_at = 'epoch' WHERE epoch = $1 AND holder = $2`},

		{&q.horizon, `SELECT (SELECT coalesce(max(seq), 0) FROM {{table}} WHERE state = 0), generation FROM {{relay}}`},
		{&q.pending, pending + ` ORDER BY seq LIMIT `},
		{&q.first, `SELECT min(seq) FROM {{table}} WHERE state = 0 AND seq > $1`},
		{&q.window, pending + ` AND seq <= $2 AND $3 = (SELECT generation FROM {{relay}}) ORDER BY seq`},

		{&q.remove, settleBegin + `DELETE FROM {{table}}` + settleEnd},
		{&q.keep, settleBegin + `UPDATE {{table}} SET state = 3, changed_at = clock_timestamp()` + settleEnd},
		{&q.count, `UPDATE {{relay}} SET published = published + $1 WHERE epoch = $2 AND holder = $3`},
		{&q.park, `UPDATE {{table}} SET state = 2, changed_at = clock_timestamp(), reason = $1
			WHERE seq = $2 AND id = $3 AND state = 0`},
		{&q.wait, `UPDATE {{table}} t SET state = 1
			WHERE seq = ANY ($1::text::bigint[]) AND state = 0
				AND ((seq, id) IN (SELECT * FROM unnest($1::text::bigint[], $2::text::text[]))) IS TRUE
				AND EXISTS (SELECT 1 FROM {{table}} p WHERE p.state = 2 AND p.key = t.key)`},
		{&q.purge, `DELETE FROM {{table}} WHERE state = 3 AND id = ANY (ARRAY(
				SELECT id FROM {{table}} WHERE state = 3 AND changed_at < clock_timestamp() - $1::bigint * interval '1 microsecond'
				ORDER BY changed_at LIMIT $2))
			AND EXISTS (SELECT 1 FROM {{relay}} WHERE epoch = $3 AND holder = $4)`},

		{&q.parked, `SELECT ` + record.Columns + `, coalesce(reason, ''),
				(extract(epoch FROM clock_timestamp() - changed_at) * 1000000)::bigint
			FROM {{table}} WHERE state = 2 AND seq > $1 ORDER BY seq LIMIT $2`},
		// Nothing is noted down while rows are made pending again.
		{&q.fence, `SELECT 1 FROM {{relay}} FOR UPDATE`},
		{&q.requeue, `UPDATE {{table}} SET state = 0, changed_at = NULL, reason = NULL
			WHERE state = 2 AND id = $1`},
		{&q.discard, `DELETE FROM {{table}} WHERE state = 2 AND id = $1`},
		{&q.replay, `UPDATE {{table}} SET state = 0, changed_at = NULL
			WHERE state = 3 AND changed_at >= clock_timestamp() - $1::bigint * interval '1 microsecond'`},
		{&q.unwait, `UPDATE {{table}} t SET state = 0
			WHERE state = 1 AND NOT EXISTS (SELECT 1 FROM {{table}} p WHERE p.state = 2 AND p.key = t.key)`},
		{&q.generation, `UPDATE {{relay}} SET generation = generation + 1`},

		{&q.stats, `SELECT
				(SELECT count(*) FROM {{table}} WHERE state = 0),
				coalesce((SELECT (extract(epoch FROM clock_timestamp() - created_at) * 1000000)::bigint
					FROM {{table}} WHERE state = 0 ORDER BY seq LIMIT 1), 0),
				(SELECT count(*) FROM {{table}} WHERE state = 2),
				(SELECT count(*) FROM {{table}} WHERE state = 1),
				published, holder, epoch,
				(extract(epoch FROM expires_at - clock_timestamp()) * 1000000)::bigint
			FROM {{relay}}`},
	} {
		*e.to = q.fill(e.text)
	}
	return q
}
