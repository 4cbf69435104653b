package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"muster/internal/config"
	"muster/internal/shell"
)

// CommandSettings are what a launcher of kind command can say.
type CommandSettings struct {
	Command       string         `set:"command" doc:"the program that starts a worker" example:"srun" near:"program,cmd,executable,launch_command"`
	Args          config.Words   `set:"args" doc:"its words; \".\" stands for those of the worker's command; a list of lists starts one worker with each" example:"[\"--mem\", \"512\", \"-n\", \"1\", \".\"]" unset:"[\".\"]" near:"arguments,options,argv,flags"`
	Quote         bool           `set:"quote" doc:"the worker's command is one word, quoted for a shell, as ssh, sbatch --wrap and sh -c want it" example:"true" default:"false" near:"quoted"`
	Shell         bool           `set:"shell" doc:"a shell reads command and args as one line, as R mirai has it, and splits words at blanks" example:"true" default:"false" near:"use_shell"`
	Stdin         string         `set:"stdin" doc:"what the command reads" expr:"\"#!/bin/sh\\n${worker.command}\\n\"" unset:"nothing" near:"input,data,script"`
	Together      bool           `set:"together" doc:"one start is for all workers: it speaks of worker.count, and index says which is which" example:"true" default:"false" near:"array"`
	Index         string         `set:"index" doc:"with together: which worker it is, from 1, as its shell knows" example:"$((JOB_COMPLETION_INDEX + 1))" unset:"its process and host say" near:"rank"`
	ID            config.Formula `set:"id" doc:"what the system calls that which was started: an expression over output, what the start has printed" expr:"regex(\"job ([0-9]+)\", output)[0]" unset:"its output in one line, if there is status or cancel" over:"output" near:"job_id"`
	Status        config.Formula `set:"status" doc:"the command that prints how it stands, as words: an expression over id and output" expr:"[\"squeue\", \"-h\", \"-j\", id, \"-o\", \"%T\"]" unset:"nobody is asked" over:"id,output" words:"true" near:"status_command,poll_command"`
	State         config.Formula `set:"state" doc:"the word that says how it stands: an expression over output, what status has printed" expr:"jsondecode(output).state" unset:"the first word" over:"output"`
	Cancel        config.Formula `set:"cancel" doc:"the command that ends it, as words: an expression over id and output" expr:"[\"scancel\", id]" unset:"nothing is ended: workers are told to leave" over:"id,output" words:"true" near:"cancel_command,stop,delete"`
	Pending       []string       `set:"pending" doc:"words of status for what waits, beside those that are known" example:"[\"PARKED\"]" unset:"none"`
	Running       []string       `set:"running" doc:"words for what runs" example:"[\"UP\"]" unset:"none"`
	Ended         []string       `set:"ended" doc:"words for what has ended; a status that fails and prints one of them says so too" example:"[\"NotFound\"]" unset:"none" near:"done,finished,gone"`
	Timeout       time.Duration  `set:"timeout" doc:"for a command that has to end: a start with id, status or cancel, and these" example:"1m" default:"1m"`
	Poll          time.Duration  `set:"poll" doc:"how often status is run, once a second at most" example:"30s" default:"10s" near:"interval,poll_interval"`
	Join          string         `set:"join" doc:"how workers get the secret by which they join: file is one that their machines see, env leaves it to stdin, which speaks of worker.join" example:"env" default:"file" oneof:"file,env" near:"join_file,token"`
	Workdir       string         `set:"workdir" doc:"the folder in which the command is run and tasks run" example:"/scratch/me" unset:"the folder in which the command was typed" near:"chdir,cwd,directory,dir"`
	Slots         int            `set:"slots" doc:"tasks at once in each worker" example:"8" unset:"as the profile says, else one a core" near:"tasks_per_worker,nprocs,processes,concurrency,cpus"`
	Muster        string         `set:"muster" doc:"the muster that runs there" example:"/opt/muster/bin/muster" unset:"a copy of the one that was typed, where this machine has it" near:"muster_path"`
	WorkerCommand string         `set:"worker_command" doc:"a line of shell that is started in the place of muster's worker: other people's workers" example:"dask worker tcp://10.0.0.1:8786" unset:"muster's worker" near:"worker,run"`
}

