package host

import (
	"fmt"
	"syscall"
	"testing"
)

// TestWhatIsShort is said with what to do about it.
func TestWhatIsShort(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{filesFor(40, 344), ""},
		{filesFor(40, 343), "a worker with 40 slots needs 344 open files and may have 343 here: take at most 39 slots (-n 39), or raise the limit with `ulimit -n 344`"},
		{filesFor(1, 16), "a worker with 1 slot needs 32 open files and may have 16 here: raise the limit with `ulimit -n 32`"},
		{threadsFor(4, 6, 50), ""},
		{threadsFor(4, 7, 50), "a worker with 4 slots needs some 44 processes and threads, and its user may have 43 more here (7 of 50 are taken): take at most 3 slots (-n 3), or end something, or raise the limit with `ulimit -u`"},
		{threadsFor(1, 60, 50), "a worker with 1 slot needs some 20 processes and threads, and its user may have 0 more here (60 of 50 are taken): end something, or raise the limit with `ulimit -u`"},
		{explainStart(fmt.Errorf("start a local worker: %w", syscall.EAGAIN)), "start a local worker: resource temporarily unavailable: this user may have no more processes; end some, or raise the limit with `ulimit -u`"},
		{explainStart(nil), ""},
	} {
		got := ""
		if c.err != nil {
			got = c.err.Error()
		}
		if got != c.want {
			t.Errorf("%s\nwant %s", got, c.want)
		}
	}
}
