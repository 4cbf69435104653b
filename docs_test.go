package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"muster/internal/shell"
	"muster/internal/testbed"
)

// fence is a fenced block of shell with the block of output that may follow it, or
// one of console, which has commands behind "$ " with all that a reader sees of each.
var fence = regexp.MustCompile("(?s)```(sh|console)\n(.*?)```\n(?:\n```text\n(.*?)```\n)?")

// TestDocs runs every shell and console block of the documentation as its reader
// would, those of a page in one folder one after another, and compares what it prints
// with the text that is shown. There a line of "..." stands for any lines, and "..."
// in a line for any part of it.
func TestDocs(t *testing.T) {
	dir := t.TempDir()
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	pages = append(pages, "README.md")
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.NewReplacer("/", "-", ".md", "").Replace(page)
		if page == "README.md" {
			for where, script := range quickstarts(string(text)) {
				if err := os.WriteFile(filepath.Join(dir, name+"-"+where+".txtar"), []byte(script), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			continue
		}
		if page == "docs/clusters.md" {
			// The same page on both schedulers that can be had here.
			for scheduler, boot := range map[string]string{"slurm": "slurm 3 4", "sge": "sge 4"} {
				script := docScript(page, string(text))
				if scheduler == "sge" {
					script = inGridEngine.Replace(script)
				}
				script = "[!boots:" + scheduler + "] skip 'needs " + scheduler + ", see test.sh'\n" + boot + "\n" + script
				if err := os.WriteFile(filepath.Join(dir, name+"-"+scheduler+".txtar"), []byte(script), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			continue
		}
		script := docScript(page, string(text))
		if page == "docs/ssh.md" {
			script = laptop + strings.ReplaceAll(script, "exec sh -eu", "exec in-laptop sh -eu")
		}
		if page == "docs/seeds.md" {
			script = "[!have:Rscript] skip 'needs R: apt-get install --no-install-recommends r-base-core'\n" + script
		}
		if page == "docs/http.md" {
			own, err := user.Current()
			if err != nil {
				t.Fatal(err)
			}
			script = servers + "env USER=" + own.Username + "\n" + script
		}
		if script != "" {
			if err := os.WriteFile(filepath.Join(dir, name+".txtar"), []byte(script), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	p := scriptParams()
	p.Dir = dir
	testscript.Run(t, p)
}

// inGridEngine are Grid Engine's words for what the page on clusters shows of Slurm.
var inGridEngine = strings.NewReplacer("slurm", "sge", "sbatch --parsable", "qsub -terse", "#SBATCH --array=", "#$ -t ")

// laptop begins the script of the page on SSH: its reader sits at a laptop, with
// a login on a cluster's login node.
const laptop = `[!boots:network] skip 'needs root, and: apt-get install --no-install-recommends iproute2 nftables'
[!boots:sshd] skip 'needs: apt-get install --no-install-recommends openssh-server openssh-client sshpass gcc tcsh'
[!boots:slurm] skip 'needs Slurm: apt-get install --no-install-recommends slurmctld slurmd slurm-client munge'
network 2
user me pass
slurmnet 2
sshd login.example.org login 22
mkdir $HOME/.ssh
exec sh -c 'cp $SSHD_LOGIN_EXAMPLE_ORG/ssh_config $HOME/.ssh/config'
`

// servers begins the script of the page on HTTP: what its reader calls
// api.example.org and slurm.example.org, and a session of Posit Workbench.
const servers = `[!boots:slurmrestd] skip 'needs slurmrestd, see test.sh'
slurm 2 2 rest
service start https
workbench start
env MY_API_KEY=$SERVICE_TOKEN
env SLURM_JWT=$SLURMREST_TOKEN
exec sh -c 'cp $SERVICE_CA ca.pem; sed -i "s,https://api.example.org,$SERVICE_URL,; s,http://slurm.example.org:6820,$SLURMREST_URL," block* want*'
`

// quickstarts makes a script of each section of the README that is run. Each is for a
// place of its own. Names are short, since the sockets of Slurm lie below them.
func quickstarts(readme string) map[string]string {
	sections := map[string]struct{ name, prelude string }{
		"Five lines here":                      {"here", ""},
		"Five lines on a cluster's login node": {"login-node", "[!boots:slurm] skip 'needs slurm, see test.sh'\nslurm 2 2\n"},
		"Five lines from a laptop":             {"laptop", laptop},
		"A table, and only what failed again":  {"table", ""},
		"A session":                            {"session", ""},
	}
	scripts := map[string]string{}
	for _, section := range strings.Split(readme, "\n## ")[1:] {
		title, text, _ := strings.Cut(section, "\n")
		s, run := sections[title]
		if !run {
			continue
		}
		script := docScript("README.md", text)
		if s.prelude == laptop {
			script = strings.ReplaceAll(script, "exec sh -eu", "exec in-laptop sh -eu")
		}
		scripts[s.name] = s.prelude + script
	}
	return scripts
}

// TestQuickstarts: the README has five, and no other block that is run.
func TestQuickstarts(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if n, all := len(quickstarts(string(readme))), len(fence.FindAllString(string(readme), -1)); n != 5 || all != n+1 {
		t.Errorf("%d quickstarts, %d blocks, one of which runs the tests", n, all)
	}
}

// docScript makes a script of a page. The page on workers needs a task.
func docScript(page, text string) string {
	var steps, files strings.Builder
	for i, m := range fence.FindAllStringSubmatch(text, -1) {
		kind, block, want := m[1], m[2], m[3]
		if strings.TrimSpace(block) == "./test.sh" {
			continue
		}
		if kind == "console" {
			block, want = transcript(block), block
		}
		fmt.Fprintf(&files, "-- block%d.sh --\n%s-- want%d --\n%s", i, block, i, want)
		fmt.Fprintf(&steps, "exec sh -eu block%d.sh\nshows want%d\n", i, i)
	}
	if page == "docs/workers.md" {
		files.WriteString("-- task --\n#!/bin/sh\nif test $1 = a; then while ! test -e b; do :; done; else touch b; fi\necho $1 was here\n")
		return "exec chmod +x task\n" + steps.String() + files.String()
	}
	if steps.Len() == 0 {
		return ""
	}
	return steps.String() + files.String()
}

// transcript is the script that prints a console block anew: each command behind its
// prompt, and then what it writes to stdout and stderr. A command finds in $? how the one
// before it ended.
func transcript(block string) string {
	var script strings.Builder
	script.WriteString("set +e\nexec 2>&1\n")
	for i, line := range strings.Split(block, "\n") {
		command, begins := strings.CutPrefix(line, "$ ")
		more, goesOn := strings.CutPrefix(line, "> ")
		switch {
		case begins:
			shown := []string{line}
			for _, next := range strings.Split(block, "\n")[i+1:] {
				if !strings.HasPrefix(next, "> ") {
					break
				}
				shown = append(shown, next)
			}
			fmt.Fprintf(&script, "ended=$?\nprintf '%%s\\n' %s\n(exit $ended)\n%s\n", shell.Quote(strings.Join(shown, "\n")), command)
		case goesOn:
			script.WriteString(more + "\n")
		}
	}
	script.WriteString("exit 0\n")
	return script.String()
}

// cmdShows checks that the last command's output is what a page shows.
func cmdShows(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: shows FILE")
	}
	got, want := ts.ReadFile("stdout"), ts.ReadFile(args[0])
	if !shownAs(want).MatchString(got) {
		ts.Fatalf("the page shows\n%s\nand what a reader sees is\n%s", want, got)
	}
}

// shownAs is what output may be of which a page shows text.
func shownAs(text string) *regexp.Regexp {
	var re strings.Builder
	re.WriteString(`\A`)
	for line := range strings.Lines(text) {
		if line == "...\n" {
			re.WriteString(`(?:.*\n)*`)
			continue
		}
		re.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line), `\.\.\.`, `.*`))
	}
	return regexp.MustCompile(re.String() + `\z`)
}

func TestShownAs(t *testing.T) {
	for _, c := range []struct {
		text, output string
		want         bool
	}{
		{"a\n", "a\n", true},
		{"a\n", "a\nb\n", false},
		{"a\n", "b\na\n", false},
		{"", "a\n", false},
		{"job ... of .\n", "job 12 of .\n", true},
		{"job ... of .\n", "job 12 of x\n", false},
		{"job ... of 3\n", "job\n12 of 3\n", false},
		{"a\n...\nc\n", "a\nb\nb\nc\n", true},
		{"a\n...\nc\n", "a\nc\n", true},
		{"a\n...\nc\n", "a\nb\n", false},
	} {
		if got := shownAs(c.text).MatchString(c.output); got != c.want {
			t.Errorf("%q shown as %q: %v", c.output, c.text, got)
		}
	}
}

// TestBench runs what bench/README.md names, on less.
func TestBench(t *testing.T) {
	if _, err := exec.LookPath("parallel"); err != nil && os.Getenv("CI") == "" {
		t.Skip("GNU parallel is not installed: apt-get install parallel")
	}
	out, err := exec.Command("go", "run", "./bench", "-tasks", "50", "-rounds", "1").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"xargs", "parallel", "MiB"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("it says nothing of %s:\n%s", want, out)
		}
	}
	out, err = exec.Command("go", "run", "./bench", "-session", "-tasks", "100", "-workers", "3").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "1000 clients waiting: ") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestBenchConnected runs the part of it that has thousands of workers, with fewer.
