package rng_test

import (
	"bufio"
	"bytes"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"muster/rng"
)

// judged are seeds that R judges: the borders, 0 beside the NA of other languages, and
// some of every size.
func judged() []int32 {
	list := []int32{math.MinInt32 + 1, math.MinInt32 + 2, -65537, -1, 0, 1, 2, 42, 1234, 2345, 65535, math.MaxInt32 - 1, math.MaxInt32}
	for i := int32(1); i < 1<<30; i *= 3 {
		list = append(list, i*2, -i*2)
	}
	return list
}

// program prints of each seed that it reads: the state, streams and substreams, and
// numbers.
const program = `
say <- function(...) cat(..., "\n")
number <- function(x) sprintf("%.17g", x)
begin <- function(s) assign(".Random.seed", s, globalenv())
for (seed in scan("stdin", integer(), quiet = TRUE)) {
	set.seed(seed, "L'Ecuyer-CMRG", "Inversion")
	first <- .Random.seed
	second <- parallel::nextRNGStream(first)
	third <- parallel::nextRNGStream(second)
	sub <- parallel::nextRNGSubStream(first)
	say(first[2:7]); say(second[2:7]); say(third[2:7]); say(sub[2:7]); say(parallel::nextRNGSubStream(sub)[2:7])
	begin(second)
	say(number(runif(20)))
	say(.Random.seed[2:7])
	say(number(rnorm(200)))
}
`

// TestR has R judge. It is there on CI.
func TestR(t *testing.T) {
	if _, err := exec.LookPath("Rscript"); err != nil && os.Getenv("CI") == "" {
		t.Skip("R is not installed: apt-get install --no-install-recommends r-base-core")
	}
	file := filepath.Join(t.TempDir(), "judge.R")
	if err := os.WriteFile(file, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("Rscript", file)
	cmd.Stdin = strings.NewReader(strings.Trim(fmt.Sprint(judged()), "[]"))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(out))
	line := func() string {
		if !lines.Scan() {
			t.Fatal("R says too little")
		}
		return strings.TrimSpace(lines.Text())
	}
	lastBits, normals := 0, 0
	for _, seed := range judged() {
		first := rng.Seed(seed)
		second := first.Next()
		for _, got := range []rng.Stream{first, second, second.Next(), first.Sub(), first.Sub().Sub()} {
			if want := line(); got.String() != want {
				t.Errorf("seed %d: %v, and R has %s", seed, got, want)
			}
		}
		src := rng.NewSource(second)
		for i, want := range strings.Fields(line()) {
			if got := fmt.Sprintf("%.17g", src.Unif()); got != want {
				t.Errorf("seed %d: uniform number %d is %s, and R has %s", seed, i, got, want)
			}
		}
		if want := line(); src.Stream().String() != want {
			t.Errorf("seed %d: then %v, and R has %s", seed, src.Stream(), want)
		}
		for i, want := range strings.Fields(line()) {
			normals++
			got, r := src.Norm(), parse(t, want)
			if got == r {
				continue
			}
			if lastBits++; got != math.Nextafter(r, got) {
				t.Errorf("seed %d: normal number %d is %.17g, and R has %s", seed, i, got, want)
			}
		}
	}
	// R's own differ so where its C library's logarithm is not rounded right.
	if lastBits > normals/3000 {
		t.Errorf("of %d normal numbers %d differ from R's in the last bit", normals, lastBits)
	}
}

func parse(t *testing.T, text string) (x float64) {
	t.Helper()
	if _, err := fmt.Sscan(text, &x); err != nil {
		t.Fatal(err)
	}
	return x
}
