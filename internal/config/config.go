// Package config reads muster.hcl: launchers, profiles, and the expressions in
// them, which are evaluated when something is launched and not before.
//
// What may be set is declared in structs of other packages, one tagged field a
// setting; Schema names them and Field tells the tags.
package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Schema says which blocks a config may have, and what they can say.
type Schema struct {
	Kinds   []Kind // of launchers
	Profile any    // the struct of a profile's settings
}

// Kind is a kind of launcher.
type Kind struct {
	Name     string
	Doc      string
	Settings any // the struct of its settings
}

// Local is the kind of the launcher that a profile calls "local": workers on
// this machine. It has no block and no settings.
const Local = "local"

// File is a config that has been read and whose names are known to be right.
type File struct {
	Path      string
	Full      string // Path from the root; empty if it is no file that can be read again
	Launchers []*Launcher
	Profiles  []*Profile

	src    []byte
	dir    string // from which paths count, and in which programs run
	schema Schema
	local  *Launcher
	hidden hidden
}

// Launcher is one launcher block, or the launcher "local".
type Launcher struct {
	Kind string
	Name string
	// Via is the launcher that leads to where this one's commands are; nil if
	// they are here.
	Via *Launcher
	Block
}

// Profile is one profile block.
type Profile struct {
	Name string
	// Launchers are those it names, in order.
	Launchers []*Launcher
	Block
}

// Block is where the settings of a launcher or a profile stand.
type Block struct {
	Range  hcl.Range
	typ    reflect.Type // the struct of its settings; nil for the launcher "local"
	fields []Field
	attrs  map[string]*attribute // by Field.Name
	worker bool                  // whether its expressions may speak of the worker
}

// attribute is a setting as it stands in a block.
type attribute struct {
	field *Field
	expr  hclsyntax.Expression
	// worker are the words NAME of worker.NAME in the expression; whole is one
	// for worker itself.
	worker []string
	refs   []*Launcher // of a setting that names launchers
}

// whole stands for worker without a name behind it.
const whole = ""

// Has reports whether a setting is there; one of an inner block is named
// BLOCK.NAME.
func (b *Block) Has(name string) bool { return b.attrs[name] != nil }

// Where returns where the value of a setting stands, or the block if it does not.
func (b *Block) Where(name string) hcl.Range {
	if a := b.attrs[name]; a != nil {
		return a.expr.Range()
	}
	return b.Range
}

// Mentions reports whether the expression of a setting speaks of one of
// worker.NAME, or of any without names.
func (b *Block) Mentions(setting string, names ...string) bool {
	a := b.attrs[setting]
	if a == nil {
		return false
	}
	return slices.ContainsFunc(a.worker, func(w string) bool {
		return w == whole || len(names) == 0 || slices.Contains(names, w)
	})
}

// Names reports whether the expression of a setting speaks of worker.NAME by that name.
func (b *Block) Names(setting, name string) bool {
	a := b.attrs[setting]
	return a != nil && slices.Contains(a.worker, name)
}

// Full is the launcher as messages call it.
func (l *Launcher) Full() string {
	if l.Kind == Local {
		return Local
	}
	return l.Kind + "." + l.Name
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
	return nil, f.missing("profile", name, all)
}

// EmptyProfile is a profile that is not in the file and sets nothing: what it is
// evaluated to are the defaults.
func (f *File) EmptyProfile(name string) *Profile {
	return &Profile{Name: name, Block: newBlock(hcl.Range{Filename: f.Path}, f.schema.Profile)}
}

// Launcher returns the launcher of a name, or of KIND.NAME; local is that of this
// machine, unless the file gives the name to another.
func (f *File) Launcher(name string) (*Launcher, error) {
	var all []string
	var found *Launcher
	for _, l := range f.Launchers {
		if name == l.Full() || name == "launcher."+l.Full() {
			return l, nil
		}
		if name == l.Name {
			if found != nil {
				return nil, fmt.Errorf("%s has more than one launcher %q: say %s or %s", f.Path, name, found.Full(), l.Full())
			}
			found = l
		}
		all = append(all, l.Name)
	}
	switch {
	case found != nil:
		return found, nil
	case name == Local:
		return f.local, nil
	}
	return nil, f.missing("launcher", name, all)
}

func (f *File) missing(what, name string, all []string) error {
	text := fmt.Sprintf("%s has no %s %q", f.Path, what, name)
	switch hint := nearest(name, all); {
	case hint != "":
		text += "; " + hint
	case len(all) > 0:
		text += "; it has " + strings.Join(all, ", ")
	}
	return errors.New(text)
}
