package config

import "github.com/zclconf/go-cty/cty"

// Worker is what expressions see of the worker to launch, as worker.NAME.
type Worker struct {
	Command  string
	Argv     []string
	URL      string
	JoinFile string
	Join     string // the join string; empty where it does not travel by itself
	Name     string // of its launch
	Count    int    // of the workers that are started together
	Index    string // a number, or a shell's expression for it
}

// WorkerName is a name of the worker's in expressions.
type WorkerName struct {
	Name string
	Doc  string

	value func(Worker) cty.Value
}

// WorkerNames lists what expressions may know of the worker.
func WorkerNames() []WorkerName { return workerTable[:] }

var workerTable = [...]WorkerName{
	{"command", "its command, one line of shell", func(w Worker) cty.Value { return cty.StringVal(w.Command) }},
	{"argv", "the same as a list of words", func(w Worker) cty.Value { return stringList(w.Argv) }},
	{"url", "where it dials", func(w Worker) cty.Value { return cty.StringVal(w.URL) }},
	{"join_file", "the file by which it may join", func(w Worker) cty.Value { return cty.StringVal(w.JoinFile) }},
	{"join", "the join string itself, a secret, for what sets MUSTER_JOIN in its environment; for launchers of kind http and command", func(w Worker) cty.Value { return cty.StringVal(w.Join) }},
	{"name", "a name that no other launch has: letters, digits, - and _", func(w Worker) cty.Value { return cty.StringVal(w.Name) }},
	{"count", "how many workers are started together", func(w Worker) cty.Value { return cty.NumberIntVal(int64(w.Count)) }},
	{"index", "its index in the job array: a number, or a variable of the shell such as `$SLURM_ARRAY_TASK_ID`, which no scheduler expands in a name, account, queue or output", func(w Worker) cty.Value { return cty.StringVal(w.Index) }},
}

func workerNames() []string {
	var names []string
	for _, n := range workerTable {
		names = append(names, n.Name)
	}
	return names
}

// value is the worker as expressions see it.
func (w Worker) value() cty.Value {
	values := map[string]cty.Value{}
	for _, n := range workerTable {
		values[n.Name] = n.value(w)
	}
	return cty.ObjectVal(values)
}

func stringList(list []string) cty.Value {
	if len(list) == 0 {
		return cty.ListValEmpty(cty.String)
	}
	var values []cty.Value
	for _, s := range list {
		values = append(values, cty.StringVal(s))
	}
	return cty.ListVal(values)
}
