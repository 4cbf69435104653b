package report

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"muster/internal/owner"
)

// Past is what a job log says of runs before this one, GNU parallel's or muster's.
type Past struct {
	// Entries are of the tasks, by Seq. The last line of a task counts, but for one
	// that has succeeded: that stays so.
	Entries map[int]PastTask
	// Torn says that the last line was cut off as it was written; it does not count.
	Torn bool

	size  int64 // of the file, as far as it was read
	whole int64 // where its last whole line ends
}

// PastTask is what became of a task. A log knows no more of it than that and its
// command: neither the directory nor the environment that it ran in.
type PastTask struct {
	Exit, Signal int
	Command      string
}

// OK reports whether the task has succeeded.
func (p PastTask) OK() bool { return p.Exit == 0 && p.Signal == 0 }

// Ended reports whether the task has come to an end of its own. muster's log has an
// exit value of -1 and no signal for one that was cancelled, or lost with its worker.
func (p PastTask) Ended() bool { return p.Exit != -1 || p.Signal != 0 }

// ReadJobLog reads a job log; one that is not there is empty. It refuses one that
// somebody else has put in a folder that is everybody's: its commands may be run.
func ReadJobLog(path string) (*Past, error) {
	p := &Past{Entries: map[int]PastTask{}}
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", path)
	}
	if err == nil {
		err = owner.Unplanted(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read job log: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read job log: %w", err)
	}
	defer f.Close()
	return p, p.read(bufio.NewReaderSize(f, copyBuffer), path)
}

func (p *Past) read(r *bufio.Reader, path string) error {
	end := ""
	for n := 1; ; n++ {
		line, err := r.ReadString('\n')
		p.size += int64(len(line))
		if err == io.EOF {
			p.Torn = line != ""
			return nil
		}
		if err != nil {
			return fmt.Errorf("read job log: %w", err)
		}
		p.whole = p.size
		if n == 1 && strings.HasSuffix(line, "\r\n") {
			end = "\r" // an editor has been at it
		}
		if line = strings.TrimSuffix(line[:len(line)-1], end); !p.take(line, n == 1) {
			return fmt.Errorf("%s:%d: this is no line of a job log, as --joblog writes it", path, n)
		}
	}
}

// take takes a line, and reports whether it is one of a job log. Those that were
// appended to each other may have headings further down.
func (p *Past) take(line string, first bool) bool {
	if line+"\n" == jobLogHeading {
		return true
	}
	f := strings.SplitN(line, "\t", 9)
	if first || len(f) < 9 {
		return false
	}
	seq, err := strconv.Atoi(f[0])
	exit, exitErr := strconv.Atoi(f[6])
	signal, signalErr := strconv.Atoi(f[7])
	if errors.Join(err, exitErr, signalErr) != nil || seq < 1 {
		return false
	}
	if old, there := p.Entries[seq]; !there || !old.OK() {
		p.Entries[seq] = PastTask{exit, signal, strings.ReplaceAll(f[8], "\x00", "\n")}
	}
	return true
}
