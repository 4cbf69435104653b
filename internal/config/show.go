package config

import (
	"errors"
	"strings"
	"time"
)

// Shown is a setting as a person may read it.
type Shown struct {
	Name  string
	Value any // string, []string, [][]string, int, int64 or bool
}

// Show returns the settings of a launcher that are set, as they are understood.
// One that speaks of the worker is shown as it is written, and one that depends
// on a program that was not run as "[output of PROGRAM]".
func (e *Evaluation) Show(l *Launcher) ([]Shown, error) { return e.show(&l.Block) }

// ShowProfile returns the settings of a profile that are set.
func (e *Evaluation) ShowProfile(p *Profile) ([]Shown, error) { return e.show(&p.Block) }

func (e *Evaluation) show(b *Block) ([]Shown, error) {
	var list []Shown
	var wrong []Diagnostic
	for _, f := range b.fields {
		a := b.attrs[f.Name]
		if a == nil {
			continue
		}
		value, bad := e.shown(a)
		wrong = append(wrong, bad...)
		if len(bad) == 0 {
			list = append(list, Shown{f.Name, value})
		}
	}
	return list, e.f.Errors(wrong)
}

// shown is a setting's value as a person may read it.
func (e *Evaluation) shown(a *attribute) (any, []Diagnostic) {
	switch {
	case a.field.names():
		return a.shownNames(), nil
	case a.field.Secret && e.opts.Redact:
		return Redacted, nil
	case len(a.worker) > 0 || a.field.formula():
		return strings.TrimSpace(string(a.expr.Range().SliceBytes(e.f.src))), nil
	}
	out := e.evaluate(a, nil)
	if len(out.wrong) > 0 {
		return nil, out.wrong
	}
	got, err := reading{redact: e.opts.Redact, placeholders: true}.value(a.field, out.val)
	var unknown unknownError
	switch {
	case errors.As(err, &unknown):
		return unknown.placeholder(), nil
	case err != nil:
		return nil, []Diagnostic{a.mistake(err)}
	}
	return plain(got, e.opts.Redact && isSecret(out.val)), nil
}

func (a *attribute) shownNames() any {
	var names []string
	for _, l := range a.refs {
		names = append(names, l.Full())
	}
	if _, one := zero(a.field).(Reference); one {
		return names[0]
	}
	return names
}

// plain makes a value of a type that anybody can print. Strings that are secret
// are redacted already.
func plain(v any, redact bool) any {
	switch v := v.(type) {
	case string, []string:
		return v
	case URLs:
		return []string(v)
	case Pairs:
		list := []string{}
		for _, p := range v {
			list = append(list, p.Name+": "+p.Value)
		}
		return list
	case Words:
		if !v.Nested {
			return v.Lists[0]
		}
		return v.Lists
	case Data:
		return string(v)
	case TextFile:
		return v.Path
	case Text:
		return v.Text
	}
	if redact {
		return Redacted
	}
	switch v := v.(type) {
	case Array:
		return string(v)
	case Count:
		return v.N
	case Size:
		return int64(v)
	case time.Duration:
		return v.String()
	}
	return v
}
