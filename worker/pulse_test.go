package worker

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestPulse: a process that was stopped sees it, once, and then counts on.
func TestPulse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPulse(5 * time.Second)
		defer p.Stop()
		for i, pause := range []time.Duration{0, 0, time.Minute, 0, 0} {
			time.Sleep(pause)
			<-p.C
			if late := p.late(); late != (pause > 0) {
				t.Errorf("beat %d after a pause of %v: late: %v", i, pause, late)
			}
		}
	})
}