func TestBenchConnected(t *testing.T) {
	out, err := exec.Command("go", "run", "./bench", "-connected", "50", "-rounds", "1").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{`50 workers of one dispatcher,`, `joins +\d+ a second,`, `memory +[0-9.]+ KiB`, `no-op tasks +\d+ a second; at least [1-9]`} {
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("it says nothing like %s:\n%s", want, out)
		}
	}
}

// TestBenchTunnel runs the part of it that needs a network, on less.
func TestBenchTunnel(t *testing.T) {
	if missing := testbed.Missing("ip", "nft", "nsenter", "sshd", "ssh", "ssh-keygen"); missing != "" && os.Getenv("CI") == "" {
		t.Skip("needs " + missing)
	}
	out, err := exec.Command("go", "run", "./bench", "-tunnel", "-tasks", "16", "-rtt", "4ms", "-megabytes", "2", "-rounds", "1").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{`16 × sleep 0\.1, 8 slots, round trip 4ms,`, `tunnel +[0-9.]+ tasks/s +[0-9.]+ of it`, `sftp +[0-9.]+ MB/s`, `tunnel +[0-9.]+ MB/s +[0-9.]+ of it`} {
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("it says nothing like %s:\n%s", want, out)
		}
	}
}

// TestCommandOfTheTests: CI runs the block of shell of the README, which is what
// a reader is told to run.
func TestCommandOfTheTests(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	ci, err := os.ReadFile(".ci/run")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(readme), "```sh\n")
	if block, _, _ = strings.Cut(block, "```"); block == "" || !strings.HasSuffix(string(ci), "\nexec "+block) {
		t.Errorf("CI does not run the README's block of shell:\n%s", ci)
	}
}

