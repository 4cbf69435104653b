package cli

import (
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// What a line of help has room for, in columns, and the most that stands left of what an
// option means.
const (
	helpWidth = 100
	helpLeft  = 30
)

// newHelp is `muster help`.
func newHelp(s streams) *cli.Command {
	return &cli.Command{
		Name:      "help",
		Usage:     "show what muster, or one of its commands, does",
		UsageText: "muster help [COMMAND [WORD]]",
		Description: `The same as --help behind the command.

   muster help
   muster help run
   muster help join new`,
		Action: func(c *cli.Context) error {
			text, err := helpFor(c.App, c.Args().Slice())
			if err != nil {
				return err
			}
			return show(s.out, text)
		},
	}
}

// helpFlag is --help, of muster and of each command.
func helpFlag() cli.Flag {
	return &cli.BoolFlag{Name: "help", Aliases: []string{"h"}, Usage: "show this"}
}

// helpFor is the help of the command that words name; of muster without words.
func helpFor(app *cli.App, words []string) (string, error) {
	if len(words) == 0 {
		return appHelp(app), nil
	}
	cmd := app.Command(words[0])
	if cmd == nil || cmd.Hidden {
		return "", noSuchCommand(app, words[0])
	}
	rest := words[1:]
	if names := subcommands[cmd.Name]; len(rest) > 0 && len(names) > 0 {
		if _, err := subcommand(cmd.Name, rest, names); err != nil {
			return "", err
		}
		rest = rest[1:]
	}
	if len(rest) > 0 {
		return "", tooMany("help "+cmd.Name, rest[0], "`muster help "+cmd.Name+"` shows all of it")
	}
	return commandHelp(cmd), nil
}

// asksHelp reports whether one of the options is --help.
func asksHelp(flags []cli.Flag, options []string) bool {
	for len(options) > 0 {
		word := options[0]
		options = options[1:]
		if word == "--help" || word == "-help" || word == "-h" {
			return true
		}
		if valueFollows(flags, word) && len(options) > 0 {
			options = options[1:]
		}
	}
	return false
}

func show(out io.Writer, text string) error {
	_, err := io.WriteString(out, text)
	return err
}

func appHelp(app *cli.App) string {
	var b strings.Builder
	section(&b, "NAME", app.Name+" - "+app.Usage)
	section(&b, "USAGE", app.UsageText)
	b.WriteString("COMMANDS:\n")
	for _, cmd := range app.Commands {
		if !cmd.Hidden {
			columns(&b, cmd.Name, cmd.Usage, 13)
		}
	}
	b.WriteString("\n")
	options(&b, "GLOBAL OPTIONS", app.Flags)
	b.WriteString(exitTable)
	return b.String()
}

func commandHelp(cmd *cli.Command) string {
	var b strings.Builder
	section(&b, "NAME", "muster "+cmd.Name+" - "+cmd.Usage)
	section(&b, "USAGE", cmd.UsageText)
	section(&b, "DESCRIPTION", cmd.Description)
	options(&b, "OPTIONS", cmd.Flags)
	b.WriteString(exitTable)
	return b.String()
}

// section writes a text as it is, indented.
func section(b *strings.Builder, title, text string) {
	b.WriteString(title + ":\n")
	for line := range strings.SplitSeq(text, "\n") {
		b.WriteString(strings.TrimRight("   "+line, " ") + "\n")
	}
	b.WriteString("\n")
}

func options(b *strings.Builder, title string, flags []cli.Flag) {
	b.WriteString(title + ":\n")
	left := 0
	for _, f := range flags {
		if n := len(optionNames(f)) + 2; n <= helpLeft {
			left = max(left, n)
		}
	}
	for _, f := range flags {
		columns(b, optionNames(f), optionMeaning(f), left)
	}
	b.WriteString("\n")
}

// placeholder is what stands for an option's value in its usage.
var placeholder = regexp.MustCompile("`([^`]+)`")

// bracketed is one that says no more than optionNames does.
var bracketed = regexp.MustCompile(" \\(`[^`]+`\\)")

// optionNames writes the names of an option as they are typed.
func optionNames(f cli.Flag) string {
	value := ""
	if takesValue(f) {
		value = " VALUE"
		if m := placeholder.FindStringSubmatch(f.(cli.DocGenerationFlag).GetUsage()); m != nil {
			value = " " + m[1]
		}
	}
	var names []string
	for _, n := range f.Names() {
		names = append(names, dashed(n)+value)
	}
	return strings.Join(names, ", ")
}

// optionMeaning says what an option does, what it is if it is not given, and which variable
// gives it too.
func optionMeaning(f cli.Flag) string {
	doc := f.(cli.DocGenerationFlag)
	text := bracketed.ReplaceAllString(doc.GetUsage(), "")
	text = placeholder.ReplaceAllString(text, "$1")
	if _, several := f.(*cli.StringSliceFlag); several && !strings.Contains(text, "again") && !strings.Contains(text, "repeat") {
		text += "; may be given again"
	}
	if unset := doc.GetDefaultText(); unset != "" && unset != "false" {
		text += " (default: " + strings.Trim(unset, `"`) + ")"
	}
	if env := doc.GetEnvVars(); len(env) > 0 {
		text += " [$" + strings.Join(env, ", $") + "]"
	}
	return text
}

// columns writes what stands left, and beside it a text that is wrapped.
func columns(b *strings.Builder, name, text string, left int) {
	indent := "   " + strings.Repeat(" ", left)
	line := "   " + name
	if len(name)+2 > left {
		b.WriteString(line + "\n")
		line = indent
	} else {
		line += indent[len(line):]
	}
	first := true
	for word := range strings.FieldsSeq(text) {
		if !first && len(line)+1+len(word) > helpWidth {
			b.WriteString(line + "\n")
			line, first = indent, true
		}
		if !first {
			line += " "
		}
		line, first = line+word, false
	}
	b.WriteString(line + "\n")
}

// withHelp gives muster and its commands --help in the place of urfave/cli's, which neither
// wraps nor ends with the exit codes. commandLine.take answers it.
func withHelp(app *cli.App) {
	app.HideHelp, app.HideVersion = true, true
	app.Flags = append(app.Flags, &cli.BoolFlag{Name: "version", Aliases: []string{"v"}, Usage: "show the version; muster version says more"}, helpFlag())
	for _, cmd := range app.Commands {
		cmd.HideHelp, cmd.HideHelpCommand = true, true
		cmd.Flags = append(slices.Clip(cmd.Flags), helpFlag())
	}
}
