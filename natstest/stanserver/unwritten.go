package stanserver

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// versionLen is what every file of a store begins with.
const versionLen = 4

// removeUnwritten removes the files of a store that a server made, and was
// killed before it wrote anything. One that starts with such a file refuses it
// ("unable to verify file version: EOF"), and makes one that is missing.
func removeUnwritten(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // there is no store yet
		}
		if err != nil || d.IsDir() || filepath.Ext(path) != ".dat" && filepath.Ext(path) != ".idx" {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Size() < versionLen {
			err = os.Remove(path)
		}
		return err
	})
}
