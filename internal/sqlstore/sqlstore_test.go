package sqlstore_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ducnguyen96/ticketing-common/internal/sqlstore"
)

func TestNamesAreLowerCaseWordsThatLeaveRoomForSuffixes(t *testing.T) {
	for _, name := range []string{"outbox", "_a1", "select", strings.Repeat("a", 40)} {
		if err := sqlstore.CheckName("table", name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", `a"b`, "a b", "a.b", "a;b", "Outbox", "1a", "a-b", "é", "a\n", strings.Repeat("a", 41)} {
		err := sqlstore.CheckName("outbox: table", name)
		if err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf("outbox: table name %q: ", name)) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestWhyPostgreSQLRefusedIsFoundInTheChain(t *testing.T) {
	for state, undefined := range map[string]bool{"42P01": true, "42703": true, "3F000": true, "40001": false} {
		err := fmt.Errorf("insert: %w", &pgconn.PgError{Code: state})
		if got := sqlstore.SQLState(err); got != state || sqlstore.Undefined(err) != undefined {
			t.Errorf("%s: the state is %q, undefined %t", state, got, !undefined)
		}
	}
	for _, err := range []error{nil, errors.New("another")} {
		if got := sqlstore.SQLState(err); got != "" || sqlstore.Undefined(err) {
			t.Errorf("%v has the state %q", err, got)
		}
	}
}
