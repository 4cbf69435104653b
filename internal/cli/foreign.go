package cli

import (
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"
)

// foreign is an option of other programs, and what it is here.
type foreign struct {
	names []string // without dashes
	tool  string
	here  string   // what it is here; "the tool's --option is ..."
	has   []string // what of muster's here names: "COMMAND OPTION", or KIND.SETTING
}

// forTasks are the commands whose options are compared with those of programs that run a
// command for each input.
var forTasks = []string{"run", "map", "submit", "everywhere"}

// fromTasks are options of programs that run a command for each input.
var fromTasks = []foreign{
	{[]string{"jobs"}, "GNU parallel", "-n N, or -j N, of `muster run`", []string{"run n", "run j"}},
	{[]string{"P", "max-procs"}, "xargs", "-n N, or -j N, of `muster run`", []string{"run n", "run j"}},
	{[]string{"halt", "halt-on-error"}, "GNU parallel", "--halt of `muster run`, and --stop", []string{"run halt", "run stop", "map stop"}},
	{[]string{"n", "max-args", "L", "max-lines", "max-replace-args"}, "xargs", "-N N, which counts inputs", []string{"run N", "map N"}},
	{[]string{"d", "delimiter"}, "xargs", "not there: inputs are lines, words after ::: or rows of a table", []string{"run csv"}},
	{[]string{"i", "replace"}, "xargs", "-I STR; without it {} is replaced", []string{"run I"}},
	{[]string{"r", "no-run-if-empty"}, "xargs", "not needed: without inputs nothing is run", nil},
	{[]string{"t", "verbose"}, "xargs", "--dry-run, which prints the commands and runs nothing", []string{"run dry-run"}},
	{[]string{"S", "sshlogin", "slf", "sshloginfile"}, "GNU parallel", "an ssh launcher in the config, whose profile -p names", []string{"ssh.remotes", "run profile"}},
	{[]string{"wd", "workdir"}, "GNU parallel", "--cd DIR", []string{"run cd"}},
	{[]string{"q", "quote"}, "GNU parallel", "not needed: CMD's words are not read by a shell without --shell", []string{"run shell"}},
	{[]string{"xapply"}, "GNU parallel", "--link", []string{"run link"}},
	{[]string{"will-cite", "no-notice", "bibtex", "citation"}, "GNU parallel", "not needed", nil},
	{[]string{"memfree", "load", "noswap"}, "GNU parallel", "not there: -n N bounds how much runs at once", []string{"run n"}},
	{[]string{"pipe", "pipepart", "block"}, "GNU parallel", "not there: split the input first, and give the files with -a or :::", []string{"run a"}},
	{[]string{"files", "output-as-files", "outputasfiles", "res"}, "GNU parallel", "--results DIR", []string{"run results"}},
	{[]string{"jl"}, "GNU parallel", "--joblog FILE", []string{"run joblog"}},
	{[]string{"xargs"}, "GNU parallel", "-m", []string{"run m"}},
	{[]string{"tty", "open-tty"}, "GNU parallel", "--sync", []string{"run sync", "map sync", "submit sync"}},
	{[]string{"group", "no-keep-order"}, "GNU parallel", "not needed: it is so without -k, --line-buffer and --ungroup", []string{"run k", "run line-buffer", "run ungroup"}},
	{[]string{"silent"}, "GNU parallel", "not needed: commands are not printed", nil},
	{[]string{"onall", "nonall"}, "GNU parallel", "`muster everywhere`", []string{"everywhere p"}},
	{[]string{"ssh"}, "GNU parallel", `command = "ssh ..." in an ssh launcher of the config`, []string{"ssh.command"}},
	{[]string{"process-slot-var"}, "GNU parallel", "not needed: tasks have the variable MUSTER_SLOT", nil},
	{[]string{"tmpdir"}, "GNU parallel", "the variable MUSTER_STATE", nil},
	{[]string{"term-seq"}, "GNU parallel", "not needed: after SIGTERM and two seconds comes SIGKILL", nil},
	{[]string{"shell-completion"}, "GNU parallel", "`muster completion`", nil},
	{[]string{"transfer", "transferfile", "return", "trc", "basefile", "bf"}, "GNU parallel", "not there: tasks find files where they lie, on a disk that all machines see", nil},
	{[]string{"fg", "bg", "semaphore", "id"}, "sem", "not there: `muster submit` queues a command", []string{"submit p"}},
}

