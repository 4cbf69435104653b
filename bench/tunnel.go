package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"muster/internal/testbed"
)

const (
	tunnelSlots = 8
	tunnelTask  = "0.1" // seconds
)

// tunnelOptions say what runTunnel measures, and how often.
type tunnelOptions struct {
	tasks, megabytes, rounds int
	rtt                      time.Duration
}

// runTunnel holds muster through an SSH tunnel against muster on this machine and
// against sftp through the same server and link, and prints the ratios.
func runTunnel(o tunnelOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "mb")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s := &site{bench: &bench{dir: dir, muster: filepath.Join(dir, "muster")}, noise: dir + "/noise", inputs: dir + "/inputs", log: dir + "/joblog"}
	if err := s.build(); err != nil {
		return err
	}
	defer s.stop()
	if err := s.start(o); err != nil {
		return err
	}
	if err := s.compareTasks(o); err != nil {
		return err
	}
	return s.compareBytes(o)
}

// check says what is missing.
func (o tunnelOptions) check() error {
	if o.tasks < 1 || o.megabytes < 1 || o.rounds < 1 || o.rtt <= 0 {
		return errors.New("-tunnel needs -tasks, -megabytes, -rounds and -rtt above 0")
	}
	if missing := testbed.Missing("ip", "nft", "nsenter", "sshd", "ssh", "ssh-keygen"); missing != "" {
		return fmt.Errorf("-tunnel needs %s", missing)
	}
	if _, err := exec.LookPath("sftp"); err != nil {
		return fmt.Errorf("-tunnel needs sftp: %w: apt-get install --no-install-recommends openssh-client", err)
	}
	return nil
}

// alternate measures two ways one after the other, so many times, and returns the
// medians.
func alternate(rounds int, ways [2]func() (time.Duration, error)) (medians [2]time.Duration, err error) {
	var took [2][]time.Duration
	for range rounds {
		for i, way := range ways {
			d, err := way()
			if err != nil {
				return medians, err
			}
			took[i] = append(took[i], d)
		}
	}
	return [2]time.Duration{median(took[0]), median(took[1])}, nil
}

// compareTasks compares tasks a second here and through the tunnel.
func (s *site) compareTasks(o tunnelOptions) error {
	args := []string{"--joblog", s.log, "-a", s.inputs, "--", "sleep"}
	m, err := alternate(o.rounds, [2]func() (time.Duration, error){
		func() (time.Duration, error) {
			return s.tasks(o.tasks, s.command(s.muster, append([]string{"run", "-n", strconv.Itoa(tunnelSlots)}, args...)...))
		},
		func() (time.Duration, error) { return s.tasks(o.tasks, s.tunnelled(args...)) },
	})
	if err != nil {
		return err
	}
	rate := func(d time.Duration) float64 { return float64(o.tasks) / d.Seconds() }
	fmt.Printf("%d × sleep %s, %d slots, round trip %v, median of %d rounds, from the first start to the last end\n", o.tasks, tunnelTask, tunnelSlots, o.rtt, o.rounds)
	fmt.Printf("  here      %7.1f tasks/s\n", rate(m[0]))
	fmt.Printf("  tunnel    %7.1f tasks/s   %.2f of it\n", rate(m[1]), rate(m[1])/rate(m[0]))
	return nil
}

// tasks is the time from the first start to the last end of the tasks of a run.
func (s *site) tasks(n int, run *exec.Cmd) (time.Duration, error) {
	if out, err := run.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%s: %w\n%s", strings.Join(run.Args, " "), err, out)
	}
	first, last, err := span(s.log, n)
	return last.Sub(first), err
}

// span is the first start and the last end in a job log of so many tasks. It is
// in GNU parallel's format: the third field is the start in seconds since 1970, the
// fourth how long it took. The log is removed, so that the next run begins another.
func span(path string, tasks int) (first, last time.Time, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return first, last, err
	}
	if err := os.Remove(path); err != nil {
		return first, last, err
	}
	records := strings.Split(strings.TrimSpace(string(text)), "\n")[1:]
	if len(records) != tasks {
		return first, last, fmt.Errorf("the job log has %d tasks, not %d", len(records), tasks)
	}
	for _, record := range records {
		var start, length float64
		if _, err := fmt.Sscanf(record, "%d %s %f %f", new(int), new(string), &start, &length); err != nil {
			return first, last, fmt.Errorf("read the job log: %w: %q", err, record)
		}
		began := time.UnixMilli(int64(math.Round(start * 1000)))
		ended := began.Add(time.Duration(length * float64(time.Second)))
		if first.IsZero() || began.Before(first) {
			first = began
		}
		if ended.After(last) {
			last = ended
		}
	}
	return first, last, nil
}

// compareBytes compares how fast a file comes by sftp and as a task's output.
func (s *site) compareBytes(o tunnelOptions) error {
	m, err := alternate(o.rounds, [2]func() (time.Duration, error){s.sftp, s.result})
	if err != nil {
		return err
	}
	rate := func(d time.Duration) float64 { return float64(s.size) / 1e6 / d.Seconds() }
	fmt.Printf("%d MB, round trip %v, median of %d rounds, without login\n", o.megabytes, o.rtt, o.rounds)
	fmt.Printf("  sftp      %7.1f MB/s\n", rate(m[0]))
	fmt.Printf("  tunnel    %7.1f MB/s      %.2f of it\n", rate(m[1]), rate(m[1])/rate(m[0]))
	return nil
}

// result is the time from the start of a task that prints the file to the last
// byte of that on muster's standard output.
func (s *site) result() (time.Duration, error) {
	cmd := s.tunnelled("--joblog", s.log, "--", "cat", ":::", s.noise)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	n, err := io.Copy(io.Discard, out)
	end := time.Now()
	err = errors.Join(err, cmd.Wait())
	if err == nil && n != s.size {
		err = fmt.Errorf("%d bytes came of %d", n, s.size)
	}
	if err != nil {
		return 0, fmt.Errorf("a result through the tunnel: %w\n%s", err, &stderr)
	}
	start, _, err := span(s.log, 1)
	return end.Sub(start), err
}

// sftp is the time that one get of the file takes, once sftp has logged in.
func (s *site) sftp() (time.Duration, error) {
	to := s.dir + "/copy"
	defer os.Remove(to)
	cmd := s.net.Command("laptop", "sftp", "-q", "-F", s.net.Dir+"/laptop/.ssh/config", "-b", "-", "login")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return 0, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	said := bufio.NewScanner(out)
	answers := awaitDir(in, said, "")
	start := time.Now()
	answers = answers && awaitDir(in, said, "get "+s.noise+" "+to+"\n")
	took := time.Since(start)
	in.Close()
	err = cmd.Wait()
	if st, missing := os.Stat(to); err == nil && (!answers || missing != nil || st.Size() != s.size) {
		err = errors.New("it did not get all of the file")
	}
	if err != nil {
		return 0, fmt.Errorf("sftp: %w\n%s", err, &stderr)
	}
	return took, nil
}

// awaitDir has sftp do commands and say in which directory it is, and reports
// whether it has.
func awaitDir(in io.Writer, said *bufio.Scanner, commands string) bool {
	io.WriteString(in, commands+"pwd\n")
	for said.Scan() {
		if strings.HasPrefix(said.Text(), "Remote working directory:") {
			return true
		}
	}
	return false
}
