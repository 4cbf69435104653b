package dispatcher

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"muster/dispatcher/internal/queue"
	"muster/internal/wire"
	"muster/task"
	mtls "muster/tls"
)

// state is where a session stands.
//
//	          open                  its connection breaks, it has a lease
//	(nothing) ----> connected ----------------------------------------> away
//	                 |   ^ |  \                                         | |
//	   its worker    |   | |   \      comes back with the session's key | |
//	   says goodbye, |   +-+----\---------------------------------------+ |
//	   or breaks the |     |     \                                        |
//	   protocol      |     |      +--- its connection breaks, no lease    | its lease is over,
//	                 |     |      |    or its process is said to have     | its place is taken,
//	                 |     |      |    ended                              | its process has ended
//	                 |     |      v                                       |
//	                 |     |     lost <-----------------------------------+
//	                 |     |      |  somebody has said what became of it, or 30 s are over
//	                 v     v      v
//	                 (gone: what it had is queued again or given up)
//
// The goroutine that reads the session's connection moves it out of connected;
// timers, other sessions' hellos and Pool.Gone move it out of away; the goroutine
// that asks for its fate moves it out of lost, which is passed over if nobody can
// be asked. While it drains (signals, retiring), or is away or lost, it is given
// nothing: the queue knows why.
type state uint8

const (
	connected state = iota
	away
	lost
	gone
)

// session is one worker from its welcome to its end, over one connection or, with
// a lease, several.
type session struct {
	d     *Dispatcher
	p     *Pool
	id    string // what users see
	hello wire.Hello
	lease time.Duration   // how long it outlives its connection; 0 is not at all
	key   mtls.SessionKey // with a lease: proves another connection to be its
	in    entrance
	w     *wire.Writer
	r     *wire.Reader // belongs to whoever serves the link
	pace  pace         // so does this
	epoch uint64
	since time.Time
	// stirred belongs to whoever serves the link: something has come of which the
	// queue has not been asked what follows.
	stirred bool

	// All below is guarded by Pool.mu.
	state    state
	link     *link    // of a connected one
	absence  *absence // of one that is away
	spoke    bool     // something has come from it
	dead     bool     // its process is said to have ended
	replaced bool     // another takes its place
	signals  string   // why the worker drains
	retiring string   // why it was asked to
	attempts map[queue.Ref]*attempt
	syncing  *attempt // the everywhere that it runs now; in attempts too
	ended    int      // tasks that it has ended
	unsent   bool     // it is in Pool.unsent
	refused  refusals
	copies   map[string]*copying // of shares, by their references
	waiting  []string            // what it lacks of shares until it has copies, as queue.Needs has it
	// stopAsking ends the question what became of one that is lost; nil if nobody
	// was asked.
	stopAsking context.CancelFunc
	life
	// abandoned are tasks that were resolved while it was away: it may have more
	// to say of them, which nobody keeps.
	abandoned map[queue.Ref]*attempt
}

// leaving reports whether the worker takes nothing new any more.
func (s *session) leaving() bool { return s.signals != "" || s.retiring != "" }

// send sends a frame. What a pump sends is written when it is through. Under
// Pool.mu.
func (s *session) send(m wire.Message) {
	if !s.p.pumping {
		s.w.Send(m)
		return
	}
	s.w.Queue(m)
	if !s.unsent {
		s.unsent = true
		s.p.unsent = append(s.p.unsent, s)
	}
}

var (
	errGoodbye  = errors.New("it said goodbye")
	errWalltime = errors.New("its job's walltime was over")
	errSilent   = errors.New("it fell silent")
	errWindow   = errors.New("it sent more output than its window allows")

	errUnacknowledged = errors.New("it does not acknowledge what it is sent")
)

// read handles the worker's frames until the connection ends, and says why it did.
// What has come together is handled together: then the queue is asked once.
func (s *session) read() error {
	for first := true; ; first = false {
		m, err := s.r.Read()
		if err != nil {
			if s.silent(time.Now()) {
				return broken{errSilent}
			}
			if err == io.EOF {
				return broken{errors.New("connection closed")}
			}
			if errors.As(err, new(wire.MalformedError)) {
				return err
			}
			return broken{err}
		}
		if first {
			s.speak()
		}
		err = s.handle(m)
		if s.stirred && (err != nil || !s.r.More()) {
			s.stirred = false
			s.p.tick()
		}
		if err != nil {
			return err
		}
		if s.w.Behind() {
			return wire.ErrBehind
		}
		if s.lease == 0 {
			continue
		}
		if ack := s.r.Ack(); ack != nil {
			s.w.Send(ack)
		}
	}
}

// speak notes that the worker has said something.
func (s *session) speak() {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.spoke = true
}

// handle takes one frame, and notes whether the queue is to be asked what follows
// from it.
func (s *session) handle(m wire.Message) error {
	now := time.Now()
	switch m := m.(type) {
	case *wire.Output:
		return s.output(m, now)
	case *wire.Result:
		s.result(m, now)
		s.stirred = true
		return nil
	case *wire.Goodbye:
		return s.farewell(m)
	case *wire.Ping:
		s.w.Send(&wire.Pong{Seq: m.Seq})
		return nil
	case *wire.Ack:
		return s.acknowledged(m.Received, now)
	}
	s.stirred = true
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	switch m := m.(type) {
	case *wire.Started:
		s.started(m, now)
	case *wire.Returned:
		s.returned(m, now)
	case *wire.Shared:
		return s.shared(m)
	case *wire.Lost:
		s.taskLost(m.Ref, oneLine(m.Reason), now)
	case *wire.Drain:
		s.drain(m.Reason)
	case *wire.Pong:
		return s.pong(m.Seq, now)
	}
	return nil
}

// drain assigns nothing more to a worker that is about to leave; tasks that
// were killed just before it said so were lost with it.
func (s *session) drain(reason string) {
	reason = oneLine(reason)
	bySignal := strings.HasPrefix(reason, "SIG") || reason == "walltime"
	s.p.log.Info("worker drains", "worker", s.id, "reason", reason)
	if !bySignal {
		s.retiring = reason
		s.p.queue.Set(s.epoch, queue.Retired)
		s.recallAll()
		return
	}
	s.signals = reason
	s.p.queue.Set(s.epoch, queue.Signalled)
	requeued, givenUp := s.p.queue.LoseHeld(s.epoch)
	byTask := s.byTask()
	for _, id := range requeued {
		s.requeued(byTask[id])
	}
	for _, id := range givenUp {
		s.resolveLost(byTask[id], Fate{Text: "the worker was told to end: " + reason})
	}
	s.recallAll()
}

// byTask returns the attempts by their tasks.
func (s *session) byTask() map[task.ID]*attempt {
	m := make(map[task.ID]*attempt, len(s.attempts))
	for _, a := range s.attempts {
		m[a.Task] = a
	}
	return m
}

// farewell notes why the worker leaves.
func (s *session) farewell(m *wire.Goodbye) error {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if int(m.Code) < len(s.p.left) {
		s.p.left[m.Code]++
	}
	if m.Code == wire.LeftWalltime {
		return errWalltime
	}
	return farewell{oneLine(m.Text)}
}

// farewell is a goodbye with the worker's words.
type farewell struct{ text string }

func (f farewell) Error() string { return errGoodbye.Error() + ": " + f.text }
func (f farewell) Unwrap() error { return errGoodbye }

// goodbye asks the worker to leave. Under Pool.mu.
func (s *session) goodbye() { s.send(&wire.Goodbye{Text: "the dispatcher ends"}) }
