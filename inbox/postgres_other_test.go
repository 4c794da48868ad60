//go:build !unix

package inbox_test

import "errors"

func startPostgres() (string, func(), error) { return "", nil, errors.ErrUnsupported }
