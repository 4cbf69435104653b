package plan_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"muster/hpc"
	"muster/internal/config"
	"muster/internal/plan"
)

// TestSchedulers: those that a config may name are those that are spoken.
func TestSchedulers(t *testing.T) {
	for _, f := range config.Fields(plan.ClusterSettings{}) {
		if f.Name == "scheduler" && !slices.Equal(f.OneOf, hpc.Names()) {
			t.Errorf("a config may name %v, and there are %v", f.OneOf, hpc.Names())
		}
	}
}

// TestDefaults: a profile that is in no config has them too.
func TestDefaults(t *testing.T) {
	f, err := config.Parse("the command line", nil, plan.Schema())
	if err != nil {
		t.Fatal(err)
	}
	var s plan.ProfileSettings
	p := f.EmptyProfile("p")
	want := plan.ProfileSettings{Reattach: plan.DefaultReattach, Worker: plan.WorkerSettings{Cleanup: true}}
	if err := f.Evaluate(config.Options{}).Profile(p, &s); err != nil || !reflect.DeepEqual(s, want) || p.Has("reattach") {
		t.Errorf("%+v, %v", s, err)
	}
}

// check evaluates a launcher and returns what is wrong with it.
func check(e *config.Evaluation, f *config.File, l *config.Launcher) error {
	s := map[string]interface {
		Check(l *config.Launcher) []config.Diagnostic
	}{"cluster": &plan.ClusterSettings{}, "ssh": &plan.SSHSettings{}, "http": &plan.HTTPSettings{}, "command": &plan.CommandSettings{}}[l.Kind]
	if err := e.LauncherFor(l, config.Worker{}, s); err != nil {
		return err
	}
	return f.Errors(s.Check(l))
}

// TestFullExample has every setting that is implemented, and nothing wrong.
func TestFullExample(t *testing.T) {
	f, err := plan.Load("../../examples/full.hcl")
	if err != nil {
		t.Fatal(err)
	}
	e := f.Evaluate(config.Options{Exec: config.Leave, Getenv: func(string) (string, bool) { return "hidden", true }})
	for _, l := range f.Launchers {
		if err := check(e, f, l); err != nil {
			t.Error(err)
		}
	}
	for _, p := range f.Profiles {
		var s plan.ProfileSettings
		if err := e.Profile(p, &s); err != nil {
			t.Error(err)
		}
	}
	has := func(kind, setting string) bool {
		return slices.ContainsFunc(f.Launchers, func(l *config.Launcher) bool { return l.Kind == kind && l.Has(setting) })
	}
	for _, k := range plan.Schema().Kinds {
		for _, s := range config.Fields(k.Settings) {
			if s.Type != "block" && !has(k.Name, s.Name) {
				t.Errorf("no launcher of kind %s has %s", k.Name, s.Name)
			}
		}
	}
	for _, s := range config.Fields(plan.Schema().Profile) {
		if s.Type != "block" && !slices.ContainsFunc(f.Profiles, func(p *config.Profile) bool { return p.Has(s.Name) }) {
			t.Errorf("no profile has %s", s.Name)
		}
	}
}

// example is a setting's example as it stands in a config.
func example(s config.Field) string {
	line := s.Name + " = " + s.Example
	if s.Block != "" {
		line = s.Block + " {\n" + strings.TrimPrefix(line, s.Block+".") + "\n}"
	}
	return line
}

// TestExamplesOfSettings: each can be read as it stands on the page.
func TestExamplesOfSettings(t *testing.T) {
	for _, k := range plan.Schema().Kinds {
		for _, s := range config.Fields(k.Settings) {
			if s.Type == "block" {
				continue
			}
			src := "launcher \"ssh\" \"login\" {\n remotes = [\"h\"]\n}\nlauncher \"ssh\" \"gate\" {\n remotes = [\"h\"]\n}\nlauncher \"" + k.Name + "\" \"a\" {\n" + example(s) + "\n}"
			if _, err := config.Parse("f", []byte(src), plan.Schema()); err != nil {
				t.Error(err)
			}
		}
	}
	for _, s := range config.Fields(plan.ProfileSettings{}) {
		if s.Type == "block" {
			continue
		}
		f, err := config.Parse("f", []byte("launcher \"cluster\" \"slurm\" {}\nprofile \"p\" {\n"+example(s)+"\n}"), plan.Schema())
		if err != nil {
			t.Error(err)
			continue
		}
		var p plan.ProfileSettings
		if s.Block == "tls" {
			continue // its files are not here
		}
		if err := f.Evaluate(config.Options{}).Profile(f.Profiles[0], &p); err != nil {
			t.Error(err)
		}
	}
}