// dot stands for the worker's command in args.
const dot = "."

// Check returns what the settings of launcher l get wrong together.
func (s *CommandSettings) Check(l *config.Launcher) []config.Diagnostic {
	var bad []config.Diagnostic
	add := func(setting, msg, hint string) { bad = append(bad, l.Mistake(setting, msg, hint)) }
	if !l.Has("command") {
		add("command", "it does not say which command", `command = "srun"`)
	}
	if s.Command != "" && !config.StandsIn(s.Command) && !s.Shell && strings.ContainsAny(s.Command, " \t\n") && !strings.HasPrefix(s.Command, "/") {
		add("command", fmt.Sprintf("command is %q, one program with blanks in its name", s.Command), "put its options into args, or say shell = true")
	}
	for i, list := range s.lists() {
		bad = append(bad, s.checkWords(l, i, list)...)
	}
	if s.Join == "env" && whoseOf(l) != Foreign && !l.Mentions("stdin", "join") {
		add("join", "join is env, and stdin does not speak of worker.join", "have stdin set MUSTER_JOIN to worker.join where the worker runs")
	}
	for _, setting := range []string{"command", "args", "id", "status", "state", "cancel"} {
		if l.Names(setting, "join") || s.Join == "env" && l.Mentions(setting, "join") {
			add(setting, "worker.join is a secret, and everybody on this machine can read a command's words", "give it on stdin")
		}
	}
	if s.Together && s.Args.Nested {
		add("args", "with together one start is for all workers, and args are for one worker each", "leave one list")
	}
	if l.Has("index") && !s.Together {
		add("index", "index is for together: else each start is for one worker", "together = true")
	}
	if s.unread(l) {
		add("index", indexMistake, indexHint)
	}
	if l.Has("state") && !l.Has("status") {
		add("state", "state is what status has printed, and there is none", `status = ["PROGRAM", id]`)
	}
	if s.Poll < time.Second {
		add("poll", "status is run once a second at most", `such as poll = "10s"`)
	}
	if s.Timeout <= 0 {
		add("timeout", "a command needs some time", `such as timeout = "1m"`)
	}
	if s.Workdir != "" && !config.StandsIn(s.Workdir) && s.Workdir[0] != '/' {
		add("workdir", fmt.Sprintf("workdir is %q, which depends on where the dispatcher was started", s.Workdir), "write a path from the root")
	}
	return append(bad, early(l, "command", "args", "stdin", "id", "status", "state", "cancel", "worker_command")...)
}

// lists are the words for each start that args says.
func (s *CommandSettings) lists() [][]string {
	if len(s.Args.Lists) == 0 {
		return [][]string{{dot}}
	}
	return s.Args.Lists
}

const (
	indexMistake = "index is for a shell, and args has the worker's words as they are: all workers would have the same name"
	indexHint    = "quote = true, and a command that has a shell read it, such as bash -c"
)

// unread reports whether no shell reads the index, as far as args are known yet.
func (s *CommandSettings) unread(l *config.Launcher) bool {
	if !s.Together || s.Quote || s.Shell || config.StandsIn(s.Index) || !strings.ContainsAny(s.Index, "$`") || l.Has("args") && len(s.Args.Lists) == 0 {
		return false
	}
	return l.Mentions("args", "argv") || slices.ContainsFunc(s.lists(), func(words []string) bool { return slices.Contains(words, dot) })
}

