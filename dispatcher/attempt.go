package dispatcher

import (
	"time"

	"muster/dispatcher/internal/queue"
	"muster/internal/spool"
	"muster/task"
)

// attempt is one try at a task, as long as a worker holds it.
type attempt struct {
	queue.Ref
	job    job
	spec   task.Spec
	slot   int              // from 1; 0 as long as the worker has not said
	began  time.Time        // when the worker said that it runs; zero before
	cancel *task.ErrorValue // what it was cancelled with, if it was
	held   task.Result      // of a task that is held: what it resolves to if it was not lost
	after  uint64           // pings that the worker was sent before
	ended  bool             // its result has come: of output and results, nothing more counts

	// abandoned is set once and for all in an attempt of which no more is kept
	// than this, its Ref and its window.
	abandoned bool

	window int  // bytes the worker may still send
	size   int  // how large the window has grown
	used   int  // bytes spooled since the last credit
	stuck  bool // the disk has no room for all that was spooled: no credit is given

	// The rest belongs to the session's reader.
	out    *spool.Output
	broken bool
}
