package cli

import (
	"errors"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"muster/internal/config"
	"muster/internal/input"
)

// takesCommand are the commands after whose options comes somebody else's
// command line.
var takesCommand = []string{"run", "submit", "map", "everywhere", "with"}

// subcommands are the first words that a command may have, if these are few.
var subcommands = map[string][]string{
	"completion": {"bash", "zsh", "fish"},
	"config":     {"check", "show"},
	"join":       {"new", "list", "revoke"},
	"share":      {"put", "list", "rm"},
	"tls":        {"self-signed", "request", "check", "pin"},
}

// commandLine is what of such a command's words is not options: urfave/cli would take
// options of CMD for its own.
type commandLine struct {
	sources []input.Source // from :::
	argv    []string       // CMD
	help    string         // what --help shows; empty without it
}

// take removes inputs and CMD from the words and returns the rest, which is
// options only; only run and map have inputs. Of a command without a CMD all
// words are returned, the options first.
//
// The first --, or the first word that is neither an option nor an option's
// value, starts CMD. The first ::: before that starts inputs, verbatim up to
// the --. A ::: inside CMD starts inputs if none were given so; they come after those of
// -a. What is said here of ::: is true of :::+, :::: and ::::+ too.
func (l *commandLine) take(app *cli.App, args []string) ([]string, error) {
	if len(args) == 0 {
		return args, nil
	}
	global, rest, err := splitOptions(app.Flags, args[1:])
	if err != nil {
		return args, err
	}
	if asksHelp(app.Flags, global) {
		l.help, err = helpFor(app, rest[:min(len(rest), 1)])
		return args, err
	}
	if len(rest) == 0 {
		return args, nil
	}
	name := rest[0]
	cmd := app.Command(name)
	if cmd == nil {
		return args, nil
	}
	flags := cmd.Flags
	if !slices.Contains(takesCommand, name) {
		own, err := optionsFirst(flags, rest[1:])
		if asksHelp(flags, own) {
			l.help = commandHelp(cmd)
		}
		return slices.Concat(args[:1], global, []string{name}, own), err
	}
	own, rest, err := splitOptions(flags, rest[1:])
	if asksHelp(flags, own) {
		l.help = commandHelp(cmd)
	}
	if err != nil {
		return nil, err
	}
	options := slices.Concat(args[:1], global, []string{name}, own)
	if name != "run" && name != "map" {
		if len(rest) > 0 && rest[0] == "--" {
			rest = rest[1:]
		}
		l.argv = rest
		return options, nil
	}
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
		if l.sources, err = sources(rest[:stop]); err != nil {
			return nil, err
		}
		rest = rest[stop:]
	}
	if len(rest) > 0 && rest[0] == "--" {
		rest = rest[1:]
	}
	l.argv = rest
	if i := slices.IndexFunc(rest, isSource); i >= 0 && len(l.sources) == 0 {
		l.argv = rest[:i]
		l.sources, err = sources(rest[i:])
	}
	return options, err
}

// optionsFirst puts a command's options before its other words: people write
// them in either place, and urfave/cli takes them in one. Who asks for help gets
// that of the command, whatever else there is.
func optionsFirst(flags []cli.Flag, words []string) ([]string, error) {
	var options, others []string
	for len(words) > 0 {
		var own []string
		var err error
		if own, words, err = splitOptions(flags, words); err != nil {
			return nil, err
		}
		if asksHelp(flags, own) {
			return []string{"--help"}, nil
		}
		options = append(options, own...)
		if len(words) == 0 {
			break
		}
		if words[0] == "--" {
			return slices.Concat(options, []string{"--"}, others, words[1:]), nil
		}
		others, words = append(others, words[0]), words[1:]
	}
	return slices.Concat(options, others), nil
}

func isSource(w string) bool { return slices.Contains([]string{":::", ":::+", "::::", "::::+"}, w) }

