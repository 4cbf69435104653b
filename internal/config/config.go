// Package config reads muster.hcl: launchers, profiles, and the expressions in
// them, which are evaluated when something is launched and not before.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// File is a config that has been read and whose names are known to be right.
type File struct {
	Path      string
	Launchers []*Launcher
	Profiles  []*Profile
	src       []byte
}

// Launcher is one launcher block.
type Launcher struct {
	Kind string // cluster, ssh, http or command
	Name string
	// Via is the ssh launcher that leads to where this one's commands are; nil
	// if they are here.
	Via *Launcher
	block
}

// Profile is one profile block.
type Profile struct {
	Name string
	// Launchers are those it names, in order; nil where it says "local".
	Launchers []*Launcher
	Worker    *block // its worker block, nil without one
	block
}

// block is the settings of a block.
type block struct {
	Range hcl.Range
	attrs hcl.Attributes
}

// Find returns the config to read: the one named, else ./muster.hcl, else
// muster.hcl in $XDG_CONFIG_HOME/muster or ~/.config/muster. It returns "" if
// there is none.
func Find(named string, getenv func(string) string) (string, error) {
	if named != "" {
		return named, nil
	}
	base := getenv("XDG_CONFIG_HOME")
	if base == "" && getenv("HOME") != "" {
		base = filepath.Join(getenv("HOME"), ".config")
	}
	paths := []string{"muster.hcl"}
	if base != "" {
		paths = append(paths, filepath.Join(base, "muster", "muster.hcl"))
	}
	for _, p := range paths {
		if _, err := os.Stat(p); err == nil {
			return p, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("look for a config: %w", err)
		}
	}
	return "", nil
}

// maxFile bounds a config, in bytes.
const maxFile = 4 << 20

// Load reads a config file. Mistakes are an *Error.
func Load(path string) (*File, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the config: %w", err)
	}
	if len(src) > maxFile {
		return nil, fmt.Errorf("read the config: %s has %d bytes, more than %d", path, len(src), maxFile)
	}
	return Parse(path, src)
}

// Parse reads the text of a config that is called path.
func Parse(path string, src []byte) (*File, error) {
	f := &File{Path: path, src: src}
	parsed, diags := hclsyntax.ParseConfig(src, path, hcl.InitialPos)
	if diags.HasErrors() {
		return nil, f.errors(translate(diags))
	}
	p := parser{f: f}
	p.top(parsed.Body.(*hclsyntax.Body))
	if err := f.errors(p.diags); err != nil {
		return nil, err
	}
	return f, nil
}

// parser gathers every mistake in the names of a config.
type parser struct {
	f     *File
	diags []Diagnostic
}

func (p *parser) bad(r hcl.Range, hint, format string, args ...any) {
	p.diags = append(p.diags, Diagnostic{r, fmt.Sprintf(format, args...), hint})
}

func (p *parser) top(body *hclsyntax.Body) {
	for _, a := range sorted(body.Attributes) {
		p.bad(a.NameRange, "settings stand in launcher and profile blocks", "%q cannot stand here", a.Name)
	}
	for _, b := range body.Blocks {
		switch b.Type {
		case "launcher":
			p.launcher(b)
		case "profile":
			p.profile(b)
		default:
			p.bad(b.TypeRange, near(b.Type, []string{"launcher", "profile"}), "there is no block %q: a config has launcher and profile blocks", b.Type)
		}
	}
	for _, l := range p.f.Launchers {
		p.via(l)
	}
	for _, l := range p.f.Launchers {
		p.circle(l)
	}
	for _, pr := range p.f.Profiles {
		p.references(pr)
	}
}