// fromRun are options of run that other commands with tasks have no use for.
var fromRun = []foreign{
	{[]string{"n", "j"}, "`muster run`", "`muster up -n N` or `muster launch -n N` here: how many workers there are for all tasks", []string{"run n", "run j", "up n", "launch n"}},
	{[]string{"k", "keep-order"}, "`muster run`", "not needed: `muster collect` prints results in the order of the inputs", []string{"run k", "run keep-order"}},
}

// fromSchedulers are options of commands that submit jobs. Of a letter alone each means
// another thing, so the letters are Slurm's, where it is alone to have them or theirs are
// the same.
var fromSchedulers = []foreign{
	{[]string{"partition", "queue", "q"}, "a scheduler", `queue = "..." in a cluster launcher of the config`, []string{"cluster.queue"}},
	{[]string{"time", "t", "W", "time-limit"}, "a scheduler", `walltime = "..." in a cluster launcher of the config`, []string{"cluster.walltime"}},
	{[]string{"mem", "mem-per-cpu", "M"}, "a scheduler", `memory = "..." in a cluster launcher of the config`, []string{"cluster.memory"}},
	{[]string{"cpus-per-task", "cpus", "ncpus"}, "a scheduler", "cpus = N in a cluster launcher of the config", []string{"cluster.cpus"}},
	{[]string{"gpus", "gres", "G", "gpus-per-node", "gpus-per-task"}, "a scheduler", "gpus = N in a cluster launcher of the config", []string{"cluster.gpus"}},
	{[]string{"account", "A", "project"}, "a scheduler", `account = "..." in a cluster launcher of the config`, []string{"cluster.account"}},
	{[]string{"job-name", "J"}, "a scheduler", `name = "..." in a cluster launcher of the config, and --run NAME of a run`, []string{"cluster.name", "run run"}},
	{[]string{"array"}, "a scheduler", `inputs of ` + "`muster run`" + `, or array = "1-N" in a cluster launcher of the config`, []string{"cluster.array"}},
	{[]string{"output", "o", "error", "e"}, "a scheduler", "--results DIR for what tasks print, and output in a cluster launcher for what jobs do", []string{"run results", "cluster.output"}},
	{[]string{"chdir", "D", "workdir", "wd", "cwd"}, "a scheduler", "--cd DIR for tasks, and workdir in a cluster launcher for jobs", []string{"run cd", "cluster.workdir"}},
	{[]string{"export", "v", "V"}, "a scheduler", "--env NAME for tasks", []string{"run env"}},
	{[]string{"wrap"}, "sbatch", "CMD with --shell: muster submit --shell -- 'TEXT'", []string{"submit shell"}},
	{[]string{"ntasks", "nodes", "N", "ntasks-per-node"}, "a scheduler", "-n N, how many workers there are, each on one node", []string{"run n", "up n", "launch n"}},
	{[]string{"constraint", "C", "qos", "reservation", "exclude", "nodelist", "exclusive", "licenses", "dependency", "mail-type", "mail-user", "comment", "requeue", "nice", "l", "R"}, "a scheduler",
		"a line of options in a cluster launcher of the config, in the scheduler's own words", []string{"cluster.options"}},
}

// likewise are other programs' words for what a command does.
var likewise = map[string]string{
	"start": "up", "daemons": "up", "server": "up",
	"stop": "down", "shutdown": "down", "kill": "cancel", "scancel": "cancel", "qdel": "cancel", "bkill": "cancel", "rm": "cancel",
	"ls": "status", "list": "status", "ps": "status", "jobs": "status", "queue": "status", "squeue": "status", "qstat": "status", "bjobs": "status", "top": "status",
	"sbatch": "submit", "qsub": "submit", "bsub": "submit", "enqueue": "submit", "exec": "run", "srun": "run", "parallel": "run", "xargs": "run", "foreach": "map",
	"results": "collect", "result": "collect", "get": "collect", "fetch": "collect", "output": "collect", "check": "doctor", "test": "doctor", "diagnose": "doctor",
	"token": "join", "cert": "tls", "certs": "tls", "address": "url", "addresses": "url", "ip": "url",
}

// fromElsewhere says what another program's option is here; it is empty if the word is none
// that is known.
func fromElsewhere(cmd *cli.Command, word string) string {
	tables := [][]foreign{fromSchedulers}
	if cmd != nil && slices.Contains(forTasks, cmd.Name) {
		tables = [][]foreign{fromTasks, fromSchedulers}
		if cmd.Name != "run" {
			tables = [][]foreign{fromRun, fromTasks, fromSchedulers}
		}
	}
	for _, table := range tables {
		for _, f := range table {
			if slices.Contains(f.names, word) {
				return fmt.Sprintf("%s's %s is %s", f.tool, dashed(word), f.here)
			}
		}
	}
	return ""
}