// checkWords returns what is wrong with the words for one start, the i-th.
func (s *CommandSettings) checkWords(l *config.Launcher, i int, words []string) []config.Diagnostic {
	var path []int // to them in args
	if s.Args.Nested {
		path = []int{i}
	}
	var bad []config.Diagnostic
	spoken := []string{"command", "argv", "join_file", "join", "name"}
	known := !slices.ContainsFunc(words, config.StandsIn) && (!l.Mentions("args") || len(words) > 0)
	if known && !slices.Contains(words, dot) && !l.Mentions("args", spoken...) && !l.Mentions("stdin", spoken...) && !l.Mentions("command", spoken...) {
		bad = append(bad, l.MistakeIn("args", path, `nothing in them stands for the worker that is to be started: one word is "."`, `such as args = ["-n", "1", "."]`))
	}
	if s.Shell || l.Mentions("args") {
		return bad
	}
	for n, w := range words {
		// What stands behind = may have blanks.
		split := strings.Fields(w)
		if len(split) > 1 && w[0] == '-' && !strings.Contains(split[0], "=") && !config.StandsIn(w) {
			for k := range split {
				split[k] = strconv.Quote(split[k])
			}
			bad = append(bad, l.MistakeIn("args", append(path, n), fmt.Sprintf("%q is one word with a blank in it, and no shell splits it", w),
				"write "+strings.Join(split, ", ")+", or say shell = true"))
		}
	}
	return bad
}

// Command starts workers by any command.
type Command struct {
	Count int  `json:"count"` // of starts
	Each  int  `json:"each"`  // workers of one start
	Sent  bool `json:"sent,omitempty"`
	// Starts are the commands, when there are names.
	Starts []Run `json:"starts,omitempty"`
}

// Run is a command that starts workers, and what is run to know how they stand and to
// end them.
type Run struct {
	Argv   []string       `json:"argv"`
	Stdin  string         `json:"stdin,omitempty"`
	Line   bool           `json:"line,omitempty"` // it is a shell's line, the last of Argv
	Dir    string         `json:"dir"`
	Ends   bool           `json:"ends,omitempty"` // the command ends when it has started something; else it may stay as long as that
	ID     config.Formula `json:"id,omitzero"`
	Status config.Formula `json:"status,omitzero"`
	State  config.Formula `json:"state,omitzero"`
	States States         `json:"states,omitzero"`
	Cancel config.Formula `json:"cancel,omitzero"`
	// Secrets are texts in them that no person is shown, if a command prints them.
	Secrets []string `json:"secrets,omitempty"`
	// Timeout is for a command that has to end.
	Timeout time.Duration `json:"timeout"`
}

// Tag is what configs call the kind.
func (*Command) Tag() string { return "command" }

// Places are one for each start.
func (c *Command) Places() []Place { return apart(c.Count, c.Sent) }

// Parts are the starts.
func (c *Command) Parts() []Part {
	list := partsApart(c.Count)
	for i := range list {
		for n := 1; n < c.Each; n++ {
			list[i].Indices = append(list[i].Indices, n+1)
		}
	}
	return list
}

// Way is by how many starts.
func (c *Command) Way() string { return "by " + count(c.Count, "start") + " of a command" }

func (c *Command) whole(p *Plan) error {
	if c.Each < 1 || c.Count > MaxWorkers/c.Each {
		return fmt.Errorf("launcher %s: a plan of %d starts of %d workers", p.Launcher, c.Count, c.Each)
	}
	return wholeApart(p, c.Count, len(c.Starts))
}

