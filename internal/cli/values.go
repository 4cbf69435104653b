package cli

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"muster/internal/units"
)

// value is the value of an option that parse reads and show writes.
type value[T any] struct {
	to    *T
	parse func(string) (T, error)
	show  func(T) string
}

// Set is called by the flag package.
func (v *value[T]) Set(text string) error {
	got, err := v.parse(text)
	if err == nil {
		*v.to = got
	}
	return err
}

// String is called by the flag package, of an empty value too.
func (v *value[T]) String() string {
	if v.to == nil {
		return ""
	}
	return v.show(*v.to)
}

// newValue is a value that is put where to points, or nowhere else if that is nil.
func newValue[T any](to *T, unset T, parse func(string) (T, error), show func(T) string) *value[T] {
	if to == nil {
		to = new(T)
	}
	*to = unset
	return &value[T]{to, parse, show}
}

// choice is the value of an option that has to be one of a few words.
type choice struct {
	value[string]
	of []string
}

// choiceFlag is an option whose value is one of a few words, or none.
func choiceFlag(name string, to *string, unset, usage string, of ...string) *cli.GenericFlag {
	parse := func(text string) (string, error) {
		if !slices.Contains(of, text) {
			return "", fmt.Errorf("%q is not %s", text, enumerate(of, "or"))
		}
		return text, nil
	}
	same := func(text string) string { return text }
	return &cli.GenericFlag{Name: name, Usage: usage, Value: &choice{*newValue(to, unset, parse, same), of}}
}

// choicesOf are the words that an option may have; nil if these are not few.
func choicesOf(f cli.Flag) []string {
	if g, ok := f.(*cli.GenericFlag); ok {
		if c, ok := g.Value.(*choice); ok {
			return c.of
		}
	}
	return nil
}

func showCount[N int | uint](n N) string { return showUnlessZero(n, strconv.FormatUint(uint64(n), 10)) }

func showSize(n int64) string { return strconv.FormatInt(n, 10) }

func showDuration(d time.Duration) string { return showUnlessZero(d, units.Format(d)) }

// showUnlessZero leaves it to an option's usage to say what 0 means.
func showUnlessZero[T comparable](v T, text string) string {
	var zero T
	if v == zero {
		return ""
	}
	return text
}

// parseWalltime reads the limit of a scheduler's job as the config's walltime is read.
func parseWalltime(text string) (time.Duration, error) {
	if err := units.WithUnit(text, "4h or 4:00:00"); err != nil {
		return 0, err
	}
	return units.ParseDuration(text)
}

func parseUint(text string) (uint, error) {
	n, err := units.ParseCount(text)
	return uint(n), err
}

// readByUnits replaces the options that urfave/cli would read in its own way, of counts and
// durations, by ones that are read as the config and the API read them.
func readByUnits(flags []cli.Flag) {
	for i, f := range flags {
		switch f := f.(type) {
		case *cli.IntFlag:
			flags[i] = &cli.GenericFlag{Name: f.Name, Aliases: f.Aliases, EnvVars: f.EnvVars, Usage: f.Usage, DefaultText: f.DefaultText, Hidden: f.Hidden,
				Value: newValue(f.Destination, f.Value, units.ParseCount, showCount)}
		case *cli.UintFlag:
			flags[i] = &cli.GenericFlag{Name: f.Name, Aliases: f.Aliases, EnvVars: f.EnvVars, Usage: f.Usage, DefaultText: f.DefaultText, Hidden: f.Hidden,
				Value: newValue(f.Destination, f.Value, parseUint, showCount)}
		case *cli.DurationFlag:
			flags[i] = &cli.GenericFlag{Name: f.Name, Aliases: f.Aliases, EnvVars: f.EnvVars, Usage: f.Usage, DefaultText: f.DefaultText, Hidden: f.Hidden,
				Value: newValue(f.Destination, f.Value, units.ParseDuration, showDuration)}
		}
	}
}
