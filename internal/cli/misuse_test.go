package cli

import (
	"bytes"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"muster/internal/config"
	"muster/internal/plan"
	safe "muster/internal/terminal"
)

// testApp is the app with streams that nobody reads.
func testApp() *cli.App {
	return newApp(streams{strings.NewReader(""), io.Discard, safe.NewVoice(io.Discard)}, &commandLine{})
}

// ownWorld gives a test a home of its own, without a config or a dispatcher.
func ownWorld(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "MUSTER_STATE"} {
		t.Setenv(name, dir)
	}
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "MUSTER_") && name != "MUSTER_STATE" {
			t.Setenv(name, "")
		}
	}
	t.Chdir(dir)
}

// TestMisuse: what is wrong with a command line is said on stderr in one form, with what
// was probably meant, and ends with 2.
func TestMisuse(t *testing.T) {
	ownWorld(t)
	for _, c := range []struct{ line, want string }{
		// Options that are near others, that others have, and that are nowhere.
		{"run --timout 5 -- true ::: a", "muster: there is no option --timout\nhint: did you mean --timeout? `muster run --help` lists the options\n"},
		{"run --keep_order -- true ::: a", "did you mean --keep-order?"},
		{"run --no-heder -- true ::: a", "did you mean --no-header?"},
		{"run -Z -- true ::: a", "muster: there is no option -Z\nhint: `muster run --help` lists the options\n"},
		{"run --zzzzz -- true ::: a", "muster: there is no option --zzzzz\nhint: `muster run --help` lists the options\n"},
		{"status --keep-order", "--keep-order is an option of `muster run`"},
		{"--timeout 5 run -- true", "muster: there is no option --timeout\nhint: --timeout is an option of `muster run`"},
		{"collect --wacth 1", "there is no option --wacth"},
		// Options of run.
		{"map -n 2 -- true ::: a", "muster: there is no option -n\nhint: `muster run`'s -n is `muster up -n N` or `muster launch -n N` here"},
		{"map -k -- true ::: a", "`muster run`'s -k is not needed: `muster collect` prints results in the order"},
		{"submit -j4 -- true", "`muster run`'s -j is `muster up -n N`"},
		// Options of other programs.
		{"run --jobs 4 -- true ::: a", "muster: there is no option --jobs\nhint: GNU parallel's --jobs is -n N, or -j N, of `muster run`; `muster run --help` lists the options\n"},
		{"run -P4 -- true ::: a", "muster: there is no option -P\nhint: xargs's -P is -n N"},
		{"run --max-procs=4 -- true ::: a", "xargs's --max-procs is -n N"},
		{"run --partition main -- true ::: a", "a scheduler's --partition is queue = \"...\" in a cluster launcher"},
		{"up --time 1:00:00", "a scheduler's --time is walltime = \"...\""},
		{"submit --mem 4G -- true", "--mem is memory = \"...\""},
		{"submit --cpus-per-task=4 -- true", "--cpus-per-task is cpus = N"},
		{"launch --array 1-4", "--array is inputs of `muster run`, or array = \"1-N\""},
		{"submit --wrap true", "sbatch's --wrap is CMD with --shell"},
		// Values.
		{"run --timeout soon -- true ::: a", "muster: --timeout: \"soon\" is no duration: write 90s, 1h30m or 2d, 1:30:00 or 2-12:00:00 as Slurm does, or a number of seconds\n"},
		{"run --timeout 10:30 -- true ::: a", "--timeout: \"10:30\" can be read in two ways"},
		{"run --timeout -5s -- true ::: a", "--timeout: \"-5s\" is negative"},
		{"run --estimate -1 -- true ::: a", "--estimate: \"-1\" is negative"},
		{"run --timeout", "muster: --timeout needs a value\n"},
		{"run --results= -- true ::: a", "muster: --results needs a value, and the one that it has is empty\nhint: leave the option out if that is meant; a shell's variable that is not set is empty\n"},
		{"wait --timeout x 1", "--timeout: \"x\" is no duration"},
		{"join new -o f --valid x", "--valid: \"x\" is no duration"},
		{"join new -o f --uses x", "--uses: \"x\" is no count: write a whole number, such as 8 or 1e3"},
		{"join new -o f --uses 0x10", "--uses: \"0x10\" is no count"},
		{"down -n -1", "-n: \"-1\" is negative"},
		{"down -n 0", "muster: -n 0: at least one worker leaves\n"}, // and not the dispatcher
		{"launch -n 0", "-n 0: at least one worker"},
		{"everywhere --min 1.5 -- true", "--min: \"1.5\" is no count"},
		{"worker -n x --join-file f", "-n: \"x\" is no count"},
		{"worker --restart x --join-file f", "--restart: \"x\" is no count"},
		{"worker --walltime 240 --join-file f", "--walltime: \"240\" has no unit, and schedulers disagree on what it would be: write 4h or 4:00:00"},
		{"worker --idletime 1y --join-file f", "--idletime: \"1y\" is no duration"},
		{"doctor -p x --wait x", "--wait: \"x\" is no duration"},
		{"launch --valid x", "--valid: \"x\" is no duration"},
		{"launch --valid 0", "--valid"},
		{"tls self-signed --name h --days x", "--days: \"x\" is no count"},
		{"up --keep x", "--keep: \"x\" is no size: write 512MB or 16GB (powers of 1000), 512MiB or 16G (of 1024), or a number of bytes"},
		{"up --memory x", "--memory: \"x\" is no size"},
		{"up --reattach x", "--reattach: \"x\" is no duration"},
		{"up --walltime 240", "--walltime: \"240\" has no unit"},
		{"up --maxtasks x", "--maxtasks: \"x\" is no count"},
		// Words of which there are few.
		{"run --progress alwyas -- true ::: a", "muster: --progress: \"alwyas\" is not auto, always or never\nhint: did you mean always?"},
		{"run --log-level loud -- true ::: a", "--log-level: \"loud\" is not error, warn, info, debug or trace"},
		{"--log-level INFO status", "hint: did you mean info?"},
		{"worker --autoexit finsh --join-file f", "--autoexit: \"finsh\" is not now, finish or never\nhint: did you mean finish?"},
		{"worker --output x --join-file f", "--output: \"x\" is not collect, discard or echo"},
		{"worker --cleanup=perhaps --join-file f", "muster: --cleanup: \"perhaps\" is not true or false\n"},
		{"url --family ipv5", "--family: \"ipv5\" is not ipv4 or ipv6\nhint: did you mean ipv4?"},
		{"up --scheduling round_robin", "did you mean \"round-robin\"?"},
		// Commands, and what is said to them.
		{"colect 1", "muster: there is no command \"colect\"\nhint: did you mean `muster collect`? `muster help` lists the commands\n"},
		{"Run -- true", "did you mean `muster run`?"},
		{"squeue", "did you mean `muster status`?"},
		{"zzzzz", "muster: there is no command \"zzzzz\"\nhint: `muster help` lists the commands\n"},
		{"config", "muster: config: say check or show\n"},
		{"config shwo", "muster: config: there is no \"shwo\": say check or show\nhint: did you mean `muster config show`?"},
		{"config check extra", "config check: there is no place for \"extra\""},
		{"join", "join: say new, list or revoke\n"},
		{"join nwe", "did you mean `muster join new`?"},
		{"join list extra", "join list: there is no place for \"extra\""},
		{"join new extra", "join new: there is no place for \"extra\""},
		{"join revoke", "join revoke: which ID?"},
		{"join revoke a b", "join revoke: there is no place for \"b\""},
		{"tls", "tls: say self-signed, request, check or pin\n"},
		{"tls chek", "did you mean `muster tls check`?"},
		{"tls check extra", "tls check: there is no place for \"extra\""},
		{"completion", "completion: say bash, zsh or fish\n"},
		{"completion tcsh", "completion: there is no \"tcsh\": say bash, zsh or fish\n"},
		{"completion bash zsh", "completion: there is no place for \"zsh\""},
		{"up 4", "muster: up takes options only, not \"4\"\nhint: did you mean -n 4? `muster up --help` lists the options\n"},
		{"launch gpu", "launch takes options only, not \"gpu\"\nhint: did you mean -p gpu?"},
		{"url ib0", "muster: url takes options only, not \"ib0\"\nhint: `muster url --help` lists the options\n"},
		{"run", "no command to run"},
		{"map", "no command to run"},
		{"submit", "no command to run"},
		{"everywhere", "no command to run"},
		{"with", "no command to run"},
		{"wait", "which ids?"},
		{"collect", "which id?"},
		{"cancel", "which ids?"},
		{"collect x", "\"x\" is no id"},
		{"wait --any --poll 1", "choose one"},
		{"worker", "no join file"},
		{"doctor", "doctor:"},
		{"run --csv --tsv -- true ::: a", "exclude each other"},
		{"run --shuf --resume --joblog l -- true ::: a", "--shuf numbers the inputs in another order each time"},
		{"run --shuf --resume-failed --joblog l -- true ::: a", "--shuf numbers the inputs in another order each time"},
		{"run -- cd {} ::: a", "muster: \"cd\" is a word of shells, and no program\nhint: --shell -- 'TEXT' runs shell text\n"},
		{"submit -- module load gcc", "\"module\" is a word of shells"},
		{"map -- N=1 ./fit ::: a", "muster: \"N=1\" is no program, and only a shell would set a variable by it\nhint: --env NAME=VALUE sets it for tasks\n"},
		{"run --sync --json -- true ::: a", "keeps nothing of them: leave out --json\n"},
		{"run --sync --flat -- true ::: a", "leave out --flat\n"},
		{"run --sync --results r -- true ::: a", "leave out --results\n"},
		{"run --sync --joblog l -- true ::: a", "leave out --joblog\n"},
		{"run --sync --everywhere x=1 -- true ::: a", "leave out --everywhere\n"},
		{"map --sync --wait --json -- true ::: a", "leave out --json\n"},
		{"submit --sync --wait --json -- true", "leave out --json\n"},
	} {
		var out, err bytes.Buffer
		code := Main(append([]string{"muster"}, strings.Fields(c.line)...), strings.NewReader(""), &out, &err)
		if code != exitUsage || out.Len() > 0 || !strings.HasPrefix(err.String(), "muster: ") || !strings.Contains(err.String(), c.want) {
			t.Errorf("muster %s: exit code %d, stdout %q, stderr\n%s\nwant 2 and\n%s", c.line, code, out.String(), err.String(), c.want)
		}
	}
	for variable, want := range map[string]string{"MUSTER_LOG_JSON": "muster: $MUSTER_LOG_JSON: \"x\" is not true or false\n", "MUSTER_LOG_LEVEL": "muster: $MUSTER_LOG_LEVEL: \"x\" is not error, warn, info, debug or trace\n"} {
		t.Setenv(variable, "x")
		var err bytes.Buffer
		if code := Main([]string{"muster", "status"}, strings.NewReader(""), io.Discard, &err); code != exitUsage || !strings.HasPrefix(err.String(), want) {
			t.Errorf("%s=x: exit code %d, stderr\n%s", variable, code, err.String())
		}
		os.Unsetenv(variable)
	}
}

