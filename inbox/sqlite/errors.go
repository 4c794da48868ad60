package sqlite

import (
	"fmt"
	"strings"

	"github.com/ducnguyen96/ticketing-common/inbox"
	"github.com/ducnguyen96/ticketing-common/internal/sqlitecode"
)

// explain says what to do about a statement of the store's that failed.
func explain(err error, table string) error {
	switch text := err.Error(); {
	case sqlitecode.Of(err) == sqlitecode.BusySnapshot:
		return fmt.Errorf("another has written since the transaction read: call Once before it reads, or begin it IMMEDIATE (_txlock=immediate): %w", err)
	case strings.Contains(text, "no such table") && strings.Contains(text, table),
		strings.Contains(text, "has no column named"), strings.Contains(text, "no such column"):
		return fmt.Errorf("%w: %w", inbox.ErrNotMigrated, err)
	}
	return err
}
