package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// layers says which of muster's packages each of them may import. What is not
// here may not exist: a new package finds its place first.
var layers = map[string][]string{
	"muster":                             {"muster/internal/cli"},
	"muster/task":                        {"muster/rng"}, // the vocabulary imports nothing of ours
	"muster/rng":                         {},             // whoever has a Go program may use it by itself
	"muster/internal/near":               {},
	"muster/internal/owner":              {},
	"muster/tls":                         {"muster/internal/owner"}, // doors know nothing of each other, nor of tasks
	"muster/ssh":                         {"muster/internal/shell", "muster/internal/terminal"},
	"muster/ssh/relay":                   {"muster/internal/address", "muster/internal/owner", "muster/internal/terminal"}, // knows nothing of SSH: any stream will do
	"muster/internal/address":            {},
	"muster/internal/disposition":        {},
	"muster/internal/self":               {},
	"muster/internal/quiet":              {},
	"muster/share":                       {}, // so that any program may use it
	"muster/internal/terminal":           {},
	"muster/internal/stall":              {}, // pure: no clock
	"muster/internal/live":               {}, // knows no tasks
	"muster/internal/units":              {},
	"muster/internal/shell":              {},
	"muster/internal/state":              {"muster/internal/owner"},
	"muster/internal/input":              {},
	"muster/internal/proctree":           {},
	"muster/internal/expand":             {"muster/internal/shell"},
	"muster/internal/spool":              {},
	"muster/internal/wire":               {"muster/rng", "muster/task"},
	"muster/internal/report":             {"muster/internal/owner", "muster/internal/spool", "muster/rng", "muster/task"},
	"muster/dispatcher/internal/queue":   {"muster/task"}, // pure: no clock, no goroutine, no wire
	"muster/dispatcher/internal/results": {"muster/internal/spool", "muster/task"},
	"muster/dispatcher":                  {"muster/dispatcher/internal/queue", "muster/dispatcher/internal/results", "muster/internal/quiet", "muster/internal/spool", "muster/internal/wire", "muster/rng", "muster/share", "muster/task", "muster/tls"},
	"muster/worker/internal/exec":        {"muster/internal/proctree", "muster/task"},
	"muster/worker":                      {"muster/internal/proctree", "muster/internal/quiet", "muster/internal/self", "muster/internal/shell", "muster/internal/wire", "muster/rng", "muster/share", "muster/task", "muster/tls", "muster/worker/internal/exec"},
	"muster/bench":                       {"muster/dispatcher", "muster/internal/control", "muster/internal/quiet", "muster/internal/spool", "muster/internal/state", "muster/internal/testbed", "muster/internal/wire", "muster/task", "muster/tls"},
	"muster/internal/config":             {"muster/internal/address", "muster/internal/near", "muster/internal/owner", "muster/internal/proctree", "muster/internal/terminal", "muster/internal/units", "muster/rng"},
	"muster/internal/plan":               {"muster/hpc", "muster/http", "muster/internal/config", "muster/internal/remote", "muster/internal/shell", "muster/internal/units", "muster/rng", "muster/ssh"},
	"muster/internal/prompt":             {"muster/internal/terminal"},
	"muster/internal/remote":             {"muster/internal/prompt", "muster/internal/terminal", "muster/ssh", "muster/ssh/relay"},
	"muster/internal/fleet":              {"muster/hpc", "muster/http", "muster/internal/config", "muster/internal/owner", "muster/internal/plan", "muster/internal/remote", "muster/internal/shell", "muster/internal/terminal", "muster/ssh/relay"},
	"muster/templates":                   {},
	"muster/http":                        {"muster/internal/terminal"},
	"muster/hpc":                         {"muster/internal/shell", "muster/internal/terminal", "muster/templates"},
	"muster/internal/testbed":            {}, // for tests and measurements only
	"muster/internal/host":               {"muster/dispatcher", "muster/hpc", "muster/internal/address", "muster/internal/disposition", "muster/internal/fleet", "muster/internal/plan", "muster/internal/proctree", "muster/internal/remote", "muster/internal/self", "muster/internal/spool", "muster/internal/state", "muster/internal/units", "muster/rng", "muster/share", "muster/task", "muster/tls", "muster/worker"},
	"muster/internal/control":            {"muster/dispatcher", "muster/internal/fleet", "muster/internal/host", "muster/internal/plan", "muster/internal/spool", "muster/internal/units", "muster/rng", "muster/task"},
	"muster/future":                      {"muster/dispatcher", "muster/internal/config", "muster/internal/control", "muster/internal/host", "muster/internal/plan", "muster/internal/self", "muster/internal/state", "muster/internal/terminal", "muster/internal/units", "muster/rng", "muster/task", "muster/tls", "muster/worker"},
	// Only the command line and the Go API wire things together.
	"muster/internal/cli": {"muster/dispatcher", "muster/hpc", "muster/internal/address", "muster/internal/config", "muster/internal/control", "muster/internal/disposition", "muster/internal/expand", "muster/internal/fleet", "muster/internal/host", "muster/internal/input", "muster/internal/live", "muster/internal/near", "muster/internal/plan", "muster/internal/prompt", "muster/internal/remote", "muster/internal/report", "muster/internal/self", "muster/internal/shell", "muster/internal/spool", "muster/internal/stall", "muster/internal/state", "muster/internal/terminal", "muster/internal/units", "muster/rng", "muster/share", "muster/ssh", "muster/ssh/relay", "muster/task", "muster/tls", "muster/worker"},
}

// impure are what pure packages may not import, whatever layers allow.
var impure = map[string][]string{
	"muster/internal/plan":             {"os", "net", "io"},
	"muster/dispatcher/internal/queue": {"os", "net", "sync", "context", "io"},
	"muster/internal/expand":           {"os", "net", "time", "io"},
	"muster/internal/shell":            {"os", "net", "time", "io"},
	"muster/task":                      {"os", "net", "io"},
}

func TestLayers(t *testing.T) {
	found := map[string]map[string]string{} // package → import → file
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		pkg := strings.TrimSuffix("muster/"+filepath.ToSlash(filepath.Dir(path)), "/.")
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		if found[pkg] == nil {
			found[pkg] = map[string]string{}
		}
		for _, i := range f.Imports {
			name, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			found[pkg][name] = path
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg, imports := range found {
		allowed, known := layers[pkg]
		if !known {
			t.Errorf("package %s has no place in the table of layers", pkg)
		}
		for name, file := range imports {
			if ours := strings.HasPrefix(name, "muster/"); ours && !slices.Contains(allowed, name) {
				t.Errorf("%s: %s may not import %s", file, pkg, name)
			}
			if slices.Contains(impure[pkg], name) {
				t.Errorf("%s: %s is pure and may not import %s", file, pkg, name)
			}
		}
	}
	for pkg, allowed := range layers {
		if found[pkg] == nil {
			t.Errorf("the table of layers has a place for %s, which does not exist", pkg)
		}
		for _, name := range allowed {
			if found[pkg] != nil && found[pkg][name] == "" {
				t.Errorf("the table of layers lets %s import %s, which it does not", pkg, name)
			}
		}
	}
}
