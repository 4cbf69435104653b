package plan_test

import (
	"slices"
	"strings"
	"testing"

	"muster/internal/plan"
)

// TestCommandWords: what "." becomes, and what a shell is given.
func TestCommandWords(t *testing.T) {
	const own = "/bin/muster worker --join-file /run/0.join --slots 1 --element l-word00.1 --patience 1m0s"
	words := strings.Fields(own)
	for settings, want := range map[string][]string{
		`command = "srun"`: append([]string{"srun"}, words...),
		`command = "srun"
args = [".", "a b", "./x", ".."]`: append(append([]string{"srun"}, words...), "a b", "./x", ".."),
		`command = "bash"
args = ["-c", "."]
quote = true`: {"bash", "-c", own},
		`command = "srun"
args = ["--mem 512", "."]
shell = true`: {"/bin/sh", "-c", "srun --mem 512 " + own},
		`command = "ssh"
args = ["-p 22 h", "."]
shell = true
quote = true`: {"/bin/sh", "-c", "ssh -p 22 h '" + own + "'"},
		`command = "sh"
args = ["-c", "exec ${worker.command} # ${worker.index} of ${worker.count}"]`: {"sh", "-c", "exec " + own + " # 1 of 1"},
	} {
		p := named(t, draft(t, "command", settings+"\nslots = 1", once))
		if got := p.Kind.(*plan.Command).Starts[0].Argv; !slices.Equal(got, want) {
			t.Errorf("%s\n%q, want\n%q", settings, got, want)
		}
	}
}

// TestCommandLists: one start with each list, or as many with each.
func TestCommandLists(t *testing.T) {
	const settings = "command = \"x\"\nargs = [[\"a\", \".\"], [\"b\", \".\"]]"
	for n, want := range map[int]string{1: "ab", 2: "ab", 4: "abab"} {
		got := ""
		for _, s := range named(t, draft(t, "command", settings, plan.Wish{Workers: n})).Kind.(*plan.Command).Starts {
			got += s.Argv[1]
		}
		if got != want {
			t.Errorf("%d workers: %s, want %s", n, got, want)
		}
	}
	if _, err := draftOf(parse(t, "command", settings), plan.Wish{Workers: 3}); err == nil || !strings.Contains(err.Error(), "3 workers are wished, and args has lists for 2") {
		t.Error(err)
	}
}
