// Command bench measures muster next to xargs and GNU parallel, side by side in
// one run, and prints ratios: numbers of one machine mean nothing on another.
// bench/README.md says what they mean.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

func main() {
	tasks := flag.Int("tasks", 0, "run `N` tasks; 0 is 3000, with -tunnel 400")
	slots := flag.Int("slots", 2, "run `N` of them at once")
	rounds := flag.Int("rounds", 5, "measure `N` times and take the medians")
	session := flag.Bool("session", false, "measure a dispatcher that stays instead, with -workers")
	workers := flag.Int("workers", 100, "with -session: `N` workers")
	tunnel := flag.Bool("tunnel", false, "measure an SSH tunnel instead, with -rtt and -megabytes; needs root")
	rtt := flag.Duration("rtt", 50*time.Millisecond, "with -tunnel: `TIME` of a round trip")
	megabytes := flag.Int("megabytes", 100, "with -tunnel: a result of `N` MB")
	connected := flag.Int("connected", 0, "measure `N` workers connected to one dispatcher instead")
	profile := flag.String("profile", "", "with -connected: write profiles of the dispatcher into `FOLDER`")
	flood := flag.Int("flood", 0, "measure under a flood of `N` half-open connections a second instead")
	flag.Parse()
	var err error
	switch {
	case os.Getenv(envPeer) == "floor":
		err = runFloor()
	case os.Getenv(envPeer) == "flood":
		err = runFlooder()
	case os.Getenv(envPeer) != "":
		err = runPeer(os.Getenv(envPeer))
	case *connected > 0:
		err = runConnected(connectedOptions{workers: *connected, rounds: *rounds, profile: *profile})
	case *flood > 0:
		err = runFlood(floodOptions{rate: *flood, rounds: *rounds})
	case *session:
		err = runSession(cmp.Or(*tasks, 3000), *workers)
	case *tunnel:
		err = runTunnel(tunnelOptions{tasks: cmp.Or(*tasks, 400), megabytes: *megabytes, rounds: *rounds, rtt: *rtt})
	default:
		err = run(cmp.Or(*tasks, 3000), *slots, *rounds)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(tasks, slots, rounds int) error {
	dir, err := os.MkdirTemp("", "muster-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{dir: dir, muster: filepath.Join(dir, "muster")}
	if err := b.build(); err != nil {
		return err
	}
	if err := b.throughput(tasks, slots, rounds); err != nil {
		return err
	}
	if err := b.first(rounds); err != nil {
		return err
	}
	if err := b.ahead(rounds); err != nil {
		return err
	}
	return b.size(rounds)
}

func (b *bench) build() error {
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", b.muster, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("build muster (run this in its source tree): %w", err)
	}
	return nil
}

// bench is where the measured programs run.
type bench struct{ dir, muster string }

// command is a program with muster's state out of the user's way.
func (b *bench) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "MUSTER_STATE="+filepath.Join(b.dir, "state"), "PARALLEL_HOME="+b.dir)
	return cmd
}

// size measures the binary and how long --help takes.
func (b *bench) size(rounds int) error {
	st, err := os.Stat(b.muster)
	if err != nil {
		return err
	}
	var took []time.Duration
	for range rounds {
		start := time.Now()
		if err := b.command(b.muster, "--help").Run(); err != nil {
			return err
		}
		took = append(took, time.Since(start))
	}
	fmt.Printf("binary %.1f MiB, --help in %v\n", float64(st.Size())/(1<<20), median(took).Round(time.Millisecond))
	return nil
}

func lines(n int) []byte {
	var b []byte
	for i := 1; i <= n; i++ {
		b = append(strconv.AppendInt(b, int64(i), 10), '\n')
	}
	return b
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