// TestMistakesTogether are those that one setting alone does not make.
func TestMistakesTogether(t *testing.T) {
	for src, wants := range map[string][]string{
		"cluster": {"muster.hcl:1:1: it does not say which scheduler", `hint: scheduler = "slurm", "pbs"`},
		"cluster\nscheduler = \"slurm\"\noptions = \"a\"\noptions_file = \"../../examples/full.hcl\"": {"muster.hcl:4:16: there are options and options_file", "hint: keep one of them"},
		"cluster\nscheduler = \"slurm\"\nbare = true":                                                 {"muster.hcl:3:8: bare is for the command of other people's workers", "hint: give worker_command too"},
		"cluster\nscheduler = \"slurm\"\npoll = \"0.5s\"":                                             {"muster.hcl:3:8: a scheduler is asked once a second at most"},
		"ssh":                           {"muster.hcl:1:1: it names no machine", `hint: remotes = ["ssh://user@host:22"]`},
		"ssh\nremotes = []":             {"muster.hcl:2:11: it names no machine"},
		"ssh\nremotes = concat([], [])": {"muster.hcl:2:11: it names no machine"},
		"ssh+\nclient = \"openshh\"":    {`muster.hcl:3:10: client is "openshh", and can be native, openssh`, `did you mean "openssh"?`},
		"ssh+\nworkdir = \"data\"\nmuster = \"./m\"": {`3:11: workdir is "data", which depends on where a login begins`, `4:10: muster is "./m"`, "hint: write a path from the root"},
		"ssh+\nworkdir = \"~/x\"":                    {`workdir is "~/x"`},
		"ssh+\nmuster = \"~/m\"":                     {`muster is "~/m", which depends on where a login begins`},
		"ssh+\nmuster = \"/a b\"":                    {`muster is "/a b", and " " cannot be in it`},
		"ssh+\nstate = \"s\"":                        {`3:9: state is "s", which depends on where a login begins: it starts with / or ~/ or $`, `hint: such as "/scratch/me/muster" or "$SCRATCH/muster"`},
		"ssh+\nstate = \"~bob/s\"":                   {`state is "~bob/s", which depends`},
		"ssh+\nstate = \"/a/~/b\"":                   {`"~" cannot be in it`},
		"ssh+\nstate = \"/$(id)\"":                   {`"(" cannot be in it`},
		"ssh+\nstate = \"/`id`\"":                    {"\"`\" cannot be in it"},
		"ssh+\nstate = \"/a'b\"":                     {`"'" cannot be in it`},
		"ssh+\nstate = \"/ü\"":                       {`"ü" cannot be in it`},
		"ssh+\nstate = \"/a\\nb\"":                   {`"\n" cannot be in it`},
		"ssh+\nbare = true":                          {"3:8: bare is for the command of other people's workers", "hint: give worker_command too"},
		"ssh+\nslots = -1":                           {"3:9: slots"},
	} {
		kind, settings, _ := strings.Cut(src, "\n")
		if kind == "ssh+" {
			kind, settings = "ssh", "remotes = [\"ssh://h\"]\n"+settings
		}
		f, err := config.Parse("muster.hcl", []byte("launcher \""+kind+"\" \"a\" {\n"+settings+"\n}"), plan.Schema())
		if err == nil {
			err = check(f.Evaluate(config.Options{}), f, f.Launchers[0])
		}
		for _, want := range wants {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s\nno %q in\n%v", src, want, err)
			}
		}
	}
	for _, state := range []string{"/", "~/s", "$HOME", "/$A/$B", "$SCRATCH/muster_1.2-x,+@:=%y"} {
		f, err := config.Parse("f", []byte("launcher \"ssh\" \"a\" {\nremotes = [\"ssh://h\"]\nstate = \""+state+"\"\n}"), plan.Schema())
		if err != nil {
			t.Fatal(err)
		}
		if err := check(f.Evaluate(config.Options{}), f, f.Launchers[0]); err != nil {
			t.Errorf("%s: %v", state, err)
		}
	}
	// What is not known, or only shown, is not wrong.
	f, err := config.Parse("f", []byte("launcher \"ssh\" \"a\" {\nremotes = [exec([\"x\"])]\nstate = exec([\"x\"])\nworkdir = exec([\"x\"])\nmuster = env(\"HOME\")\nbare = true\nworker_command = exec([\"x\"])\n}"), plan.Schema())
	if err != nil {
		t.Fatal(err)
	}
	for _, policy := range []config.ExecPolicy{config.Leave, config.Placeholder} {
		if err := check(f.Evaluate(config.Options{Exec: policy, Redact: true}), f, f.Launchers[0]); err != nil {
			t.Errorf("policy %d: %v", policy, err)
		}
	}
}

