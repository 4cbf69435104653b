package config_test

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"muster/internal/config"
	"muster/internal/plan"
	"muster/rng"
)

// everyType has a setting of each type.
type everyType struct {
	Text   string          `set:"text" doc:"d" example:"${x}" near:"words,letters" oneof:"a,b" like:"alpha=a"`
	List   []string        `set:"list" doc:"d" example:"[\"a\"]"`
	Number int             `set:"number" doc:"d" default:"3"`
	Truth  bool            `set:"truth" doc:"d" default:"true"`
	Time   time.Duration   `set:"time" doc:"d" example:"4h" default:"90s"`
	Bytes  config.Size     `set:"bytes" doc:"d" default:"1MiB"`
	Array  config.Array    `set:"array" doc:"d"`
	Count  config.Count    `set:"count" doc:"d"`
	Seed   rng.Streams     `set:"seed" doc:"d"`
	URLs   config.URLs     `set:"urls" doc:"d"`
	File   config.TextFile `set:"file" doc:"d"`
	Token  string          `set:"token" doc:"d" expr:"env(\"T\")" secret:"true"`
	Codes  []string        `set:"codes" doc:"d" secret:"true"`
	Pin    int             `set:"pin" doc:"d" secret:"true"`
	Limit  time.Duration   `set:"limit" unit:"true" doc:"d"`
	Memory config.Size     `set:"memory" unit:"true" doc:"d"`
	Inner  struct {
		Text string `set:"text" doc:"d" unset:"nothing"`
	} `set:"inner" doc:"a block"`
}

func TestFields(t *testing.T) {
	fields := config.Fields(everyType{})
	var lines []string
	for _, f := range fields {
		lines = append(lines, strings.Join([]string{f.Name, f.Block, f.Type, f.Example, f.Default}, "|"))
	}
	want := []string{`text||string|"$${x}"|`, `list||list of strings|["a"]|`, "number||whole number||3", "truth||true or false||true", `time||duration|"4h"|90s`, `bytes||size|""|1MiB`,
		`array||string or number|""|`, "count||whole number||", "seed||whole number||", "urls||string or list of strings||", `file||path|""|`, `token||string|env("T")|`, "codes||list of strings||", "pin||whole number||", `limit||duration|""|`, `memory||size|""|`,
		"inner|inner|block||", `inner.text|inner|string|""|`}
	if !slices.Equal(lines, want) {
		t.Errorf("%q\nwant %q", lines, want)
	}
	if f := fields[0]; !slices.Equal(f.Near, []string{"words", "letters"}) || !slices.Equal(f.OneOf, []string{"a", "b"}) || f.Secret || f.Doc != "d" {
		t.Errorf("%+v", f)
	}
	if f := fields[17]; f.Unset != "nothing" {
		t.Errorf("%+v", f)
	}
	if !fields[11].Secret {
		t.Error("what is secret is not told")
	}
}

