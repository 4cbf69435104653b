package cli

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"muster/internal/config"
	"muster/internal/plan"
)

// settingFlags are the settings of a profile and of its worker block, as flags.
func settingFlags() []cli.Flag {
	flags := []cli.Flag{
		&cli.StringFlag{Name: "launcher", Usage: "start workers with the launcher `NAME`"},
	}
	flags = append(flags, new(retries).flags()...)
	for _, f := range profileFields() {
		name, usage := flagOf(f), f.Doc
		unset := f.Unset
		if f.Default != "" {
			unset = f.Default
		}
		what := cmp.Or(strings.Join(f.OneOf, "|"), map[string]string{"duration": "DURATION", "size": "SIZE", "whole number": "N"}[f.Type], "VALUE")
		usage += " (`" + what + "`)"
		switch {
		case f.Type == "true or false":
			flags = append(flags, &cli.BoolFlag{Name: name, Value: f.Default == "true", Usage: f.Doc})
		case isList(f):
			flags = append(flags, &cli.StringSliceFlag{Name: name, Usage: usage, DefaultText: unset})
		default:
			flags = append(flags, &cli.StringFlag{Name: name, Usage: usage, DefaultText: unset})
		}
	}
	return flags
}

// profileFields are the settings of a profile that are flags too: those of tls are not,
// since some are secret.
func profileFields() (list []config.Field) {
	for _, f := range config.Fields(plan.ProfileSettings{}) {
		if f.Type != "block" && f.Name != "launcher" && f.Name != "workers" && f.Block != "tls" {
			list = append(list, f)
		}
	}
	return list
}

// isList reports whether a setting may have several values.
func isList(f config.Field) bool { return strings.HasSuffix(f.Type, "list of strings") }

// flagOf is the name of a setting's flag.
func flagOf(f config.Field) string {
	return strings.ReplaceAll(strings.TrimPrefix(f.Name, "worker."), "_", "-")
}

// overlay puts the settings of the command line over those of the config.
func overlay(c *cli.Context, set *plan.ProfileSettings) error {
	var bad []error
	for _, f := range profileFields() {
		name := flagOf(f)
		if !c.IsSet(name) {
			continue
		}
		texts := []string{fmt.Sprint(c.Value(name))}
		if isList(f) {
			texts = c.StringSlice(name)
		}
		err := config.Set(set, f.Name, texts...)
		if err == nil {
			continue
		}
		var near interface{ Hint() string }
		hint := ""
		if errors.As(err, &near) {
			hint = near.Hint()
		}
		if what, ok := strings.CutPrefix(err.Error(), f.Name+" is "); ok {
			err = fmt.Errorf("--%s is %s", name, what)
		} else {
			err = fmt.Errorf("--%s: %w", name, err)
		}
		if hint != "" {
			err = hinted{err, hint}
		}
		bad = append(bad, err)
	}
	return errors.Join(bad...)
}