// TestHTTPMistakesTogether are those of launchers of kind http, each where it stands.
func TestHTTPMistakesTogether(t *testing.T) {
	const own, slurm = "url = \"https://h/x\"\n", "preset = \"slurmrestd\"\nurl = \"unix:/s\"\n"
	for src, wants := range map[string][]string{
		own:                                               {"nothing in the request stands for the worker that is to be started", "hint: data = jsonencode({ command = worker.command }), or %s in data"},
		own + `data = "x%%s"`:                             {"3:8: nothing in the request stands for the worker"},
		"url = \"ftp://h\"\ndata = \"%s\"":                {"2:7: this is no URL of a service", "hint: it is written https://HOST/PATH"},
		own + "data = \"%s\"\ncluster = \"c\"":            {"4:11: cluster is no setting of a service of your own", "hint: it is for preset posit-workbench"},
		own + "data = \"%s\"\narray = \"1-2\"":            {"4:9: array is no setting of a service of your own", "hint: it is for preset slurmrestd"},
		own + "data = \"%s\"\njoin = \"env\"":             {"4:8: join is env, and the request does not speak of worker.join"},
		own + "data = \"%s\"\nbare = true":                {"4:8: bare is for the command of other people's workers", "hint: give worker_command too"},
		own + "data = \"%s\"\npoll = \"0.5s\"":            {"4:8: a service is asked once a second at most"},
		own + "data = \"%s\"\ntimeout = \"0s\"":           {"4:11: a service needs some time to answer"},
		own + "data = \"%s\"\nworkdir = \"here\"":         {`4:11: workdir is "here", which depends on where a job begins`},
		own + "data = \"%s\"\nmuster = worker.name":       {"4:10: muster cannot speak of the worker"},
		own + "data = \"%s\"\nstatus {\nstate = \"x\"\n}": {"it does not say where the service is asked"},
		own + "data = \"%s\"\ncancel {\ndata = \"x\"\n}":  {"it does not say where the service is told"},
		own + "preset = \"posit\"":                        {`preset is "posit", and can be posit-workbench, slurmrestd`, `hint: preset = "posit-workbench"`},
		"data = \"%s\"":                                   {"2:8: data is no setting of preset posit-workbench", "hint: it is for a service of your own, with a url and without a preset"},
		"preset = \"posit-workbench\"\nqueue = \"q\"":     {"3:9: queue is no setting of preset posit-workbench"},
		"preset = \"slurmrestd\"":                         {"it does not say where slurmrestd is", `hint: url = "http://HOST:6820", or "unix:/PATH"`},
		"preset = \"slurmrestd\"\nurl = \"unix:s\"":       {"3:7: the path of a socket starts with /"},
		"preset = \"slurmrestd\"\nurl = \"h:6820\"":       {"3:7: this is no URL of slurmrestd"},
		slurm + "bare = true\nworker_command = \"x\"":     {"4:8: R mirai does not speak to slurmrestd"},
		slurm + "walltime = \"30s\"":                      {"4:12: Slurm counts whole minutes"},
		slurm + "environment = [\"PATH\", \"=x\"]":        {`4:15: "PATH" is no NAME=VALUE`, `"=x" is no NAME=VALUE`},
		slurm + "job = [1]":                               {"4:7: it is an object by Slurm's own names", `hint: job = { constraint = "ib" }`},
		slurm + "job = { name = \"n\", array = \"1-2\" }": {"4:7: muster has to know the job's array, and job hides it", "hint: the launcher's job_name sets it"},
		slurm + "job = { script = \"s\" }":                {"hint: the launcher's setup sets it"},
		slurm + "id = answer.json.id":                     {"4:6: id is no setting of preset slurmrestd"},
	} {
		f, err := config.Parse("muster.hcl", []byte("launcher \"http\" \"a\" {\n"+src+"\n}"), plan.Schema())
		if err == nil {
			err = check(f.Evaluate(config.Options{}), f, f.Launchers[0])
		}
		for _, want := range wants {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s\nno %q in\n%v", src, want, err)
			}
		}
	}
	// What is not known, or only shown, is not wrong.
	for _, src := range []string{
		"", own + "data = exec([\"x\"])", "url = exec([\"x\"])\ndata = \"%s\"", "url = \"https://h/${worker.name}\"",
		slurm + "job = jsondecode(exec([\"x\"]))\nenvironment = [exec([\"x\"])]", slurm + "job = { qos = env(\"HOME\") }", "preset = \"slurmrestd\"\nurl = exec([\"x\"])",
	} {
		f, err := config.Parse("f", []byte("launcher \"http\" \"a\" {\n"+src+"\n}"), plan.Schema())
		if err != nil {
			t.Fatal(err)
		}
		if err := check(f.Evaluate(config.Options{Exec: config.Placeholder, Redact: true}), f, f.Launchers[0]); err != nil {
			t.Errorf("%s\n%v", src, err)
		}
	}
}

