package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"muster/internal/expand"
	"muster/internal/input"
)

// sourceOptions are the options of run and map that say how inputs are told apart and
// what several of them make of a command.
type sourceOptions struct {
	null, shuffle        bool
	colSep, trim, header string
	literal              []string
	group                int // inputs of a task; 0 if not said
	pack, packSplit      bool

	separator *regexp.Regexp // of colSep
	trimming  input.Trim     // of trim
}

func sourceFlags(o *sourceOptions) []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "null", Aliases: []string{"0"}, Destination: &o.null, Usage: "inputs end with NUL bytes, as find -print0 has it"},
		&cli.StringFlag{Name: "colsep", Aliases: []string{"C"}, Destination: &o.colSep, Usage: "split inputs into columns at `REGEXP`"},
		&cli.StringFlag{Name: "header", Destination: &o.header, Usage: "with `:`, the first input of each source names its columns"},
		&cli.StringFlag{Name: "trim", Destination: &o.trim, Usage: "take blanks off values: `ENDS` is n, l, r or lr", DefaultText: "lr with --colsep, else n"},
		&cli.BoolFlag{Name: "shuf", Destination: &o.shuffle, Usage: "put the inputs into a random order, which --seed makes the same each time"},
		&cli.IntFlag{Name: "N", Aliases: []string{"max-args"}, Destination: &o.group, Usage: "give each task `N` inputs; {1} {2} ... are their values"},
		&cli.BoolFlag{Name: "X", Destination: &o.pack, Usage: "give each task as many inputs as a command line takes; a{}b is repeated for each"},
		&cli.BoolFlag{Name: "m", Destination: &o.packSplit, Usage: "as -X, but a{}b is not repeated"},
		&cli.StringSliceFlag{Name: "literal", Usage: "leave {`TEXT`} as it is"},
	}
}

// check reads the options.
func (o *sourceOptions) check(c *cli.Context) (err error) {
	o.literal = c.StringSlice("literal")
	switch {
	case c.IsSet("N") && o.group < 1:
		return fmt.Errorf("-N %d: a task has at least one input", o.group)
	case o.pack && o.packSplit:
		return errors.New("-X repeats what stands around {} and -m does not: choose one")
	case c.IsSet("header") && o.header != ":":
		return fmt.Errorf("--header %s: it is : and nothing else: the first input names the columns", o.header)
	}
	if o.trimming, err = input.ParseTrim(o.trim); err != nil {
		return fmt.Errorf("--trim %w", err)
	}
	if o.colSep != "" {
		if o.separator, err = input.CompileSeparator(o.colSep); err != nil {
			return fmt.Errorf("--colsep %w", err)
		}
	}
	return nil
}

func (o *sourceOptions) packs() bool { return o.pack || o.packSplit }

// many is what several inputs make of a word with {}.
func (o *sourceOptions) many() expand.Many {
	switch {
	case o.packSplit:
		return expand.Split
	case o.pack || o.group > 0:
		return expand.Repeat
	}
	return expand.Join
}

// sources are the places where the command line says that inputs are.
func (p *runPlan) sources(c *cli.Context, s streams, words *commandLine) ([]input.Source, error) {
	var list []input.Source
	for _, f := range c.StringSlice("arg-file") {
		list = append(list, input.Source{File: f})
	}
	list = append(list, words.sources...)
	if len(list) > 0 {
		return list, nil
	}
	if terminal(s.in) {
		return nil, hinted{errors.New("no inputs"), "give them after :::, in a file with -a, or on standard input"}
	}
	return []input.Source{{File: "-"}}, nil
}

// inputOptions say how the inputs are read.
func (p *runPlan) inputOptions(s streams, sources []input.Source) input.Options {
	if p.say == nil {
		p.say = s.err.Say
	}
	o := p.o
	return input.Options{Sources: sources, CSV: o.csv, TSV: o.tsv, JSONL: o.jsonl, NoHeader: o.noHeader, Link: o.link, Stdin: s.in,
		Null: o.null, ColSep: o.separator, Trim: o.trimming, Header: o.header != "", Shuffle: o.shuffle, Seed: p.shuf,
		Warn: func(text string) { p.say("%s", text) }}
}

// maxCommandLine is how long the commands are that -X and -m make, in bytes. Linux takes
// 128 KiB as one word (MAX_ARG_STRLEN), which a text for a shell is, and more in all. The
// rest is for values that {1} and the like put in once more.
const maxCommandLine = 120 << 10

// pack puts inputs together as -N, -X and -m say. The command has to be compiled for
// -X and -m: they ask it how long it becomes.
func (p *runPlan) pack() {
	if !p.o.packs() {
		return
	}
	empty := p.cmd.Size(nil)
	p.in.Pack(input.Packing{Most: p.o.group, Room: maxCommandLine - empty,
		Size: func(row []string) int { return p.cmd.Size(row) - empty }, Shares: p.slots()})
}

// slots is how many tasks run at once. Of a map that is not known.
func (p *runPlan) slots() int {
	if p.pool == nil || p.pool.local {
		return max(1, p.o.slots)
	}
	return max(1, p.o.slots*p.pool.workers())
}

// group widens the rows to what a task gets.
func (p *runPlan) group() {
	switch {
	case p.o.packs():
		p.in.Packed(p.o.group)
	case p.o.group > 0:
		p.in.Group(p.o.group)
	}
}

// checkCommand finds a command line that was quoted as a whole, or that begins as only a
// shell's can, of which no program has the name.
func checkCommand(argv []string, shell bool) error {
	program := argv[0]
	quoted := len(argv) == 1 && strings.ContainsAny(program, " \t\n")
	assigned := assignment.MatchString(program)
	if shell || !quoted && !assigned && !slices.Contains(ofShells, program) {
		return nil
	}
	if _, err := exec.LookPath(program); err == nil || errors.Is(err, os.ErrPermission) {
		return nil
	}
	switch {
	case quoted:
		return hinted{fmt.Errorf("%q is one word, and there is no program of that name", program),
			"--shell runs it as shell text; without quotes around it, its words are the command"}
	case assigned:
		return hinted{fmt.Errorf("%q is no program, and only a shell would set a variable by it", program), "--env NAME=VALUE sets it for tasks"}
	}
	return hinted{fmt.Errorf("%q is a word of shells, and no program", program), "--shell -- 'TEXT' runs shell text"}
}

// checkTable finds a file of inputs without -a, as in `run --csv FILE -- CMD`: FILE begins
// the command then, and is no program.
func checkTable(argv []string) error {
	if len(argv) < 3 || argv[1] != "--" {
		return nil
	}
	file, err := os.Stat(argv[0])
	if err != nil || !file.Mode().IsRegular() || file.Mode()&0o111 != 0 {
		return nil
	}
	if _, err := exec.LookPath(argv[0]); err == nil {
		return nil
	}
	return usageError{hinted{fmt.Errorf("%s is a file before --, and no program: the command would begin with it", argv[0]),
		"-a " + argv[0] + " takes inputs from it"}}
}

// assignment is a variable's that stands before a command (POSIX, "Simple Commands").
var assignment = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)

// ofShells are words that begin a command of a shell, and are no programs on most
// machines (POSIX, "Reserved Words" and "Special Built-In Utilities").
var ofShells = []string{"!", ".", ":", "{", "(", "case", "cd", "eval", "exec", "exit", "export", "for", "function", "if", "module", "set", "source", "trap", "ulimit", "umask", "unset", "until", "while"}