// sources splits words that start with ::: or :::: into sources: the words after the
// first are one, and each file after the second.
func sources(words []string) ([]input.Source, error) {
	var list []input.Source
	for len(words) > 0 {
		mark := words[0]
		n := 1 + max(0, slices.IndexFunc(append(words[1:len(words):len(words)], mark), isSource))
		args := words[1:n:n]
		words = words[n:]
		linked := strings.HasSuffix(mark, "+")
		if !strings.HasPrefix(mark, "::::") {
			list = append(list, input.Source{Args: append([]string{}, args...), Linked: linked})
			continue
		}
		if len(args) == 0 {
			return nil, usagef("%s has no file with inputs after it", mark)
		}
		for _, file := range args {
			list = append(list, input.Source{File: file, Linked: linked})
		}
	}
	return list, nil
}

// splitOptions takes the options off the front of args, each in the form that
// the flag package knows: -kn4 becomes -k -n 4, as getopt(3) has it. A value that is --
// is refused: who writes that has forgotten the value.
func splitOptions(flags []cli.Flag, args []string) (options, rest []string, err error) {
	for len(args) > 0 {
		w := args[0]
		if w == "--" || len(w) < 2 || w[0] != '-' {
			break
		}
		args = args[1:]
		words := cluster(flags, w)
		options = append(options, words...)
		last := words[len(words)-1]
		if valueFollows(flags, last) && len(args) > 0 {
			if args[0] == "--" {
				return nil, nil, usagef("%s needs a value, and there is -- in its place; write %s=-- if that is meant", last, last)
			}
			options = append(options, args[0])
			args = args[1:]
		}
		if err := checkEmpty(flags, last, options[len(options)-1]); err != nil {
			return nil, nil, err
		}
	}
	return options, args, nil
}

// checkEmpty refuses an empty value of an option whose values are text: with it the option
// would be as good as left out. It is given the option's word and the word that has the
// value, which are one if it is attached.
func checkEmpty(flags []cli.Flag, option, value string) error {
	name, attached, isAttached := strings.Cut(strings.TrimLeft(option, "-"), "=")
	if isAttached {
		value = attached
	}
	f := findFlag(flags, name)
	if value != "" || f == nil || mayBeEmpty(f) {
		return nil
	}
	return usageError{hinted{errors.New(dashed(name) + " needs a value, and the one that it has is empty"),
		"leave the option out if that is meant; a shell's variable that is not set is empty"}}
}

// mayBeEmpty reports whether an option may have an empty value: it means something, as
// that of a setting that is in the config does, or what reads it refuses it.
func mayBeEmpty(f cli.Flag) bool {
	switch f.(type) {
	case *cli.StringFlag, *cli.StringSliceFlag:
		name := f.Names()[0]
		return name == "tagstring" || name == "literal" ||
			slices.ContainsFunc(profileFields(), func(s config.Field) bool { return flagOf(s) == name })
	}
	return true
}

// valueFollows reports whether the word behind a word is its value.
func valueFollows(flags []cli.Flag, word string) bool {
	name, _, attached := strings.Cut(strings.TrimLeft(word, "-"), "=")
	f := findFlag(flags, name)
	return f != nil && strings.HasPrefix(word, "-") && takesValue(f) && !attached
}

// cluster takes apart a word of several one-letter options, of which the last
// may have its value attached. Any other word is returned as it is.
func cluster(flags []cli.Flag, w string) []string {
	if w[1] == '-' || len(w) == 2 || w[2] == '=' || findFlag(flags, strings.TrimLeft(strings.SplitN(w, "=", 2)[0], "-")) != nil {
		return []string{w}
	}
	var words []string
	for i := 1; i < len(w); i++ {
		f := findFlag(flags, w[i:i+1])
		if f == nil {
			return []string{w}
		}
		words = append(words, "-"+w[i:i+1])
		if takesValue(f) && i+1 < len(w) {
			value := "-" + w[i:i+1] + "=" + w[i+1:]
			words[len(words)-1] = value
			return words
		}
	}
	return words
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
