// Package cli is muster's command line: it takes the words apart, wires the
// other packages together for each command, and turns errors into messages
// and exit codes.
package cli

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/hashicorp/go-hclog"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"muster/internal/disposition"
	"muster/internal/prompt"
	safe "muster/internal/terminal"
)

// Version is the release this source belongs to.
const Version = "0.1.0-dev"

// The exit codes of every command. exitTable explains them in --help.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitTaskFailed  = 3
	exitCancelled   = 4
	exitUnreachable = 5
	exitFull        = 6
	exitInterrupted = 130
)

const exitTable = `EXIT STATUS:
   0    everything went well
   1    muster itself failed
   2    the command line, the configuration or the input was wrong; nothing was started
   3    at least one task failed
   4    cancelled
   5    the dispatcher could not be reached, or is of another version
   6    the queue is full (submit --try)
   130  interrupted by Ctrl-C
`

// usageError is the user's mistake: exit code 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// exitError carries an exit code whose reason has been told already.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// hinted is an error with advice.
type hinted struct {
	error
	hint string
}

func (e hinted) Unwrap() error { return e.error }

// streams is where a command reads and writes.
type streams struct {
	in  io.Reader
	out io.Writer
	err safe.Voice
}

// terminal reports whether w is a terminal.
func terminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Main runs muster with the words of args and returns its exit code.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	disposition.Inherit()
	s := streams{stdin, stdout, safe.NewVoice(stderr)}
	if wasClosed(stdout, stdin) {
		closed := &closedOutput{}
		s.out = closed
		return s.reportLost(closed, s.main(args))
	}
	return s.main(args)
}

func (s streams) main(args []string) int {
	if asked, err := prompt.Askpass(args, os.Getenv, s.out); asked {
		return s.report(err)
	}
	words := &commandLine{}
	app := newApp(s, words)
	args, err := words.take(app, args)
	switch {
	case err != nil:
	case words.help != "":
		err = show(s.out, words.help)
	default:
		err = app.Run(args)
	}
	return s.report(err)
}

// report prints an error in the one form that muster uses, and returns its code.
func (s streams) report(err error) int {
	var code exitError
	var usage usageError
	var away unreachable
	var noRoom full
	var hint hinted
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &code):
		return int(code)
	}
	s.err.Say("%v", err)
	if errors.As(err, &hint) {
		s.err.Hint(hint.hint)
	}
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &away):
		return exitUnreachable
	case errors.As(err, &noRoom):
		return exitFull
	}
	return exitFailure
}

// newApp builds the command tree. What urfave/cli would do by itself and a
// user would not expect is switched off here: usage errors on stdout, exit 0
// without a command, "help" as a word of every command, commas that split
// values.
func newApp(s streams, words *commandLine) *cli.App {
	app := &cli.App{
		Name:  "muster",
		Usage: "get work onto other people's machines, and every answer back",
		UsageText: "muster COMMAND [OPTIONS]\n\n" +
			"muster run -a inputs.txt -- ./simulate {}\n" +
			"muster help run",
		Version:                   Version,
		Reader:                    s.in,
		Writer:                    s.out,
		ErrWriter:                 s.err.Lines(),
		HideHelpCommand:           true,
		DisableSliceFlagSeparator: true,
		ExitErrHandler:            func(*cli.Context, error) {},
		OnUsageError:              onUsageError,
		Flags:                     logFlags("MUSTER_LOG_LEVEL", "MUSTER_LOG_JSON"),
		Action: func(c *cli.Context) error {
			if c.Bool("version") {
				return show(s.out, versionLine) // other programs read it, muster on another machine too
			}
			if c.Args().Present() {
				return noSuchCommand(c.App, c.Args().First())
			}
			if err := show(s.err.Lines(), appHelp(c.App)); err != nil {
				return err
			}
			return exitError(exitUsage)
		},
		Commands: []*cli.Command{newRun(s, words), newUp(s), newDown(s), newLaunch(s), newSubmit(s, words), newMap(s, words), newEverywhere(s, words),
			newWait(s), newShare(s), newCollect(s), newCancel(s), newInfo(s), newStatus(s), newWith(s, words), newURL(s), newJoin(s), newTLS(s), newConfig(s), newDoctor(s),
			newWorker(s), newSlot(), newRelay(s), newServe(s), newCompletion(s), newComplete(s), newHelp(s), newVersion(s)},
	}
	for _, cmd := range app.Commands {
		readByUnits(cmd.Flags)
		cmd.OnUsageError = onUsageError
	}
	withHelp(app)
	return app
}

// logFlags are options of muster and, without the variables, of each command
// that logs: people write them in either place.
func logFlags(levelVar, jsonVar string) []cli.Flag {
	level := choiceFlag("log-level", nil, "", "how much to tell on stderr: `LEVEL` is error, warn (the default), info, debug or trace", "error", "warn", "info", "debug", "trace")
	json := &cli.BoolFlag{Name: "log-json", Usage: "log lines as JSON objects"}
	if levelVar != "" {
		level.EnvVars, json.EnvVars = []string{levelVar}, []string{jsonVar}
	}
	return []cli.Flag{level, json}
}

// logger makes the logger that --log-level and --log-json ask for; the ones
// nearest to the command count.
func logger(c *cli.Context, to safe.Voice) (hclog.Logger, error) {
	name, asJSON := "", false
	for _, at := range c.Lineage() {
		if at.Command == nil && at.App == nil {
			continue
		}
		if name == "" && at.IsSet("log-level") {
			name = at.String("log-level")
		}
		asJSON = asJSON || at.IsSet("log-json") && at.Bool("log-json")
	}
	level := hclog.Warn
	if name != "" {
		level = hclog.LevelFromString(name)
	}
	w := to.Lines()
	if asJSON {
		w = to.JSON()
	}
	return hclog.New(&hclog.LoggerOptions{Name: "muster", Level: level, Output: w, JSONFormat: asJSON}), nil
}