func (p *parser) launcher(b *hclsyntax.Block) {
	if len(b.Labels) != 2 {
		p.bad(b.DefRange(), `launcher "cluster" "NAME" { ... }`, "a launcher has a kind and a name")
		return
	}
	kind, name := b.Labels[0], b.Labels[1]
	settings, known := launcherSettings[kind]
	if !known {
		p.bad(b.LabelRanges[0], near(kind, kinds), "there is no launcher of kind %q: they are %s", kind, strings.Join(kinds, ", "))
		return
	}
	p.identifier(name, b.LabelRanges[1])
	if slices.ContainsFunc(p.f.Launchers, func(l *Launcher) bool { return l.Kind == kind && l.Name == name }) {
		p.bad(b.LabelRanges[1], "", "there is another launcher %q of kind %s above", name, kind)
	}
	p.settings(b.Body, settings, nil)
	p.f.Launchers = append(p.f.Launchers, &Launcher{Kind: kind, Name: name, block: block{b.DefRange(), attributes(b.Body)}})
}

func (p *parser) profile(b *hclsyntax.Block) {
	if len(b.Labels) != 1 {
		p.bad(b.DefRange(), `profile "NAME" { ... }`, "a profile has a name")
		return
	}
	name := b.Labels[0]
	p.identifier(name, b.LabelRanges[0])
	if slices.ContainsFunc(p.f.Profiles, func(pr *Profile) bool { return pr.Name == name }) {
		p.bad(b.LabelRanges[0], "", "there is another profile %q above", name)
	}
	pr := &Profile{Name: name, block: block{b.DefRange(), attributes(b.Body)}}
	p.settings(b.Body, profileSettings, func(inner *hclsyntax.Block) bool {
		settings, known := profileBlocks[inner.Type]
		if known {
			p.settings(inner.Body, settings, nil)
			if inner.Type == "worker" {
				pr.Worker = &block{inner.DefRange(), attributes(inner.Body)}
			} else {
				pr.attrs[inner.Type] = &hcl.Attribute{Name: inner.Type, Range: inner.DefRange(), NameRange: inner.TypeRange}
			}
		}
		return known
	})
	p.f.Profiles = append(p.f.Profiles, pr)
}

// settings checks the names in a block, and the types of what is written out.
func (p *parser) settings(body *hclsyntax.Body, known map[string]setting, inner func(*hclsyntax.Block) bool) {
	for _, a := range sorted(body.Attributes) {
		s, ok := known[a.Name]
		if !ok {
			p.bad(a.NameRange, near(a.Name, names(known)), "there is no setting %q here", a.Name)
			continue
		}
		if len(a.Expr.Variables()) > 0 || s.kind == reference {
			continue
		}
		if v, diags := a.Expr.Value(nil); !diags.HasErrors() {
			if _, err := s.convert(v); err != nil {
				p.bad(a.Expr.Range(), "", "%s: %v", a.Name, err)
			}
		}
	}
	for _, b := range body.Blocks {
		if inner == nil || !inner(b) {
			p.bad(b.TypeRange, near(b.Type, names(known)), "there is no block %q here", b.Type)
		}
	}
}

func (p *parser) identifier(name string, r hcl.Range) {
	if !hclsyntax.ValidIdentifier(name) {
		p.bad(r, "", "%q is no name: it has letters, digits, _ and -, and begins with a letter", name)
	}
}

// references finds the launchers that a profile names.
func (p *parser) references(pr *Profile) {
	a := pr.attrs["launcher"]
	if a == nil {
		return
	}
	exprs := []hcl.Expression{a.Expr}
	if list, diags := hcl.ExprList(a.Expr); !diags.HasErrors() {
		exprs = list
	}
	for _, e := range exprs {
		if v, diags := e.Value(nil); !diags.HasErrors() && v.Type() == cty.String && v.AsString() == "local" {
			pr.Launchers = append(pr.Launchers, nil)
			continue
		}
		if l := p.reference(e); l != nil {
			pr.Launchers = append(pr.Launchers, l)
		}
	}
}

