package future

import (
	"testing"
	"time"

	"muster/internal/plan"
)

// TestReattach: the lease of workers on other machines is that of a config,
// unless the program says otherwise.
func TestReattach(t *testing.T) {
	for _, c := range []struct {
		opts []Option
		want time.Duration
	}{
		{nil, plan.DefaultReattach},
		{[]Option{Reattach(time.Hour)}, time.Hour},
		{[]Option{Reattach(0)}, 0},
	} {
		if st, err := newSettings(c.opts); err != nil || time.Duration(st.spec.Reattach) != c.want {
			t.Errorf("%+v, %v; want %v", st, err, c.want)
		}
	}
	if _, err := newSettings([]Option{Reattach(-time.Second)}); err == nil || err.Error() != "reattach: -1s is negative" {
		t.Errorf("a negative one: %v", err)
	}
}
