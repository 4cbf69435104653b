package plan_test

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
	"text/template"

	"muster/internal/config"
	"muster/internal/plan"
)

// page is what the template of docs/config.md shows.
type page struct {
	Blocks    []block
	Functions []config.Function
	Worker    []config.WorkerName
	Near      []nearName
}

type block struct {
	Title, Doc string
	Fields     []line
}

type line struct{ Setting, Type, Without, Doc string }

type nearName struct{ Block, Theirs, Here string }

// settings adds the settings of a struct: a block, and one for each inner block.
func (p *page) settings(title, doc string, settings any) {
	at := map[string]int{"": len(p.Blocks)} // by inner block
	p.Blocks = append(p.Blocks, block{Title: title, Doc: sentence(doc)})
	for _, f := range config.Fields(settings) {
		if f.Type == "block" {
			at[f.Block] = len(p.Blocks)
			inner := block{Title: title + ", block `" + f.Name + "`", Doc: sentence(f.Doc)}
			p.Blocks = append(p.Blocks, inner)
			continue
		}
		name := strings.TrimPrefix(f.Name, f.Block+".")
		b := &p.Blocks[at[f.Block]]
		b.Fields = append(b.Fields, line{"`" + cell(name+" = "+f.Example) + "`", f.Type, without(f), cell(meaning(f))})
		if len(f.Near) > 0 {
			p.Near = append(p.Near, nearName{cell(b.Title), "`" + strings.Join(f.Near, "`, `") + "`", name})
		}
	}
}

func sentence(doc string) string { return strings.ToUpper(doc[:1]) + doc[1:] + "." }

// without says what holds if a setting is not there.
func without(f config.Field) string {
	switch {
	case f.Default != "":
		return "`" + f.Default + "`"
	case f.Unset != "":
		return f.Unset
	}
	return "an error"
}

func meaning(f config.Field) string {
	text := f.Doc
	if len(f.OneOf) > 0 {
		text = "`" + strings.Join(f.OneOf, "`, `") + "`: " + text
	}
	if f.Secret && !strings.HasSuffix(text, "secret") {
		text += "; never shown"
	}
	return text
}

// cell keeps text within a cell of a table.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

func render(t *testing.T) []byte {
	t.Helper()
	schema := plan.Schema()
	p := page{Functions: config.Functions(), Worker: config.WorkerNames()}
	for _, k := range schema.Kinds {
		p.settings("launcher \""+k.Name+"\"", k.Doc, k.Settings)
	}
	p.settings("profile", "a profile is a pool of workers with a queue of its own", schema.Profile)
	tmpl, err := template.ParseFiles("testdata/config.md.tmpl")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := tmpl.Execute(&b, p); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestConfigPage compares docs/config.md with what the tags of the settings say.
// With UPDATE=1 it writes the page anew.
func TestConfigPage(t *testing.T) {
	const path = "../../docs/config.md"
	want := render(t)
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the settings say: UPDATE=1 go test ./internal/plan writes it", path)
	}
}

// TestDeclarations: every setting says what a reader needs, and no two settings
// of a block answer to the same name.
func TestDeclarations(t *testing.T) {
	schema := plan.Schema()
	all := []any{schema.Profile}
	for _, k := range schema.Kinds {
		all = append(all, k.Settings)
	}
	for _, settings := range all {
		fields := config.Fields(settings)
		for i, f := range fields {
			_, command := settings.(plan.CommandSettings)
			required := f.Name == "scheduler" || f.Name == "remotes" || command && f.Name == "command"
			if f.Type != "block" && (f.Example == "" || (f.Default == "" && f.Unset == "") != required) {
				t.Errorf("%T %s: example %q, default %q, unset %q", settings, f.Name, f.Example, f.Default, f.Unset)
			}
			for _, other := range fields[i+1:] {
				if other.Block != f.Block {
					continue
				}
				for _, n := range f.Near {
					if slices.Contains(other.Near, n) {
						t.Errorf("%T: %s is near to %s and %s", settings, n, f.Name, other.Name)
					}
				}
			}
			for _, other := range fields {
				if other.Block == f.Block && slices.Contains(f.Near, strings.TrimPrefix(other.Name, other.Block+".")) {
					t.Errorf("%T: %s is near to %s and a setting itself", settings, other.Name, f.Name)
				}
			}
		}
	}
}
