package record

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/outbox"
)

// Columns are those that [Reader.Scan] reads.
const Columns = `seq, id, dedupe_id, key, subject, time, header, data`

// Reader reads rows. The zero value is ready.
type Reader struct {
	subjects map[string]ticketing.Subject // a table has few
	subject  sql.RawBytes
	header   sql.RawBytes
}

// Scan reads the [Columns] of the current row of rows, of database/sql or of pgx,
// and those that follow into more.
func (c *Reader) Scan(rows interface{ Scan(dest ...any) error }, r *outbox.Row, more ...any) error {
	m := &r.Message
	dest := append([]any{&r.Seq, &m.ID, &m.DedupeID, &m.Key, &c.subject, (*instant)(&m.Time), &c.header, &m.Data}, more...)
	if err := rows.Scan(dest...); err != nil {
		return err
	}
	s, ok := c.subjects[string(c.subject)]
	if !ok {
		if c.subjects == nil {
			c.subjects = make(map[string]ticketing.Subject)
		}
		s = ticketing.Subject(c.subject)
		c.subjects[string(s)] = s
	}
	m.Subject = s
	var err error
	if m.Header, err = DecodeHeader(c.header); err != nil {
		return fmt.Errorf("row %d: %w", r.Seq, err)
	}
	return nil
}

// instant is a time, which SQLite has as microseconds since 1970.
type instant time.Time

// Scan implements [sql.Scanner].
func (t *instant) Scan(v any) error {
	switch v := v.(type) {
	case time.Time:
		*t = instant(v)
	case int64:
		*t = instant(time.UnixMicro(v))
	default:
		return fmt.Errorf("a time is a %T", v)
	}
	return nil
}

// Parked reads what a query about parked rows finds: the Columns, the reason,
// and the age in microseconds.
func Parked(rows *sql.Rows, err error) ([]outbox.Parked, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []outbox.Parked
	var c Reader
	for rows.Next() {
		var p outbox.Parked
		var age int64
		if err := c.Scan(rows, &p.Row, &p.Reason, &age); err != nil {
			return nil, err
		}
		p.Blocked = true
		p.Age = time.Duration(age) * time.Microsecond
		list = append(list, p)
	}
	return list, rows.Err()
}

// Stats reads the one row of a query about everything, with its times in
// microseconds.
func Stats(ctx context.Context, db *sql.DB, query string) (st outbox.Stats, err error) {
	var oldest, lease int64
	err = db.QueryRowContext(ctx, query).Scan(
		&st.Pending, &oldest, &st.Parked, &st.Waiting, &st.Published, &st.Holder, &st.Epoch, &lease)
	st.Oldest = time.Duration(max(oldest, 0)) * time.Microsecond
	st.Lease = time.Duration(max(lease, 0)) * time.Microsecond
	return st, err
}