func TestSet(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	var got everyType
	for _, s := range [][]string{{"text", "a"}, {"list", "a,b", "c"}, {"number", "7"}, {"truth", "true"}, {"time", "90"}, {"bytes", "2000"}, {"limit", "1d"}, {"memory", "2G"}, {"array", "1-3"}, {"count", "0"}, {"seed", "-5"},
		{"urls", "u", "v"}, {"file", file}, {"token", "t"}, {"inner.text", "i"}} {
		if err := config.Set(&got, s[0], s[1:]...); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	want := everyType{Text: "a", List: []string{"a,b", "c"}, Number: 7, Truth: true, Time: 90 * time.Second, Bytes: 2000, Limit: 24 * time.Hour, Memory: 2 << 30, Array: "1-3", Count: config.Count{Given: true}, Seed: rng.Seeded(-5),
		URLs: config.URLs{"u", "v"}, File: config.TextFile{Path: file, Text: "x"}, Token: "t"}
	want.Inner.Text = "i"
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	for _, s := range [][]string{{"text", "c"}, {"text", "a", "b"}, {"number", "-1"}, {"number", "x"}, {"truth", "perhaps"}, {"time", "4 hours"}, {"bytes", "16 bits"}, {"limit", "240"}, {"memory", "16"}, {"count", "1.5"}, {"seed", "1.5"}, {"seed", "2147483648"}, {"seed", "-2147483648"}, {"seed", ""}, {"seed", "NA"}, {"nothing", "x"}, {"inner", "x"}, {"file", "/nowhere"}, {"number"}} {
		if err := config.Set(&got, s[0], s[1:]...); err == nil {
			t.Errorf("%q is taken", s)
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("what was refused was set: %+v", got)
	}
	var p plan.ProfileSettings
	if err := config.Set(&p, "worker.autoexit", "fnish"); err == nil || err.Error() != `autoexit is "fnish", and can be now, finish, never` {
		t.Errorf("%v", err)
	}
	if err := config.Set(&p, "launcher", "launcher.ssh.a"); err == nil {
		t.Error("a launcher is named by a flag")
	}
}

// TestSecretSettings are not shown, even if they are written out.
func TestSecretSettings(t *testing.T) {
	f, err := config.Parse("f", []byte("launcher \"x\" \"a\" {\n token = \"abc\"\n codes = [\"d\"]\n pin = 5\n text = \"a\"\n}"), config.Schema{Kinds: []config.Kind{{Name: "x", Settings: everyType{}}}, Profile: everyType{}})
	if err != nil {
		t.Fatal(err)
	}
	e := f.Evaluate(config.Options{Redact: true})
	shown, err := e.Show(f.Launchers[0])
	want := []config.Shown{{"text", "a"}, {"token", config.Redacted}, {"codes", config.Redacted}, {"pin", config.Redacted}}
	if err != nil || !reflect.DeepEqual(shown, want) {
		t.Errorf("%v, %v", shown, err)
	}
	var s everyType
	if err := e.Launcher(f.Launchers[0], &s); err != nil || s.Token != config.Redacted || s.Codes[0] != config.Redacted || s.Text != "a" || s.Number != 3 || s.Time != 90*time.Second || s.Bytes != 1<<20 {
		t.Errorf("%+v, %v", s, err)
	}
	e = f.Evaluate(config.Options{})
	if err := e.Launcher(f.Launchers[0], &s); err != nil || s.Token != "abc" || s.Codes[0] != "d" {
		t.Errorf("%+v, %v", s, err)
	}
	// A mistake in one does not show it either.
	_, err = config.Parse("f", []byte("launcher \"x\" \"a\" {\n pin = 12.34\n}"), config.Schema{Kinds: []config.Kind{{Name: "x", Settings: everyType{}}}, Profile: everyType{}})
	if err == nil || !strings.Contains(err.Error(), "f:2:8: pin: its value, which is not shown, is not a whole number") || strings.Contains(err.Error(), "12.34") {
		t.Errorf("%v", err)
	}
}

// TestAt puts what others found wrong where it stands.
func TestAt(t *testing.T) {
	f := parse(t, "launcher \"cluster\" \"a\" {\n  name = \"n\"\n  options = <<EOT\nfirst\n  second\nEOT\n}")
	l := f.Launchers[0]
	for _, c := range []struct {
		setting string
		line    int
		want    string
	}{
		{"name", 0, "muster.hcl:2:10: wrong\n     2 |   name = \"n\"\n       |          ^^^\n       hint: do"},
		{"options", 2, "muster.hcl:5:1: wrong\n     5 |   second\n       | ^^^^^^^^"},
		{"options", 0, "muster.hcl:3:13: wrong"},
		{"queue", 0, "muster.hcl:1:1: wrong"},
	} {
		if err := f.At(l.Where(c.setting), c.line, "wrong", "do"); !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s, line %d: %s", c.setting, c.line, err)
		}
	}
	if err := f.Errors(nil); err != nil {
		t.Error(err)
	}
}
