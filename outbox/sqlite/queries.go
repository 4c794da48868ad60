package sqlite

import (
	"strings"

	"github.com/ducnguyen96/ticketing-common/outbox/internal/record"
)

// now is the database's time in microseconds; its resolution is a millisecond.
const now = `CAST((julianday('now')-2440587.5)*86400000000 AS INTEGER)`

// pending, without its end.
const pending = `SELECT ` + record.Columns + `,
		key <> '' AND EXISTS (SELECT 1 FROM {{table}} p WHERE p.state = 2 AND p.key = t.key)
	FROM {{table}} t WHERE state = 0 AND seq > ?`

// rows are those with the numbers and ids of an object.
const rows = `(seq, id) IN (SELECT CAST(key AS INTEGER), value FROM json_each(?))`

// queries is the SQL of one table.
type queries struct {
	names *strings.Replacer

	version, lock, insert, same         string
	acquirable, acquire, renew, release string
	horizon, pending, bounded           string
	count                               string
	remove, keep, park, wait, purge     string
	parked, requeue, discard, unwait    string
	generation, replay, stats           string
}

func (q *queries) fill(text string) string { return q.names.Replace(text) }

func newQueries(table string) queries {
	quoted := func(name string) string { return `"` + name + `"` }
	q := queries{names: strings.NewReplacer(
		"{{table}}", quoted(table),
		"{{relay}}", quoted(table+"_relay"),
		"{{table_pending}}", quoted(table+"_pending"),
		"{{table_waiting}}", quoted(table+"_waiting"),
		"{{table_parked}}", quoted(table+"_parked"),
		"{{table_sent}}", quoted(table+"_sent"),
		"{{now}}", now,
		"{{rows}}", rows,
	)}
	for _, e := range []struct {
		to   *string
		text string
	}{
		{&q.version, `SELECT version FROM {{relay}}`},
		// A write takes the lock, also if it changes nothing.
		{&q.lock, `UPDATE {{relay}} SET one = one WHERE FALSE`},

		{&q.insert, `INSERT INTO {{table}} (id, dedupe_id, key, subject, data, header, time, created_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, {{now}}) ON CONFLICT (id) DO NOTHING`},
		{&q.same, `UPDATE {{table}} SET id = id
			WHERE id = ? AND dedupe_id = ? AND key = ? AND subject = ? AND data = ?`},

		{&q.acquirable, `SELECT version, expires_at <= {{now}} OR holder = ? FROM {{relay}}`},
		{&q.acquire, `UPDATE {{relay}} SET holder = ?1, epoch = epoch + 1, expires_at = {{now}} + ?2
			WHERE expires_at <= {{now}} OR holder = ?1 RETURNING epoch`},
		{&q.renew, `UPDATE {{relay}} SET expires_at = {{now}} + ? WHERE epoch = ? AND holder = ?`},
		{&q.release, `UPDATE {{relay}} SET expires_at = 0 WHERE epoch = ? AND holder = ?`},

		{&q.horizon, `SELECT (SELECT coalesce(max(seq), 0) FROM {{table}} WHERE state = 0), generation FROM {{relay}}`},
		{&q.pending, pending + ` ORDER BY seq LIMIT ?`},
		// Not EXISTS: SQLite makes a join of that, and then sorts what it has read.
		{&q.bounded, pending + ` AND seq <= ? AND ? = (SELECT generation FROM {{relay}}) ORDER BY seq LIMIT ?`},

		{&q.count, `UPDATE {{relay}} SET published = published + ? WHERE epoch = ? AND holder = ?`},
		{&q.remove, `DELETE FROM {{table}} WHERE {{rows}} AND state = 0`},
		{&q.keep, `UPDATE {{table}} SET state = 3, changed_at = {{now}}
			WHERE {{rows}} AND state = 0`},
		{&q.park, `UPDATE {{table}} SET state = 2, changed_at = {{now}}, reason = ?
			WHERE seq = ? AND id = ? AND state = 0`},
		{&q.wait, `UPDATE {{table}} SET state = 1
			WHERE {{rows}} AND state = 0
				AND EXISTS (SELECT 1 FROM {{table}} p WHERE p.state = 2 AND p.key = {{table}}.key)`},
		{&q.purge, `DELETE FROM {{table}} WHERE seq IN (
				SELECT seq FROM {{table}} WHERE state = 3 AND changed_at < {{now}} - ?1
				ORDER BY changed_at LIMIT ?2)
			AND EXISTS (SELECT 1 FROM {{relay}} WHERE epoch = ?3 AND holder = ?4)`},

		{&q.parked, `SELECT ` + record.Columns + `, reason, {{now}} - changed_at
			FROM {{table}} WHERE state = 2 AND seq > ? ORDER BY seq LIMIT ?`},
		{&q.requeue, `UPDATE {{table}} SET state = 0, changed_at = NULL, reason = NULL
			WHERE id IN (SELECT value FROM json_each(?)) AND state = 2`},
		{&q.discard, `DELETE FROM {{table}} WHERE id IN (SELECT value FROM json_each(?)) AND state = 2`},
		{&q.unwait, `UPDATE {{table}} SET state = 0
			WHERE state = 1 AND NOT EXISTS (SELECT 1 FROM {{table}} p WHERE p.state = 2 AND p.key = {{table}}.key)`},
		{&q.generation, `UPDATE {{relay}} SET generation = generation + 1`},
		{&q.replay, `UPDATE {{table}} SET state = 0, changed_at = NULL WHERE state = 3 AND changed_at >= {{now}} - ?`},

		{&q.stats, `SELECT
				(SELECT count(*) FROM {{table}} WHERE state = 0),
				coalesce({{now}} - (SELECT created_at FROM {{table}} WHERE state = 0 ORDER BY seq LIMIT 1), 0),
				(SELECT count(*) FROM {{table}} WHERE state = 2),
				(SELECT count(*) FROM {{table}} WHERE state = 1),
				published, holder, epoch, expires_at - {{now}}
			FROM {{relay}}`},
	} {
		*e.to = q.fill(e.text)
	}
	return q
}