// planCommand plans a command launcher.
func planCommand(x *drafting, names []Names) (*Plan, error) {
	var s CommandSettings
	if err := x.e.Launcher(x.l, &s); err != nil {
		return nil, err
	}
	if err := x.f.Errors(s.Check(x.l)); err != nil {
		return nil, err
	}
	k := &Command{Count: x.count(), Each: 1, Sent: s.Join == "env" && whoseOf(x.l) != Foreign}
	lists := s.lists()
	if s.Args.Nested {
		// One worker with each list, or so many with each.
		switch n := x.count(); {
		case n <= 1 && (x.w.Times == AsArray || n == 1):
			k.Count = len(lists)
		case n%len(lists) != 0:
			return nil, x.at("args", fmt.Sprintf("%d workers are wished, and args has lists for %d", n, len(lists)), "wish for 1, one for each list, or as many with each")
		}
	}
	if s.Together && k.Count > 0 {
		k.Count, k.Each = 1, k.Count
	}
	p, err := x.beginApart(k, k.Count*k.Each, s.Poll, s.Slots, s.Workdir, s.Muster, names)
	if err != nil || names == nil {
		return p, err
	}
	for i := range k.Count {
		var one CommandSettings
		w := p.seen(i, s.Join, own(p.Names[i].Launch, 1)...)
		w.Index, w.Count = p.which(i, k.Count*k.Each)
		if k.Each > 1 || s.Together {
			x.together(p, i, &s, &w)
		}
		if err := x.fillBehind(&one, &w, &one.WorkerCommand); err != nil {
			return nil, err
		}
		if one.unread(x.l) {
			return nil, x.at("index", indexMistake, indexHint)
		}
		run, err := x.run(&one, one.lists()[i%len(one.lists())], w, s.Workdir)
		if err != nil {
			return nil, err
		}
		k.Starts = append(k.Starts, run)
	}
	return p, nil
}

// together changes a worker into what stands for all of one start: a shell where it
// runs knows which it is.
func (x *drafting) together(p *Plan, i int, s *CommandSettings, w *config.Worker) {
	n := p.Names[i]
	file := n.JoinFile
	if s.Join == "env" {
		file = ""
	}
	w.Argv = p.Worker.Argv(n.Muster, file)
	w.Command = shell.Join(w.Argv)
	if w.Index = s.Index; s.Index != "" && n.Launch != "" {
		w.Argv = append(w.Argv, "--element", n.Launch+"."+s.Index, "--patience", Patience.String())
		w.Command += ` --element "` + n.Launch + "." + s.Index + `" --patience ` + Patience.String()
	}
}

// run makes the command that starts what a worker's settings say. words are its args.
func (x *drafting) run(s *CommandSettings, words []string, w config.Worker, workdir string) (Run, error) {
	if s.Command == "" {
		return Run{}, x.at("command", "it does not say which command", `command = "srun"`)
	}
	secrets := x.e.Taken(&x.l.Block, "command", "args", "stdin", "id", "status", "state", "cancel", "worker_command")
	r := Run{Stdin: s.Stdin, Secrets: secrets, Dir: workdir, ID: s.ID, Status: s.Status, State: s.State, States: States{s.Pending, s.Running, s.Ended}, Cancel: s.Cancel, Timeout: s.Timeout}
	if r.Dir == "" {
		r.Dir = x.w.Dir
	}
	r.Ends = !r.ID.IsZero() || !r.Status.IsZero() || !r.Cancel.IsZero()
	if s.Shell {
		line := s.Command
		for _, word := range words {
			if word == dot {
				if word = w.Command; s.Quote {
					word = quoted(word)
				}
			}
			line += " " + word
		}
		r.Argv, r.Line = []string{"/bin/sh", "-c", line}, true
		return r, nil
	}
	r.Argv = []string{s.Command}
	for _, word := range words {
		switch {
		case word != dot:
			r.Argv = append(r.Argv, word)
		case s.Quote:
			r.Argv = append(r.Argv, w.Command)
		default:
			r.Argv = append(r.Argv, w.Argv...)
		}
	}
	return r, nil
}

// quoted quotes a line for a shell as R's shQuote does, whatever is in it.
func quoted(line string) string { return "'" + strings.ReplaceAll(line, "'", `'\''`) + "'" }

func (c *Command) submissions(p *Plan) ([]*Submission, error) {
	var list []*Submission
	for _, r := range c.Starts {
		s := &Submission{Launcher: p.Launcher, Argv: r.Argv, Script: r.Stdin, Workers: c.Each}
		if r.Line {
			s.line = r.Argv[2]
		}
		list = append(list, s)
	}
	return list, nil
}
