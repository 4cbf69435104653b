package control_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"muster/dispatcher"
	"muster/internal/control"
	"muster/internal/host"
	"muster/rng"
)

// computed is a map whose tasks have been run by their caller, each with size bytes
// of output that patternOf tells.
func computed(t *testing.T, c *control.Client, n, size int) dispatcher.ID {
	t.Helper()
	ctx := context.Background()
	if _, err := c.Up(ctx, control.UpRequest{Profiles: []host.Spec{{Name: "sync", Sync: true, Slots: 1}}}); err != nil {
		t.Fatal(err)
	}
	a, err := c.Map(ctx, "sync", false, rng.Streams{}, strings.NewReader(strings.Repeat(`{"argv": ["x"]}`+"\n", n)))
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if err := c.Finish(ctx, a.ID, control.FinishRequest{Stdout: patternOf(i+1, size)}); err != nil {
			t.Fatal(err)
		}
	}
	return a.ID
}

func patternOf(index, size int) []byte {
	return bytes.Repeat([]byte(fmt.Sprintf("%07d\n", index)), size/8)
}

// TestForgetWhileOthersCollect: of two who collect at once the slow one gets
// everything too, although the other has the future forgotten long before.
func TestForgetWhileOthersCollect(t *testing.T) {
	c, _ := serve(t, "up")
	const n, size = 120, 60_000 // far more than sockets hold
	id := computed(t, c, n, size)
	forgotten := make(chan struct{})
	var both sync.WaitGroup
	for name, collect := range map[string]func(context.Context, dispatcher.ID, func(*control.Result) error) error{
		"slow": c.InOrder, "fast": c.Results,
	} {
		begun := false
		both.Go(func() {
			got := 0
			err := collect(context.Background(), id, func(r *control.Result) error {
				if !begun && name == "slow" {
					<-forgotten
				}
				begun = true
				got++
				if r.Stdout.Text == nil || *r.Stdout.Text != string(patternOf(r.Index, size)) {
					t.Errorf("%s: result %d is damaged", name, r.Index)
				}
				return nil
			})
			if err != nil || got != n {
				t.Errorf("%s: %d of %d results, %v", name, got, n, err)
			}
			if name == "fast" {
				if err := c.Forget(context.Background(), id); err != nil {
					t.Error(err)
				}
				close(forgotten)
			}
		})
	}
	both.Wait()
	if err := c.InOrder(context.Background(), id, nil); err == nil || !strings.Contains(err.Error(), "it has been collected") {
		t.Errorf("whoever comes later: %v", err)
	}
}

// slowly takes bytes and, before the second piece, waits.
type slowly struct {
	got     bytes.Buffer // not embedded: io.Copy would read into it past Write
	began   chan struct{}
	goOn    <-chan struct{}
	started sync.Once
}

func (s *slowly) Write(p []byte) (int, error) {
	s.started.Do(func() {
		close(s.began)
		<-s.goOn
	})
	return s.got.Write(p)
}

// TestForgetWhileOthersStream: a long output that is being read is read whole.
func TestForgetWhileOthersStream(t *testing.T) {
	c, _ := serve(t, "up")
	const size = 9_000_000
	id := computed(t, c, 1, size)
	goOn := make(chan struct{})
	slow := &slowly{began: make(chan struct{}), goOn: goOn}
	ended := make(chan error)
	go func() { ended <- c.Stream(context.Background(), id, 1, "stdout", slow) }()
	<-slow.began
	var fast bytes.Buffer
	if err := c.Stream(context.Background(), id, 1, "stdout", &fast); err != nil {
		t.Error(err)
	}
	if err := c.Forget(context.Background(), id); err != nil {
		t.Error(err)
	}
	close(goOn)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for name, got := range map[string][]byte{"slow": slow.got.Bytes(), "fast": fast.Bytes()} {
		if !bytes.Equal(got, patternOf(1, size)) {
			t.Errorf("the %s one got %d bytes of %d", name, len(got), size)
		}
	}
	if err := c.Stream(context.Background(), id, 1, "stdout", io.Discard); err == nil || !strings.Contains(err.Error(), "it has been collected") {
		t.Errorf("whoever comes later: %v", err)
	}
}
