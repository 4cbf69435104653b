package cli

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
)

// wordsOf are the words that a command line of muster prints, with nine inputs after it.
func wordsOf(t *testing.T, command string) []string {
	t.Helper()
	var out, complaints bytes.Buffer
	if code := Main(strings.Fields("muster "+command+" ::: 1 2 3 4 5 6 7 8 9"), strings.NewReader(""), &out, &complaints); code != 0 {
		t.Fatalf("%s: exit code %d\n%s", command, code, complaints.String())
	}
	return strings.Fields(out.String())
}

// TestShuffledBySeed: with a seed the inputs have the same order each time, so that their
// numbers and their streams are the same, and a run can go on.
func TestShuffledBySeed(t *testing.T) {
	ownWorld(t)
	first := wordsOf(t, "run --sync --shuf --seed 1 -- echo")
	for _, command := range []string{"run --sync --shuf --seed 1 -- echo", "map --sync --shuf --seed 1 -- echo"} {
		if again := wordsOf(t, command); !slices.Equal(first, again) {
			t.Errorf("%s: %s, and before %s", command, again, first)
		}
	}
	if other := wordsOf(t, "run --sync --shuf --seed 2 -- echo"); slices.Equal(first, other) || slices.IsSorted(first) {
		t.Errorf("seed 1: %s, seed 2: %s", first, other)
	}
	past := "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n1\t:\t1.000\t0.000\t0\t0\t0\t0\techo " + first[0] + "\n"
	if err := os.WriteFile("log", []byte(past), 0o600); err != nil {
		t.Fatal(err)
	}
	rest := slices.DeleteFunc(wordsOf(t, "run --dry-run --shuf --seed 1 --joblog log --resume -- echo"), func(w string) bool { return w == "echo" })
	if !slices.Equal(rest, first[1:]) {
		t.Errorf("%s comes after %s of %s", rest, first[0], first)
	}
	var complaints bytes.Buffer
	code := Main(strings.Fields("muster run --dry-run --shuf --joblog log --resume -- echo ::: 1 2"), strings.NewReader(""), &bytes.Buffer{}, &complaints)
	if want := "give the --seed N that the first run had"; code != 2 || !strings.Contains(complaints.String(), want) {
		t.Errorf("without a seed: exit code %d\n%s", code, complaints.String())
	}
}
