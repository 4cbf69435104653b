package cli

import (
	"strings"

	"github.com/urfave/cli/v2"

	"muster/internal/input"
)

// commandLine is what of `run`'s words is not options: urfave/cli would take
// options of CMD for its own.
type commandLine struct {
	sources []input.Source // from :::
	argv    []string       // CMD
}

// take removes inputs and CMD from the words of a run and returns the rest,
// which is options only. Other commands' words are returned as they are.
//
// The first --, or the first word that is neither an option nor an option's
// value, starts CMD. The first ::: before that starts inputs, verbatim up to
// the --. A ::: inside CMD starts inputs if none were given before.
func (l *commandLine) take(app *cli.App, args []string) ([]string, error) {
	at := firstWord(app.Flags, args, 1)
	if at == len(args) || args[at] != "run" {
		return args, nil
	}
	var flags []cli.Flag
	for _, c := range app.Commands {
		if c.Name == "run" {
			flags = c.Flags
		}
	}
	end := firstWord(flags, args, at+1)
	options := expandAttached(flags, args[:end], at+1)
	rest := args[end:]
	if len(rest) > 0 && isSource(rest[0]) {
		stop := len(rest)
		for i, w := range rest {
			if w == "--" {
				stop = i
				break
			}
		}
		if stop == len(rest) {
			return nil, usageError{hinted{errNoCommand, "inputs after ::: end at --: muster run ::: a b -- CMD; or put them last: muster run -- CMD ::: a b"}}
		}
		l.sources = sources(rest[:stop])
		rest = rest[stop:]
	}
	if len(rest) > 0 && rest[0] == "--" {
		rest = rest[1:]
	}
	l.argv = rest
	if len(l.sources) == 0 && !hasInputFile(options[at+1:]) {
		for i, w := range rest {
			if w == ":::" {
				l.argv, l.sources = rest[:i], sources(rest[i:])
				break
			}
		}
	}
	return options, nil
}

func isSource(w string) bool { return w == ":::" || w == ":::+" }

// sources splits words that start with ::: into one source for each.
func sources(words []string) []input.Source {
	var list []input.Source
	for _, w := range words {
		if isSource(w) {
			list = append(list, input.Source{Args: []string{}, Linked: w == ":::+"})
			continue
		}
		last := &list[len(list)-1]
		last.Args = append(last.Args, w)
	}
	return list
}

func hasInputFile(options []string) bool {
	for _, w := range options {
		if w == "-a" || w == "--arg-file" || strings.HasPrefix(w, "-a=") || strings.HasPrefix(w, "--arg-file=") {
			return true
		}
	}
	return false
}

// firstWord returns where the options that start at i end.
func firstWord(flags []cli.Flag, args []string, i int) int {
	for i < len(args) {
		w := args[i]
		if w == "--" || len(w) < 2 || w[0] != '-' {
			return i
		}
		i++
		name, _, attached := strings.Cut(strings.TrimLeft(w, "-"), "=")
		if f := findFlag(flags, name); f != nil && takesValue(f) && !attached && i < len(args) {
			i++
		}
	}
	return i
}

// expandAttached turns -n4 into -n 4, as getopt would.
func expandAttached(flags []cli.Flag, args []string, from int) []string {
	out := append([]string(nil), args[:from]...)
	value := false
	for _, w := range args[from:] {
		if !value && len(w) > 2 && w[0] == '-' && w[1] != '-' && w[2] != '=' && findFlag(flags, w[1:]) == nil {
			if f := findFlag(flags, w[1:2]); f != nil && takesValue(f) {
				out = append(out, w[:2], w[2:])
				continue
			}
		}
		f := findFlag(flags, strings.TrimLeft(w, "-"))
		value = !value && strings.HasPrefix(w, "-") && f != nil && takesValue(f)
		out = append(out, w)
	}
	return out
}

func findFlag(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		for _, n := range f.Names() {
			if n == name {
				return f
			}
		}
	}
	return nil
}

func takesValue(f cli.Flag) bool {
	d, ok := f.(cli.DocGenerationFlag)
	return ok && d.TakesValue()
}
