package fleet_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"muster/internal/fleet"
	"muster/internal/plan"
)

// TestNamesAreForOneLaunch: a second launch of the same names would take the record of
// the first, and its job would be forgotten.
func TestNamesAreForOneLaunch(t *testing.T) {
	f := newBed(t, &scheduler{})
	p := job("1-2")
	names, release, err := f.Names(t.Context(), p, "")
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	p.Names = names
	if ids, err := f.Submit(t.Context(), p, ""); err != nil || len(ids) != 1 {
		t.Fatal(ids, err)
	}
	if ids, err := f.Submit(t.Context(), p, ""); err == nil || len(ids) > 0 || !strings.Contains(err.Error(), "launcher c: the names of "+names[0].Launch+" were minted for one launch") {
		t.Errorf("again: %v, %v", ids, err)
	}
	if list := f.records(t); len(list) != 1 || list[0].ID != "1" {
		t.Errorf("on record are %+v", list)
	}
	if n, known := f.Expected(names[0].Launch); !known || n != 2 {
		t.Errorf("expected are %d, %v", n, known)
	}
}

// TestNamesThatNobodyMinted: records stay in their folder, and what is removed with a
// launch is its own.
func TestNamesThatNobodyMinted(t *testing.T) {
	for _, change := range []func(n *plan.Names){
		func(n *plan.Names) { n.Launch = "../c-x"; n.JoinFile, n.Output = "", "" },
		func(n *plan.Names) { n.Launch = ""; n.JoinFile, n.Output = "", "" },
		func(n *plan.Names) { n.Launch = ".."; n.JoinFile, n.Output = "", "" },
		func(n *plan.Names) { n.Output = filepath.Dir(n.Output) },
		func(n *plan.Names) { n.JoinFile = n.Output },
	} {
		c := &scheduler{}
		f := newBed(t, c)
		p := job("1-2")
		names, release, err := f.Names(t.Context(), p, "")
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		change(&names[0])
		p.Names = names
		if _, err := f.Submit(t.Context(), p, ""); err == nil || !strings.Contains(err.Error(), "are not names that were minted") {
			t.Errorf("%+v: %v", names[0], err)
		}
		if n := c.count("sbatch"); n > 0 {
			t.Errorf("%+v: it is submitted", names[0])
		}
		f.nothingLeft(t)
	}
}

func TestDamagedRecords(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a.json": "{", "b.json": `{"name": "other", "launch": "other"}`, "c.json": `{"name": "c", "launch": "c"}`,
		"d.join": "x", "e.json": `{"name": "e", "launch": "e", "kind": "cluster", "scheduler": "cron"}`, "f.json": `{"name": "f", "launch": "f", "kind": "ssh"}`,
		"g.json": `{"name": "g", "launch": "g", "kind": "cluster", "scheduler": "slurm", "id": "7", "array": "1-x"}`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	other := filepath.Join(t.TempDir(), "mine") // what goes with a launch is called after it
	bad := map[string]string{"h": `"output": "` + other + `"`, "i": `"output": "/"`, "j": `"join_file": "` + other + `"`}
	for name, field := range bad {
		text := fmt.Sprintf(`{"name": %q, "launch": %[1]q, "kind": "cluster", "scheduler": "slurm", "id": "7", %s}`, name, field)
		if err := os.WriteFile(filepath.Join(dir, name+".json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "k.json"), 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := fleet.Records(dir)
	if len(list) != 4 || err == nil {
		t.Errorf("%v, %v", list, err)
	}
	for _, name := range []string{"a", "b", "h", "i", "j", "k"} {
		if err == nil || !strings.Contains(err.Error(), name+".json: ") || !strings.Contains(err.Error(), "the file can be removed") {
			t.Errorf("of %s.json: %v", name, err)
		}
	}
	f := newBed(t, &scheduler{})
	for i, o := range f.TakeBack(t.Context(), list, "") {
		want := []string{`no launcher of a kind ""`, `no scheduler "cron"`, "on which machine", "array"}[i]
		if o.Err == nil || !strings.Contains(o.Err.Error(), want) || !strings.Contains(o.Err.Error(), o.Record.Name+".json") {
			t.Errorf("%s: %v, want %s", o.Record.Name, o.Err, want)
		}
	}
	if list, err := fleet.Records(filepath.Join(dir, "nowhere")); len(list) != 0 || err != nil {
		t.Errorf("%v, %v", list, err)
	}
}
