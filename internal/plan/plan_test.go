package plan_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"muster/hpc"
	"muster/internal/config"
	"muster/internal/plan"
)

// machines are what the launchers of the tests are reached through, or are.
const machines = `
launcher "ssh" "outer" {
  remotes = ["ssh://me@outer:2222"]
}
launcher "ssh" "middle" {
  remotes = ["ssh://middle"]
  via     = launcher.ssh.outer
}
launcher "ssh" "two" {
  remotes = ["ssh://one", "ssh://two"]
}
`

// once is a wish for what is configured, one time.
var once = plan.Wish{Times: 1}

// parse reads a config whose first launcher has settings; it lies in a folder of its
// own.
func parse(t testing.TB, kind, settings string) *config.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "muster.hcl")
	f, err := config.Parse(path, []byte("launcher \""+kind+"\" \"l\" {\n"+settings+"\n}\n"+machines), plan.Schema())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// draftOf drafts the first launcher of a file.
func draftOf(f *config.File, w plan.Wish) (*plan.Draft, error) {
	return plan.New(f.Evaluate(config.Options{}), f, f.Launchers[0], w)
}

func draft(t testing.TB, kind, settings string, w plan.Wish) *plan.Draft {
	t.Helper()
	d, err := draftOf(parse(t, kind, settings), w)
	if err != nil {
		t.Fatalf("%s\n%v", settings, err)
	}
	return d
}

// minted are names as a dispatcher makes them.
func minted(d *plan.Draft) []plan.Names {
	var list []plan.Names
	for i := range d.Kind.Places() {
		list = append(list, plan.Names{Launch: fmt.Sprintf("l-word%02d", i), Unique: fmt.Sprintf("word%02d", i), JoinFile: fmt.Sprintf("/run/%d.join", i), Output: "/run/out",
			Muster: "/bin/muster", URL: "tls+tcp://10.0.0.1:5", Port: "5"})
	}
	return list
}