// TestMisuseOfAll: each command refuses an option that it does not have, and each that takes
// options only refuses a word.
func TestMisuseOfAll(t *testing.T) {
	ownWorld(t)
	takesWords := append([]string{"wait", "collect", "cancel", "status"}, takesCommand...)
	for _, cmd := range testApp().Commands {
		if cmd.Hidden {
			continue
		}
		lines := [][]string{{cmd.Name, "--no-such-option"}}
		if !slices.Contains(takesWords, cmd.Name) {
			lines = append(lines, []string{cmd.Name, "no-such-word"})
		}
		for _, words := range lines {
			var out, err bytes.Buffer
			code := Main(append([]string{"muster"}, words...), strings.NewReader(""), &out, &err)
			if code != exitUsage || out.Len() > 0 || !strings.HasPrefix(err.String(), "muster: ") {
				t.Errorf("muster %s: exit code %d, stdout %q, stderr %q", strings.Join(words, " "), code, out.String(), err.String())
			}
		}
	}
}

// TestEmptyValues: no option is as good as left out because its value is empty.
func TestEmptyValues(t *testing.T) {
	ownWorld(t)
	for _, cmd := range testApp().Commands {
		for _, f := range cmd.Flags {
			switch f.(type) {
			case *cli.StringFlag, *cli.StringSliceFlag:
				if !mayBeEmpty(f) {
					refusesEmpty(t, cmd.Name, dashed(f.Names()[0]))
				}
			}
		}
	}
}

