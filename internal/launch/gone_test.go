package launch_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"muster/internal/launch"
	"muster/internal/remote"
)

// TestGone: of which elements a scheduler has no process any more, whether they
// ended, wait again, or are no longer listed, and of no other.
func TestGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{}
		f := newFleet(t, c)
		var mu sync.Mutex
		gone := map[string]bool{}
		credentials := f.Credentials
		f.Credentials = func(ctx context.Context, p *launch.Plan, job string, workers int, site *remote.Site) (launch.Credentials, error) {
			cred, err := credentials(ctx, p, job, workers, site)
			cred.Gone = func(element string) {
				mu.Lock()
				defer mu.Unlock()
				gone[element] = true
			}
			return cred, err
		}
		if _, err := f.Submit(t.Context(), plan(t, "array = \"1-4\"", launch.Wish{}), "/bin/muster", ""); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			f.Watch(ctx, func(int) {})
			close(done)
		}()
		// next checks of which elements the next answer says that they are gone.
		next := func(listed string, want ...string) {
			t.Helper()
			c.say(listed)
			time.Sleep(10 * time.Second)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			var got []string
			for e := range gone {
				got = append(got, e)
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("%q: gone are %v, want %v", listed, got, want)
			}
			clear(gone)
		}
		next("")
		next("1_1|RUNNING|None|n1|x\n1_2|RUNNING|None|n1|x\n1_3|RUNNING|None|n1|x\n1_4|PENDING|Priority||x\n")
		f.join("1_1", "1_2", "1_3", "1_4") // the last between two questions
		next("1_1|RUNN")
		next("1_1|RUNNING|None|n1|x\n1_2|COMPLETED|None|n1|x\n1_3|PENDING|BeginTime||x\n1_4|RUNNING|None|n1|x\n", "1_2", "1_3")
		next("1_1|RUNNING|None|n1|x\n1_3|RUNNING|None|n1|x\n1_4|PENDING|Priority||x\n", "1_4")
		next("1_1|RUNNING|None|n1|x\n1_3|RUNNING|None|n1|x\n1_4|WHATEVER|None|n1|x\n")
		next("1_3|RUNNING|None|n1|x\n1_4|RUNNING|None|n1|x\n", "1_1")
		cancel()
		<-done
	})
}
