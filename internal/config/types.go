package config

import "reflect"

// Size is a number of bytes.
type Size int64

// Array is the indices of a job array as they are written: a string, or a
// number for one index.
type Array string

// Count is a whole number that may not be given.
type Count struct {
	N     int
	Given bool
}

// URLs are a list of strings that may be written as one.
type URLs []string

// TextFile is a setting that names a file whose text counts, byte for byte.
type TextFile struct {
	Path string // as it is written; empty if there is none
	Text string
}

// Text is a string and, if it is all of what file() has read, that file's path from the
// root.
type Text struct{ Text, Path string }

// Reference is the launcher that a setting names; its tag kind says of which
// kind that must be.
type Reference struct{ Launcher *Launcher }

// References are the launchers that a setting names: one, or a list. "local" is
// the launcher of kind Local.
type References struct{ Launchers []*Launcher }

// Pair is a name with its value.
type Pair struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Pairs are written as an object of strings, and have the order of their names.
type Pairs []Pair

// Words are a list of words, or several of them.
type Words struct {
	Lists  [][]string
	Nested bool // it is written as a list of lists
}

// Data is any value, as JSON.
type Data string

// zero is the zero value of a field's type, to tell types apart.
func zero(f *Field) any { return reflect.Zero(f.typ).Interface() }