func refusesEmpty(t *testing.T, command, option string) {
	t.Helper()
	for _, words := range [][]string{{option, ""}, {option + "="}} {
		var out, err bytes.Buffer
		code := Main(append([]string{"muster", command}, words...), strings.NewReader(""), &out, &err)
		if want := "muster: " + option + " needs a value, and the one that it has is empty\n"; code != exitUsage || out.Len() > 0 || !strings.HasPrefix(err.String(), want) {
			t.Errorf("muster %s %q: exit code %d, stdout %q, stderr %q", command, words, code, out.String(), err.String())
		}
	}
}

// TestForeign: what other programs' options are told to be here is here.
func TestForeign(t *testing.T) {
	app := testApp()
	settings := map[string]bool{}
	for _, k := range plan.Schema().Kinds {
		for _, f := range config.Fields(k.Settings) {
			settings[k.Name+"."+f.Name] = true
		}
	}
	for _, f := range slices.Concat(fromRun, fromTasks, fromSchedulers) {
		for _, what := range f.has {
			name, option, isOption := strings.Cut(what, " ")
			if cmd := app.Command(name); isOption && (cmd == nil || findFlag(cmd.Flags, option) == nil) || !isOption && !settings[name] {
				t.Errorf("%s's %s: there is no %s", f.tool, f.names[0], what)
			}
		}
	}
	for word, name := range likewise {
		if app.Command(name) == nil || app.Command(word) != nil {
			t.Errorf("%s is told to be `muster %s`", word, name)
		}
	}
	for name, words := range subcommands {
		if cmd := app.Command(name); cmd == nil || !slices.ContainsFunc(words, func(w string) bool { return strings.Contains(cmd.UsageText, w) }) {
			t.Errorf("the usage of %s says none of %q", name, words)
		}
	}
}

// TestReadByUnits: no option of a number or a time is read by anything but package units.
func TestReadByUnits(t *testing.T) {
	app := testApp()
	for _, cmd := range app.Commands {
		for _, f := range cmd.Flags {
			switch f.(type) {
			case *cli.StringFlag, *cli.StringSliceFlag, *cli.BoolFlag, *cli.GenericFlag:
			default:
				t.Errorf("%s --%s is a %T", cmd.Name, f.Names()[0], f)
			}
		}
	}
}