// TestScriptsOfTheManual: the page for users of mirai names scripts that exist,
// and every script of the manual is named there.
func TestScriptsOfTheManual(t *testing.T) {
	text, err := os.ReadFile("docs/coming-from-mirai.md")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, m := range regexp.MustCompile(`\| ([a-z0-9_]+) \|\n`).FindAllStringSubmatch(string(text), -1) {
		if m[1] == "script" {
			continue
		}
		named[m[1]] = true
		if _, err := os.Stat("testdata/script/" + m[1] + ".txtar"); err != nil {
			t.Error(err)
		}
	}
	scripts, _ := filepath.Glob("testdata/script/manual_*.txtar")
	for _, s := range scripts {
		if name := strings.TrimSuffix(filepath.Base(s), ".txtar"); !named[name] {
			t.Errorf("%s is not in the table", name)
		}
	}
	if len(named) < 9 || len(scripts) != 23 {
		t.Errorf("%d scripts are named and %d of the manual are there", len(named), len(scripts))
	}
}

// TestMessages: what pages say that muster says, it says.
func TestMessages(t *testing.T) {
	for _, c := range []struct {
		page, table string
		sources     []string
		rows        int
	}{
		{"docs/http.md", "| it says | |\n|---|---|\n", []string{"http/*.go", "internal/fleet/*.go"}, 15},
		{"docs/clusters.md", "| you see | why | do |\n|---|---|---|\n", []string{"hpc/*.go", "internal/fleet/*.go", "internal/cli/*.go", "task/*.go", "worker/internal/exec/*.go", "worker/*.go"}, 10},
	} {
		source := sourceOf(t, c.sources)
		page, err := os.ReadFile(c.page)
		if err != nil {
			t.Fatal(err)
		}
		_, table, _ := strings.Cut(string(page), c.table)
		table, _, _ = strings.Cut(table, "\n\n")
		rows := regexp.MustCompile("(?m)^\\| `(.*?)`.*\\|$").FindAllStringSubmatch(table, -1)
		for _, row := range rows {
			for piece := range strings.SplitSeq(row[1], "...") {
				piece = regexp.MustCompile(`[0-9]+`).ReplaceAllString(strings.Trim(piece, " ()"), "%d")
				said := strings.Contains(source, piece)
				if before, _, reason := strings.Cut(piece, ": "); reason && !said {
					said = strings.Contains(source, before)
				}
				if !said {
					t.Errorf("%s: nothing says %q", c.page, piece)
				}
			}
		}
		if len(rows) < c.rows {
			t.Errorf("%s: %d messages", c.page, len(rows))
		}
	}
}

// sourceOf is the text of all files of the patterns that are no tests.
func sourceOf(t *testing.T, patterns []string) string {
	t.Helper()
	var source strings.Builder
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(file, "_test.go") {
				source.Write(text)
			}
		}
	}
	return source.String()
}

// TestLinks checks that what a page refers to in the source tree is there.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)\)`)
	pages, _ := filepath.Glob("*/*.md")
	more, _ := filepath.Glob("*/*/*.md")
	for _, page := range append(append(pages, more...), "README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
	}
}

// TestSecurityPage: each promise of the page names tests that exist.
func TestSecurityPage(t *testing.T) {
	text, err := os.ReadFile("docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]bool{}
	err = filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllSubmatch(b, -1) {
			tests[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	rows, named := 0, 0
	for _, m := range regexp.MustCompile(`(?m)^\|.*\| ([^|]*) \|$`).FindAllStringSubmatch(string(text), -1) {
		list := regexp.MustCompile("^(`[A-Za-z_]+`|`bench -flood`)(, (`[A-Za-z_]+`|`bench -flood`))*$").FindString(m[1])
		if list == "" {
			continue
		}
		rows++
		for _, name := range strings.Split(list, ", ") {
			name = strings.Trim(name, "`")
			_, err := os.Stat("testdata/script/" + name + ".txtar")
			if named++; name != "bench -flood" && !tests[name] && err != nil {
				t.Errorf("there is no test %s", name)
			}
		}
	}
	if rows < 20 || named < 40 {
		t.Errorf("%d rows name %d tests", rows, named)
	}
}
