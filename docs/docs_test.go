// Package docs holds the documentation to the code: see its test.
package docs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// code says where the Go fragments of a page stand as code that is compiled
// and run. Paths are from the module's root.
var code = map[string]string{
	"README.md":         "docs/internal/readme",
	"docs/from-node.md": "docs/internal/fromnode",
	"docs/outbox.md":    "outbox/outboxtest",
}

const root = ".."

// A page's fragments are the regions of its code, from a line "// region name"
// to "// endregion", without their indentation.
func TestEveryGoFragmentOfAPageIsCompiled(t *testing.T) {
	for _, page := range pages(t) {
		text, err := os.ReadFile(filepath.Join(root, page))
		if err != nil {
			t.Fatal(err)
		}
		fragments, err := goFragments(string(text))
		if err != nil {
			t.Errorf("%s: %v", page, err)
		}
		dir, ok := code[page]
		switch {
		case !ok && len(fragments) == 0:
			continue
		case !ok:
			t.Errorf("%s has Go fragments that nothing compiles: add the page to the table of this test", page)
			continue
		}
		t.Run(page, func(t *testing.T) { compare(t, page, fragments, regionsOf(t, dir)) })
	}
}

// compare wants each fragment to be a region, and each region to be used.
func compare(t *testing.T, page string, fragments, regions []fragment) {
	var unused []fragment
	for _, r := range regions {
		if !slices.ContainsFunc(fragments, func(f fragment) bool { return f.text == r.text }) {
			unused = append(unused, r)
		}
	}
	for _, f := range fragments {
		if slices.ContainsFunc(regions, func(r fragment) bool { return r.text == f.text }) {
			continue
		}
		if len(unused) == 0 {
			t.Errorf("%s:%d: this fragment is no region of %s", page, f.line, code[page])
			continue
		}
		near := slices.MaxFunc(unused, func(a, b fragment) int { return inCommon(a, f) - inCommon(b, f) })
		t.Errorf("%s:%d: this fragment is no region; the nearest is %s (-page +code):\n%s", page, f.line, near, cmp.Diff(f.text, near.text))
	}
	for _, r := range unused {
		t.Errorf("%s does not have the region %s", page, r)
	}
}

// inCommon is how many lines of a are also in b.
func inCommon(a, b fragment) (n int) {
	lines := strings.Split(b.text, "\n")
	for line := range strings.SplitSeq(a.text, "\n") {
		if slices.Contains(lines, line) {
			n++
		}
	}
	return n
}

// pages returns all Markdown files of the module.
func pages(t *testing.T) (pages []string) {
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() != root && strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case filepath.Ext(path) != ".md":
			return nil
		}
		rel, err := filepath.Rel(root, path)
		pages = append(pages, filepath.ToSlash(rel))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for page := range code {
		if !slices.Contains(pages, page) {
			t.Errorf("%s does not exist", page)
		}
	}
	return pages
}

// fragment is a piece of Go code.
type fragment struct {
	name string // of a region, with its file
	line int    // where it begins
	text string
}

func (f fragment) String() string { return fmt.Sprintf("%q, line %d", f.name, f.line) }

// goFragments returns the fenced blocks of Go code in a page.
func goFragments(page string) (found []fragment, err error) {
	var f *fragment
	fenced := false
	for i, line := range strings.Split(page, "\n") {
		switch info, fence := strings.CutPrefix(line, "```"); {
		case fence && fenced:
			if f != nil {
				found = append(found, *f)
			}
			fenced, f = false, nil
		case fence:
			fenced = true
			if strings.Fields(info + " -")[0] == "go" {
				f = &fragment{line: i + 1}
			}
		case f != nil:
			f.text += line + "\n"
		}
	}
	if fenced {
		return found, errors.New("a fenced block does not end")
	}
	return found, nil
}

func regionsOf(t *testing.T, dir string) (found []fragment) {
	files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no Go files in %s (%v)", dir, err)
	}
	for _, name := range files {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		in, err := regions(filepath.Base(name), string(source))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		found = append(found, in...)
	}
	return found
}

// regions returns the marked regions of a source file.
func regions(file, source string) (found []fragment, err error) {
	var r *fragment
	lines := strings.Split(source, "\n")
	for i, line := range lines {
		mark := strings.TrimSpace(line)
		name, begins := strings.CutPrefix(mark, "// region ")
		switch ends := mark == "// endregion"; {
		case strings.HasPrefix(mark, "// Output:") && i > 0 && strings.HasPrefix(strings.TrimSpace(lines[i-1]), "//"):
			return nil, fmt.Errorf("line %d: an example is not run when other comments stand right above its output", i+1)
		case begins && r != nil:
			return nil, fmt.Errorf("line %d: a region in a region", i+1)
		case begins:
			r = &fragment{name: file + ": " + name, line: i + 1}
		case ends && r == nil:
			return nil, fmt.Errorf("line %d: the end of no region", i+1)
		case ends:
			r.text = outdent(strings.Trim(r.text, "\n") + "\n")
			found, r = append(found, *r), nil
		case r != nil:
			r.text += line + "\n"
		}
	}
	if r != nil {
		return nil, fmt.Errorf("the region %s does not end", r)
	}
	return found, nil
}

// outdent takes the tabs off that all lines begin with.
func outdent(text string) string {
	for strings.Contains(text, "\t") {
		lines := strings.SplitAfter(text, "\n")
		for _, line := range lines {
			if line != "" && line != "\n" && line[0] != '\t' {
				return text
			}
		}
		for i, line := range lines {
			lines[i] = strings.TrimPrefix(line, "\t")
		}
		text = strings.Join(lines, "")
	}
	return text
}

func TestFragmentsAndRegionsAreFound(t *testing.T) {
	page := "a\n```go\nx := 1\n\nreturn x\n```\n```ts\nlet x = 1\n```\n```go\ny\n```\n"
	fragments, err := goFragments(page)
	want := []fragment{{line: 2, text: "x := 1\n\nreturn x\n"}, {line: 10, text: "y\n"}}
	if err != nil || !slices.Equal(fragments, want) {
		t.Errorf("fragments %+v, error %v", fragments, err)
	}
	found, err := regions("f.go", "func f() int {\n\t// region one\n\tx := 1\n\n\treturn x\n\t// endregion\n}\n// region two\n\ny\n\n// endregion\n")
	want = []fragment{{"f.go: one", 2, "x := 1\n\nreturn x\n"}, {"f.go: two", 8, "y\n"}}
	if err != nil || !slices.Equal(found, want) {
		t.Errorf("regions %+v, error %v", found, err)
	}

	if _, err := goFragments("```go\nx\n"); err == nil {
		t.Error("a block without an end is no error")
	}
	for _, bad := range []string{"// region a\n// region b\n// endregion", "// endregion", "// region a\nx", "// region a\n// endregion\n// Output: x"} {
		if found, err := regions("f.go", bad); err == nil {
			t.Errorf("%q: regions %+v", bad, found)
		}
	}
}
