package host

import (
	"fmt"
	"syscall"
	"testing"
)

func TestShortFiles(t *testing.T) {
	for limit, want := range map[uint64]string{
		1 << 63:  "",
		64 << 20: "",
		4096:     "files may have no more than 4 KB here, so that longer outputs cannot be kept: raise the limit with `ulimit -f`",
	} {
		if got := shortFilesText(limit); got != want {
			t.Errorf("%d: %q", limit, got)
		}
	}
}

// TestWhatIsShort is said with what to do about it.
func TestWhatIsShort(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{filesFor(40, 344), ""},
		{filesFor(40, 343), "a worker with 40 slots needs 344 open files and may have 343 here: take at most 39 slots (-n 39), or raise the limit with `ulimit -n 344`"},
		{filesFor(1, 16), "a worker with 1 slot needs 32 open files and may have 16 here: raise the limit with `ulimit -n 32`"},
		{memoryFor(1_300_000_000), ""},
		{memoryFor(1_299_000_000), "each of muster's processes reserves 1300 MB of address space, of which it uses little, and may have 1299 MB here: raise the limit with `ulimit -v 1269531`"},
		{localsFor(0, 8), ""},
		{localsFor(40, 152), ""},
		{localsFor(40, 64), "with 40 workers on this machine the dispatcher needs 152 open files and may have 64 here: take at most 10 of them (-n 10), or raise the limit with `ulimit -n 152`"},
		{localsFor(4, 34), "with 4 workers on this machine the dispatcher needs 44 open files and may have 34 here: raise the limit with `ulimit -n 44`"},
		{explainStart(fmt.Errorf("start a local worker: %w", syscall.EMFILE)), "start a local worker: too many open files: the dispatcher may open no more; start it again where `ulimit -n` is higher"},
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
