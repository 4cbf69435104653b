package worker

import (
	"math"
	"os"
	"strings"
	"testing"

	"muster/internal/wire"
	"muster/share"
	"muster/task"
)

func newCopies(t *testing.T) *copies {
	c := &copies{coming: map[string]*share.Writer{}, have: map[string]*share.Segment{}}
	t.Cleanup(c.end)
	return c
}

const copied = "0123456789abcdef0123456789abcdef"

func TestCopies(t *testing.T) {
	c := newCopies(t)
	for _, step := range []struct {
		m    wire.Share
		want wire.Shared
	}{
		{wire.Share{ID: copied, Total: 5, Data: []byte("abc")}, wire.Shared{ID: copied, Bytes: 3}},
		{wire.Share{ID: copied, At: 3, Total: 5, Data: []byte("de")}, wire.Shared{ID: copied, Bytes: 5, Done: true}},
		{wire.Share{ID: "empty"}, wire.Shared{ID: "empty", Done: true}},
	} {
		if got := c.take(&step.m); *got != step.want {
			t.Errorf("after %+v: %+v, want %+v", step.m, got, step.want)
		}
	}
	theirs := share.Ref{Host: "other", Machine: "another", Pid: 1, FD: 3, ID: copied, Bytes: 5}
	spec := task.Spec{Argv: []string{task.ShareMark("s")}, Shares: []task.Share{{Name: "s", Ref: theirs.String(), Needed: true}}}
	if _, lack := readable(spec); lack == nil || lack.Kind != task.LackShare || !strings.HasPrefix(lack.Message, "cannot read the share s: the share is in the memory of another machine: it is on other, and this is ") {
		t.Errorf("of another machine: %+v", lack)
	}
	c.local(spec.Shares)
	here, lack := readable(spec)
	if lack != nil {
		t.Fatal(lack.Message)
	}
	if b, err := os.ReadFile(here.Argv[0]); err != nil || string(b) != "abcde" || here.Env[0] != "MUSTER_SHARE_s="+here.Argv[0] {
		t.Errorf("%q has %q, and %q: %v", here.Argv[0], b, here.Env, err)
	}
	c.drop(copied)
	if _, lack := readable(spec); lack == nil {
		t.Error("a copy can be read that was given up")
	}
}

func TestCopiesThatFail(t *testing.T) {
	for name, step := range map[string]struct {
		list []wire.Share
		want string
	}{
		"a piece is missing": {[]wire.Share{{ID: copied, Total: 9, Data: []byte("abc")}, {ID: copied, At: 5, Total: 9, Data: []byte("x")}}, "a piece of it is missing after 3 bytes"},
		"the first is":       {[]wire.Share{{ID: copied, At: 5, Total: 9, Data: []byte("x")}}, "a piece of it is missing after 0 bytes"},
		"more than there is": {[]wire.Share{{ID: copied, Total: math.MaxInt64, Data: []byte("x")}}, "a worker takes half of what is available"},
	} {
		c := newCopies(t)
		var got *wire.Shared
		for _, m := range step.list {
			got = c.take(&m)
		}
		if got.Done || !strings.Contains(got.Err, step.want) || len(c.coming)+len(c.have) > 0 {
			t.Errorf("%s: %+v, and %d are left", name, got, len(c.coming)+len(c.have))
		}
	}
}