// via finds the launcher that leads to another one's machine.
func (p *parser) via(l *Launcher) {
	a := l.attrs["via"]
	if a == nil {
		return
	}
	if l.Via = p.reference(a.Expr); l.Via != nil && l.Via.Kind != "ssh" {
		p.bad(a.Expr.Range(), "via = launcher.ssh.NAME", "via leads through a machine that is reached by SSH, and launcher %s.%s is of another kind", l.Via.Kind, l.Via.Name)
		l.Via = nil
	}
}

// circle notes a launcher that is reached through itself, and breaks the circle.
func (p *parser) circle(l *Launcher) {
	seen := map[*Launcher]bool{l: true}
	for at := l; at.Via != nil; at = at.Via {
		if seen[at.Via] {
			p.bad(at.attrs["via"].Expr.Range(), "", "launcher %s.%s would be reached through itself", at.Kind, at.Name)
			at.Via = nil
			return
		}
		seen[at.Via] = true
	}
}

// reference reads launcher.KIND.NAME.
func (p *parser) reference(e hcl.Expression) *Launcher {
	traversal, diags := hcl.AbsTraversalForExpr(e)
	var words []string
	for _, step := range traversal {
		switch s := step.(type) {
		case hcl.TraverseRoot:
			words = append(words, s.Name)
		case hcl.TraverseAttr:
			words = append(words, s.Name)
		}
	}
	if diags.HasErrors() || len(words) != 3 || words[0] != "launcher" {
		p.bad(e.Range(), `launcher = launcher.cluster.NAME, a list of such, or "local"`, "this names no launcher")
		return nil
	}
	var all []string
	for _, l := range p.f.Launchers {
		if l.Kind == words[1] && l.Name == words[2] {
			return l
		}
		all = append(all, "launcher."+l.Kind+"."+l.Name)
	}
	p.bad(e.Range(), near(strings.Join(words, "."), all), "there is no %s", strings.Join(words, "."))
	return nil
}

// Profile returns the profile of a name.
func (f *File) Profile(name string) (*Profile, error) {
	var all []string
	for _, p := range f.Profiles {
		if p.Name == name {
			return p, nil
		}
		all = append(all, p.Name)
	}
	return nil, missing(f, "profile", name, all)
}

// Launcher returns the launcher of a name, or of KIND.NAME.
func (f *File) Launcher(name string) (*Launcher, error) {
	var all []string
	var found *Launcher
	for _, l := range f.Launchers {
		full := l.Kind + "." + l.Name
		if name == full || name == "launcher."+full {
			return l, nil
		}
		if name == l.Name {
			if found != nil {
				return nil, fmt.Errorf("%s has more than one launcher %q: say %s.%s or %s", f.Path, name, found.Kind, name, full)
			}
			found = l
		}
		all = append(all, l.Name)
	}
	if found != nil {
		return found, nil
	}
	return nil, missing(f, "launcher", name, all)
}

func missing(f *File, what, name string, all []string) error {
	text := fmt.Sprintf("%s has no %s %q", f.Path, what, name)
	switch hint := near(name, all); {
	case hint != "":
		text += "; " + hint
	case len(all) > 0:
		text += "; it has " + strings.Join(all, ", ")
	}
	return errors.New(text)
}

// Has reports whether a setting is there.
func (b *block) Has(name string) bool { return b != nil && b.attrs[name] != nil }

// Where returns where a setting stands, or the block if it does not.
func (b *block) Where(name string) hcl.Range {
	a := b.attrs[name]
	switch {
	case a == nil:
		return b.Range
	case a.Expr != nil:
		return a.Expr.Range()
	}
	return a.Range
}

func attributes(b *hclsyntax.Body) hcl.Attributes {
	attrs := hcl.Attributes{}
	for name, a := range b.Attributes {
		attrs[name] = a.AsHCLAttribute()
	}
	return attrs
}

// sorted returns attributes in the order in which they stand.
func sorted(attrs hclsyntax.Attributes) []*hclsyntax.Attribute {
	var list []*hclsyntax.Attribute
	for _, a := range attrs {
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b *hclsyntax.Attribute) int { return a.NameRange.Start.Byte - b.NameRange.Start.Byte })
	return list
}