func named(t testing.TB, d *plan.Draft) *plan.Plan {
	t.Helper()
	p, err := d.Named(minted(d))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// scripts are what is submitted.
func scripts(t testing.TB, p *plan.Plan) []string {
	t.Helper()
	list, err := p.Submissions()
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, s := range list {
		texts = append(texts, s.Script)
	}
	return texts
}

func TestWhose(t *testing.T) {
	for command, want := range map[string]plan.Whose{
		"": plan.Own, `"dask worker"`: plan.Foreign, `"dask ${worker.url}"`: plan.Foreign, `"x ${worker.index}"`: plan.Foreign, `"x ${worker.command}"`: plan.Wrapped,
		`join(" ", worker.argv)`: plan.Wrapped, `"x --join-file ${worker.join_file}"`: plan.Wrapped, `jsonencode(worker)`: plan.Wrapped, `worker["command"]`: plan.Wrapped,
	} {
		for kind, settings := range map[string]string{"cluster": `scheduler = "slurm"`, "ssh": `remotes = ["ssh://h"]`} {
			if command != "" {
				settings += "\nworker_command = " + command
			}
			if d := draft(t, kind, settings, once); d.Whose != want {
				t.Errorf("%s: %s starts workers of %d, want %d", kind, command, d.Whose, want)
			}
		}
	}
	// Whose the workers are does not depend on what else speaks of one.
	if d := draft(t, "cluster", "scheduler = \"slurm\"\nsetup = [worker.command]", once); d.Whose != plan.Own {
		t.Error(d.Whose)
	}
}

// arrays are those of the submissions, as their scripts have them; "" of a plain job.
func arrays(t *testing.T, p *plan.Plan) []string {
	t.Helper()
	var list []string
	for _, s := range scripts(t, p) {
		text := ""
		for line := range strings.Lines(s) {
			for _, option := range []string{"#SBATCH --array=", "#SBATCH -a ", "#PBS -J ", "#PBS -t "} {
				if rest, ok := strings.CutPrefix(strings.TrimSpace(line), option); ok {
					text = rest
				}
			}
		}
		list = append(list, text)
	}
	return list
}

// TestTimes: how many submissions there are of which array, in the scripts, and by the
// same numbers in the plan.
func TestTimes(t *testing.T) {
	const slurm, pbs, torque = `scheduler = "slurm"`, `scheduler = "pbs"`, `scheduler = "torque"`
	const raw = "\noptions = <<-EOT\n  #SBATCH --qos=x\n  #SBATCH --array=2-8:2%3\nEOT"
	const bare = "\nbare = true\nworker_command = \"x\""
	file := filepath.Join(t.TempDir(), "options")
	if err := os.WriteFile(file, []byte("#SBATCH --qos=x\n#SBATCH -a 1-4\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	three := []string{"", "", ""}
	for _, c := range []struct {
		settings string
		wish     plan.Wish
		want     []string
	}{
		{slurm, plan.Wish{Times: plan.AsArray}, nil},
		{slurm + "\narray = \"1-9%2\"", plan.Wish{Times: plan.AsArray}, []string{"1-9%2"}},
		{slurm + "\narray = 7", plan.Wish{Times: plan.AsArray}, []string{"7"}},
		{slurm + raw, plan.Wish{Times: plan.AsArray}, []string{"2-8:2%3"}},
		{slurm + "\noptions_file = \"" + file + "\"", plan.Wish{Times: plan.AsArray}, []string{"1-4"}},
		{slurm + "\noptions_file = \"" + file + "\"", plan.Wish{Times: 2}, []string{"1-4", "1-4"}},
		{slurm, plan.Wish{}, nil},
		{slurm, plan.Wish{Times: 1}, []string{""}},
		{slurm, plan.Wish{Times: 3}, three},
		{slurm + "\narray = \"1-9\"", plan.Wish{}, nil},
		{slurm + "\narray = \"1-9\"", plan.Wish{Times: 3}, []string{"1-9", "1-9", "1-9"}},
		{slurm + raw, plan.Wish{Times: 3, Workers: 5}, []string{"2-10:2%3"}},
		{slurm + "\narray = \"0-9:3%2\"", plan.Wish{Workers: 2}, []string{"0-3:3%2"}},
		{slurm + "\narray = \"1,5,7%2\"", plan.Wish{Workers: 4}, []string{"1-4%2"}},
		{slurm, plan.Wish{Times: 3, Workers: 2}, []string{"1-2"}},
		{slurm, plan.Wish{Workers: 1}, []string{""}},
		{slurm + "\narray = \"1-9%2\"", plan.Wish{Workers: 1}, []string{"1%2"}},
		{pbs + "\narray = \"1-9\"", plan.Wish{Workers: 1}, []string{""}},
		{pbs + "\narray = \"4\"", plan.Wish{Times: plan.AsArray}, []string{""}},
		{pbs + "\narray = \"4\"", plan.Wish{Times: 3}, three},
		{pbs + "\narray = \"1-2\"", plan.Wish{Times: 1}, []string{"1-2"}},
		{torque + "\narray = \"4\"", plan.Wish{Times: 1}, []string{"4"}},
		{slurm + bare, plan.Wish{Times: plan.AsArray}, nil},
		{slurm + bare, plan.Wish{Times: 3}, three},
		{slurm + bare, plan.Wish{Workers: 3}, three},
		{slurm + bare, plan.Wish{Workers: 1}, []string{""}},
		{slurm + bare + raw, plan.Wish{Times: plan.AsArray}, []string{"2-8:2%3"}},
		{slurm + bare + raw, plan.Wish{Workers: 2}, []string{"2-8:2%3", "2-8:2%3"}},
	} {
		d := draft(t, "cluster", c.settings, c.wish)
		p := named(t, d)
		if got := arrays(t, p); !slices.Equal(got, c.want) {
			t.Errorf("%s, %+v: the scripts have the arrays %q, want %q", c.settings, c.wish, got, c.want)
		}
		workers := 0
		for i, text := range c.want {
			part := p.Kind.Parts()[i]
			want := plan.Part{Indices: []int{0}}
			if text != "" {
				a, err := hpc.ParseArray(text)
				if err != nil {
					t.Fatal(err)
				}
				want = plan.Part{Indices: a.Expand(), Array: true}
			}
			if workers += len(want.Indices); !reflect.DeepEqual(part, want) {
				t.Errorf("%s, %+v: part %d is %+v, want %+v", c.settings, c.wish, i, part, want)
			}
		}
		if len(p.Kind.Parts()) != len(c.want) || p.Workers() != workers || d.Workers() != workers {
			t.Errorf("%s, %+v: %d parts of %d workers, drafted %d, want %d of %d", c.settings, c.wish, len(p.Kind.Parts()), p.Workers(), d.Workers(), len(c.want), workers)
		}
	}
}

// TestSized: whoever wants other workers than a draft has gets them, whatever it had.
func TestSized(t *testing.T) {
	for _, c := range []struct {
		kind, settings string
		n, want, parts int
	}{
		{"cluster", `scheduler = "slurm"`, 1, 1, 1},
		{"cluster", `scheduler = "slurm"`, 4, 4, 1},
		{"cluster", "scheduler = \"slurm\"\narray = \"1-100%5\"", 4, 4, 1},
		{"cluster", "scheduler = \"slurm\"\nbare = true\nworker_command = \"x\"", 4, 4, 4},
		{"ssh", `remotes = ["ssh://a", "ssh://b"]`, 3, 6, 2},
		{"ssh", "remotes = [\"ssh://a\"]\nworker_command = \"x ${worker.index}\"", 3, 3, 1},
		{"ssh", "remotes = [\"ssh://a\"]\nbare = true\nworker_command = \"x\"", 3, 3, 1},
	} {
		for _, times := range []plan.Times{plan.AsArray, 0, 2} {
			d := draft(t, c.kind, c.settings, plan.Wish{Times: times})
			sized, err := d.Sized(c.n)
			if err != nil {
				t.Fatal(err)
			}
			if p := named(t, sized); p.Workers() != c.want || len(p.Kind.Parts()) != c.parts {
				t.Errorf("%s for %d, of %d times: %d workers in %d parts, want %d in %d", c.settings, c.n, times, p.Workers(), len(p.Kind.Parts()), c.want, c.parts)
			}
		}
	}
}

// TestTooManyWorkers are refused before anything is made for each of them.
func TestTooManyWorkers(t *testing.T) {
	const many = 1 << 30
	for settings, wishes := range map[string][]plan.Wish{
		"cluster\nscheduler = \"slurm\"":                                           {{Workers: many}, {Times: many}},
		"cluster\nscheduler = \"slurm\"\narray = \"1-2000\"":                       {{Workers: many}, {Times: 1000}},
		"cluster\nscheduler = \"slurm\"\nbare = true\nworker_command = \"x\"":      {{Workers: many}, {Times: many}},
		"ssh\nremotes = [\"ssh://a\", \"ssh://b\"]\nworker_command = worker.index": {{Workers: many}, {Times: plan.MaxWorkers/2 + 1}},
	} {
		kind, settings, _ := strings.Cut(settings, "\n")
		for _, w := range wishes {
			if _, err := draftOf(parse(t, kind, settings), w); err == nil || !strings.Contains(err.Error(), "and a launch can have 1000000 at most") {
				t.Errorf("%s, %+v: %v", settings, w, err)
			}
		}
	}
}

// TestStrangeNames: what is shown of a job whose name its scheduler takes is not
// refused for what stands for the run's folder.
func TestStrangeNames(t *testing.T) {
	for _, name := range []string{`a\\b`, "a/b", "a b", "a%b", `a\"b`} {
		d := draft(t, "cluster", "scheduler = \"slurm\"\nname = \""+name+"\"", once)
		p, err := d.Pasted("muster")
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if s := scripts(t, p)[0]; !strings.Contains(s, "--output=RUN_DIR/l/out\n") {
			t.Errorf("%s is shown as\n%s", name, s)
		}
	}
}

// TestLife: a worker lives no longer than it is wished, however it is started.
func TestLife(t *testing.T) {
	wrapped := "\nworker_command = \"nice ${worker.command}\""
	for _, c := range []struct {
		kind, settings string
		life           time.Duration
		want           []string
	}{
		{"cluster", "scheduler = \"slurm\"\nwalltime = \"4h\"", 0, []string{"--time=4:00:00\n", "--signal=B:USR1@60\n", "--walltime 1h0m0s"}},
		{"cluster", "scheduler = \"slurm\"\nwalltime = \"4h\"", time.Minute, []string{"--time=0:01:00\n", "--signal=B:USR1@6\n", "--walltime 1m0s"}},
		{"cluster", "scheduler = \"slurm\"", time.Minute, []string{"--time=0:01:00\n", "--walltime 1m0s"}},
		{"cluster", "scheduler = \"slurm\"\nwalltime = \"30s\"", time.Minute, []string{"--time=0:00:30\n", "--walltime 30s"}},
		{"cluster", "scheduler = \"slurm\"\nwalltime = \"4h\"" + wrapped, time.Minute, []string{"--time=0:01:00\n", "nice ", "--walltime 1m0s"}},
		{"ssh", `remotes = ["ssh://a"]`, 0, []string{"--walltime 1h0m0s"}},
		{"ssh", `remotes = ["ssh://a"]`, time.Minute, []string{"--walltime 1m0s"}},
		{"ssh", `remotes = ["ssh://a"]` + wrapped, time.Minute, []string{"nice ", "--walltime 1m0s"}},
	} {
		p := named(t, draft(t, c.kind, c.settings, plan.Wish{Workers: 1, Walltime: time.Hour, Life: c.life}))
		text := ""
		if k, is := p.Kind.(*plan.SSH); is {
			text = strings.Join(k.Argv(p, 0, 1), " ")
		} else {
			text = strings.Join(scripts(t, p), "\n")
		}
		for _, want := range c.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s, %s, to live for %s: no %q in\n%s", c.kind, c.settings, c.life, want, text)
			}
		}
	}
}

// TestDigest: the same config has the same digest, and each setting counts.
func TestDigest(t *testing.T) {
	seen := map[string]string{}
	for _, c := range [][2]string{
		{"cluster", `scheduler = "slurm"`}, {"cluster", `scheduler = "lsf"`}, {"cluster", "scheduler = \"slurm\"\ncommand = \"sbatch -x\""},
		{"cluster", "scheduler = \"slurm\"\nsetup = [\"a\"]"}, {"cluster", "scheduler = \"slurm\"\nslots = 3"}, {"cluster", "scheduler = \"slurm\"\npoll = \"20s\""},
		{"cluster", "scheduler = \"slurm\"\njoin = \"script\""}, {"cluster", "scheduler = \"slurm\"\nvia = launcher.ssh.outer"},
		{"cluster", "scheduler = \"slurm\"\nworker_command = \"a ${worker.command}\""}, {"cluster", "scheduler = \"slurm\"\nworker_command = \"b ${worker.command}\""},
		{"cluster", "scheduler = \"slurm\"\nsetup = [worker.index]"}, {"cluster", "scheduler = \"slurm\"\nsetup = [\"\", worker.index]"},
		{"ssh", `remotes = ["ssh://a"]`}, {"ssh", `remotes = ["ssh://b"]`}, {"ssh", "remotes = [\"ssh://a\"]\ntunnel = true"}, {"ssh", "remotes = [\"ssh://a\"]\nclient = \"openssh\""},
		{"ssh", "remotes = [\"ssh://a\"]\nworker_command = \"a ${worker.url}\""}, {"ssh", "remotes = [\"ssh://a\"]\nworker_command = \"b ${worker.url}\""},
	} {
		d := draft(t, c[0], c[1], once)
		digest := plan.Digest([]*plan.Draft{d})
		for _, some := range []*plan.Draft{d, draft(t, c[0], c[1], plan.Wish{Times: plan.AsArray})} {
			one := plan.Digest([]*plan.Draft{some})
			if other := seen[one]; other != "" {
				t.Errorf("%s\nand\n%s\nhave the digest %s", other, c[1], one)
			}
			seen[one] = c[1]
		}
		again := draft(t, c[0], c[1], once)
		if plan.Digest([]*plan.Draft{again}) != digest {
			t.Errorf("%s\nhas another digest each time", c[1])
		}
		named(t, d)
		if plan.Digest([]*plan.Draft{d}) != digest {
			t.Errorf("%s\nhas another digest with names", c[1])
		}
		if plan.Digest([]*plan.Draft{d, again}) == digest {
			t.Errorf("%s\ntwice has the digest of one", c[1])
		}
	}
}

// TestPlansNeedNames: a draft, and a plan with too few names, is refused and does no
// harm.
func TestPlansNeedNames(t *testing.T) {
	for kind, settings := range map[string]string{"cluster": `scheduler = "slurm"`, "ssh": `remotes = ["ssh://a", "ssh://b"]`} {
		d := draft(t, kind, settings, once)
		if _, err := d.Submissions(); err == nil || !strings.Contains(err.Error(), "launcher l: 0 names for ") {
			t.Errorf("%s: %v", kind, err)
		}
		if _, err := d.Named(make([]plan.Names, 3)); err == nil || !strings.Contains(err.Error(), "launcher l: 3 names for ") {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// TestRoundTrip: a plan that was sent asks for the same.
func TestRoundTrip(t *testing.T) {
	for _, c := range [][2]string{
		{"cluster", "scheduler = \"pbs\"\narray = \"1-4\"\nsetup = [worker.index]\njoin = \"script\""},
		{"cluster", "scheduler = \"torque\"\nvia = launcher.ssh.middle\nworker_command = \"x ${worker.command}\""},
		{"cluster", "scheduler = \"slurm\"\nbare = true\nworker_command = \"x\""},
		{"ssh", `remotes = ["ssh://a", "ssh://b"]`},
		{"ssh", "remotes = [\"ssh://a\", \"ssh://b\"]\nworker_command = \"x ${worker.index}\"\nbare = true"},
		{"ssh", "remotes = [\"ssh://a\"]\nworker_command = \"x ${worker.command}\"\ntunnel = true"},
	} {
		p := named(t, draft(t, c[0], c[1], plan.Wish{Times: 2, Options: plan.WorkerOptions{MaxTasks: 3}}))
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		q := &plan.Plan{}
		if err := json.Unmarshal(b, q); err != nil {
			t.Fatal(err)
		}
		want, err1 := p.Submissions()
		got, err2 := q.Submissions()
		if err := errors.Join(err1, err2); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s\n%v: %+v\nwant %+v", c[1], err, got, want)
		}
	}
}
