package cli

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"muster/internal/host"
	"muster/internal/near"
	"muster/internal/units"
)

// What the flag package and urfave/cli say of an option; neither has types of errors.
var (
	saysUnknown  = regexp.MustCompile(`^flag provided but not defined: -(.+)$`)
	saysNoValue  = regexp.MustCompile(`^flag needs an argument: -(.+)$`)
	saysBadValue = regexp.MustCompile(`(?s)^invalid (boolean )?value (".*") for (?:flag )?-([^ :]+): (.*)$`)
	saysBadEnv   = regexp.MustCompile(`(?s)^could not parse (".*?") (as bool value )?from environment variable "(\w+)" (?:as value )?for flag ([^ :]+): (.*)$`)
)

// onUsageError says in muster's words what is wrong with an option.
func onUsageError(c *cli.Context, err error, _ bool) error {
	name, cmd := "muster", c.App.Command(c.Command.Name)
	flags := c.App.Flags
	if cmd != nil {
		name, flags = "muster "+cmd.Name, cmd.Flags
	}
	msg, hint := misused(c.App, cmd, flags, err.Error())
	switch {
	case strings.HasSuffix(hint, "?"):
		hint += " "
	case hint != "":
		hint += "; "
	}
	return usageError{hinted{errors.New(msg), hint + "`" + name + " --help` lists the options"}}
}

// misused is what is wrong with one of a command's options, and what was probably meant.
func misused(app *cli.App, cmd *cli.Command, flags []cli.Flag, says string) (msg, hint string) {
	if m := saysUnknown.FindStringSubmatch(says); m != nil {
		word := optionOf(m[1])
		return "there is no option " + dashed(word), meant(app, cmd, flags, word)
	}
	if m := saysNoValue.FindStringSubmatch(says); m != nil {
		return dashed(m[1]) + " needs a value", ""
	}
	if m := saysBadValue.FindStringSubmatch(says); m != nil {
		return badValue(dashed(m[3]), findFlag(flags, m[3]), m[1] != "", m[2], m[4])
	}
	if m := saysBadEnv.FindStringSubmatch(says); m != nil {
		return badValue("$"+m[3], findFlag(flags, m[4]), m[2] != "", m[1], m[5])
	}
	return says, ""
}

// optionOf is the option of a word without its dashes, and without the number that is
// attached to a letter.
func optionOf(word string) string {
	word, _, _ = strings.Cut(strings.TrimLeft(word, "-"), "=")
	if letter := strings.TrimRight(word, "0123456789"); len(letter) == 1 {
		return letter
	}
	return word
}

// badValue is what is wrong with the value, which is quoted, of an option or a variable.
func badValue(name string, f cli.Flag, truth bool, quoted, why string) (msg, hint string) {
	if truth {
		return fmt.Sprintf("%s: %s is not true or false", name, quoted), ""
	}
	if of := choicesOf(f); len(of) > 0 {
		if best := near.Name(strings.ToLower(strings.Trim(quoted, `"`)), of); best != "" {
			hint = "did you mean " + best + "?"
		}
	}
	return name + ": " + why, hint
}

// dashed writes an option as it is typed.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// meant is a hint at the option that somebody meant who wrote a word in its place: what
// another program's option of that name is here, who else has it, or the one that is most
// like it.
func meant(app *cli.App, cmd *cli.Command, flags []cli.Flag, word string) string {
	if text := fromElsewhere(cmd, word); text != "" {
		return text
	}
	if others := whoHas(app, word); len(others) > 0 {
		return dashed(word) + " is an option of " + enumerate(others, "and")
	}
	var long []string
	for _, f := range flags {
		for _, n := range f.Names() {
			if len(n) > 1 {
				long = append(long, n)
			}
		}
	}
	if best := near.Name(strings.ReplaceAll(strings.ToLower(word), "_", "-"), long); best != "" && len(word) > 1 {
		return "did you mean --" + best + "?"
	}
	return ""
}

// whoHas lists the commands that have an option, the first five.
func whoHas(app *cli.App, option string) (names []string) {
	for _, c := range app.Commands {
		if !c.Hidden && findFlag(c.Flags, option) != nil && len(names) < 5 {
			names = append(names, "`muster "+c.Name+"`")
		}
	}
	return names
}

// noSuchCommand is the error of a word that is no command.
func noSuchCommand(app *cli.App, word string) error {
	var names []string
	for _, c := range app.Commands {
		if !c.Hidden {
			names = append(names, c.Name)
		}
	}
	best := likewise[strings.ToLower(word)]
	if best == "" {
		best = near.Name(strings.ToLower(word), names)
	}
	hint := "`muster help` lists the commands"
	if best != "" {
		hint = "did you mean `muster " + best + "`? " + hint
	}
	return usageError{hinted{fmt.Errorf("there is no command %q", word), hint}}
}

// subcommand returns the first of a command's words, which is one of names, or the error
// of words that are none.
func subcommand(command string, words, names []string) (string, error) {
	all := enumerate(names, "or")
	hint := "`muster " + command + " --help` shows how it is used"
	switch {
	case len(words) == 0:
		return "", usageError{hinted{fmt.Errorf("%s: say %s", command, all), hint}}
	case slices.Contains(names, words[0]):
		return words[0], nil
	}
	if best := near.Name(strings.ToLower(words[0]), names); best != "" {
		hint = "did you mean `muster " + command + " " + best + "`? " + hint
	}
	return "", usageError{hinted{fmt.Errorf("%s: there is no %q: say %s", command, words[0], all), hint}}
}

// optionsOnly is the error of words that a command was given which has options only. A
// number was probably meant to be how many, and a name to be the profile.
func optionsOnly(c *cli.Context) error {
	if !c.Args().Present() {
		return nil
	}
	word, flags, hint := c.Args().First(), c.Command.Flags, ""
	if _, err := units.ParseCount(word); err == nil && findFlag(flags, "n") != nil {
		hint = "did you mean -n " + word + "? "
	} else if err != nil && host.ValidName(word) && findFlag(flags, "p") != nil {
		hint = "did you mean -p " + word + "? "
	}
	return usageError{hinted{fmt.Errorf("%s takes options only, not %q", c.Command.Name, word), hint + "`muster " + c.Command.Name + " --help` lists the options"}}
}

// tooMany is the error of a word that a command cannot take.
func tooMany(command, word, use string) error {
	return usageError{hinted{fmt.Errorf("%s: there is no place for %q", command, word), use}}
}

// enumerate writes a list with a word before its last element.
func enumerate(list []string, last string) string {
	if len(list) < 2 {
		return strings.Join(list, "")
	}
	return strings.Join(list[:len(list)-1], ", ") + " " + last + " " + list[len(list)-1]
}