// lacking are settings without the lines of one of them.
func lacking(settings, name string) string {
	var b strings.Builder
	for line := range strings.Lines(settings) {
		if !strings.HasPrefix(line, name+" ") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// TestMistakesShowNoSecrets: a mistake in a value that comes from outside is told
// without it, whoever finds it.
func TestMistakesShowNoSecrets(t *testing.T) {
	const secret = "s3cr3t \"x'#,/\u00e9"
	getenv := func(string) (string, bool) { return secret, true }
	told := 0
	try := func(kind, settings, line string) {
		f := parse(t, kind, settings+line)
		e := f.Evaluate(config.Options{Getenv: getenv})
		d, err := plan.New(e, f, f.Launchers[0], once)
		if err == nil {
			_, err = d.Pasted("muster")
		}
		if err == nil {
			return
		}
		withheld := strings.Contains(err.Error(), "[redacted]") || strings.Contains(err.Error(), "not shown")
		if withheld {
			told++
		}
		// Those of the other kinds may be about where a setting stands, whatever its value.
		if strings.Contains(err.Error(), "s3cr3t") || !withheld && (kind == "cluster" || kind == "ssh") {
			t.Errorf("%s %s: %v", settings, line, err)
		}
	}
	for _, k := range plan.Schema().Kinds {
		for _, f := range config.Fields(k.Settings) {
			value := map[string]string{"list of strings": `[env("X")]`, "launcher": "launcher.ssh.outer"}[f.Type]
			if value == "" {
				value = `env("X")`
			}
			f.Example = value
			line := example(f)
			switch {
			case f.Type == "block":
			case k.Name == "http":
				for _, settings := range []string{"url = \"https://h/\"\ndata = \"%s\"\n", "preset = \"posit-workbench\"\n", "preset = \"slurmrestd\"\nurl = \"unix:/s\"\n"} {
					try(k.Name, lacking(settings, f.Name), line)
				}
			case k.Name == "command":
				try(k.Name, lacking("command = \"a\"\n", f.Name), line)
			case k.Name == "ssh":
				try(k.Name, map[bool]string{true: "", false: "remotes = [\"ssh://a\"]\n"}[f.Name == "remotes"], line)
			default:
				for _, scheduler := range hpc.Names() {
					try(k.Name, map[bool]string{true: "", false: "scheduler = \"" + scheduler + "\"\n"}[f.Name == "scheduler"], line)
				}
			}
		}
	}
	for _, option := range []string{"#$ -tc ", "#$ -t "} {
		try("cluster", "scheduler = \"sge\"\n", "options = \""+option+"${env(\"X\")}\"")
	}
	try("cluster", "scheduler = \"slurm\"\n", `queue = "${env("X")}${worker.index}"`)
	try("cluster", "scheduler = \"slurm\"\n", `name = host_url({ interface = env("X") })[0]`)
	if told < 50 {
		t.Errorf("only %d mistakes were told", told)
	}
}
