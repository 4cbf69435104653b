package dispatcher_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/dispatcher"
	"muster/task"
)

// A future that is forgotten while somebody reads it ends for them, whatever
// becomes of its pool.
func TestForgottenFutureOfAPoolThatIsReset(t *testing.T) {
	for _, kind := range []string{"queued", "running", "everywhere", "everywhere running"} {
		t.Run(kind, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				if strings.HasSuffix(kind, "running") {
					w.worker(1)
				}
				var f *dispatcher.Future
				if strings.HasPrefix(kind, "everywhere") {
					f, _ = w.d.Everywhere(task.Spec{Argv: []string{"a"}}, 2)
				} else {
					f = w.put("a")
				}
				synctest.Wait()
				c := f.Results(dispatcher.AsResolved)
				defer c.Close()
				w.door.Forget(f)
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				w.d.Reset(ctx)
				synctest.Wait()
				var got []string
				for {
					done, err := c.Poll()
					if done == nil {
						got = append(got, fmt.Sprint(err))
						break
					}
					got = append(got, done.Err.Kind.String())
				}
				if got := strings.Join(got, " "); got != "reset "+io.EOF.Error() {
					t.Errorf("read %s", got)
				}
			})
		})
	}
}

// Whoever waits for a map that turns out not to be submitted whole waits no more, and
// nothing of it runs.
func TestMapThatIsNotSubmittedWhole(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		f, err := w.d.NewFuture(dispatcher.KindMap, dispatcher.FutureOptions{})
		if err == nil {
			err = f.Add(context.Background(), task.Spec{Argv: []string{"a"}})
		}
		if err != nil {
			t.Fatal(err)
		}
		over := f.Done()
		w.door.Abort(f)
		synctest.Wait()
		select {
		case <-over:
		default:
			t.Error("the future is not resolved")
		}
		w.worker(1).quiet()
	})
}
