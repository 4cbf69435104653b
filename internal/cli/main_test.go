package cli

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestMain ends what a test starts as a worker: muster starts its own program again, which
// is the test binary here and would run all tests once more, in each worker.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-test.") {
		fmt.Fprintf(os.Stderr, "a test of package cli has started %q: give the command --sync, or make it a script\n", os.Args)
		os.Exit(1)
	}
	os.Exit(m.Run())
}
