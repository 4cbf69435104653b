package relay

import (
	"cmp"
	"io"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/yamux"
)

const (
	interval = 15 * time.Second // between keepalives, as OpenSSH is usually told
	patience = 30 * time.Second // for the answer, and for any single write
	window   = 4 << 20          // bytes under way in one stream: 80 MB/s over a round trip of 50 ms
	waiting  = 256              // streams that the other side has not yet accepted
)

// muxConfig is the same on both sides. keepalive, if set, is the interval, and
// half the patience.
func muxConfig(log hclog.Logger, keepalive time.Duration) *yamux.Config {
	c := yamux.DefaultConfig()
	c.AcceptBacklog = waiting
	c.KeepAliveInterval, c.ConnectionWriteTimeout = interval, patience
	if keepalive > 0 {
		c.KeepAliveInterval, c.ConnectionWriteTimeout = keepalive, 2*keepalive
	}
	c.MaxStreamWindowSize = window
	c.StreamOpenTimeout = 0  // a peer that does not accept fails the keepalive
	c.StreamCloseTimeout = 0 // half-closed streams may last; both sides close for good
	c.LogOutput = nil
	// Frames for streams that were just given up are among its warnings.
	c.Logger = log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug})
	return c
}

// lastRead is a link whose writes succeed when they can't: yamux would drop what
// has arrived and was not read yet, the last words of the other side. Reads find
// the end of such a link too; if not, the keepalive does.
type lastRead struct{ io.ReadWriteCloser }

func (l lastRead) Write(p []byte) (int, error) {
	l.ReadWriteCloser.Write(p)
	return len(p), nil
}

// sweep frees the buffers of drained streams now and then, until the session ends.
// yamux keeps each at the largest size that it had, up to the window.
func sweep(session *yamux.Session, keepalive time.Duration, streams func() []*yamux.Stream) {
	tick := time.NewTicker(cmp.Or(keepalive, interval))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			for _, s := range streams() {
				s.Shrink()
			}
		case <-session.CloseChan():
			return
		}
	}
}

func orNone(log hclog.Logger) hclog.Logger {
	if log == nil {
		return hclog.NewNullLogger()
	}
	return log
}
