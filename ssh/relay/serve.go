package relay

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/yamux"
)

const (
	maxRequests = 256   // at a time
	maxRelayed  = 16384 // connections at a time
)

// server is the far side.
type server struct {
	session  *yamux.Session
	log      hclog.Logger
	o        ServeOptions
	requests chan struct{} // a place for each request under way
	relayed  chan struct{} // a place for each connection
	pending  chan struct{} // a place for each that nobody has accepted yet
	buffers  sync.Pool     // of *[chunk]byte
	started  children
	wg       sync.WaitGroup

	mu      sync.Mutex        // guards what follows
	conns   map[uint32]*relay // by the number of its stream
	ended   bool              // no more of them
	notices *yamux.Stream
	telling sync.Mutex // held while a notice is written
}

// Serve is the far side on rw, which it closes. A Close of rw must end its reads
// and writes. Serve returns nil when the near side has ended the link, an error
// when ctx is done, or the link is dead without a word: after 45 seconds at most.
// By then its ports and connections are closed and what Run runs has been killed;
// what Start has started goes on.
func Serve(ctx context.Context, rw io.ReadWriteCloser, o ServeOptions) error {
	defer rw.Close()
	if _, err := greet(ctx, rw, o.Build, true); err != nil {
		return fmt.Errorf("serve a relay: %w", err)
	}
	log := orNone(o.Log)
	session, err := yamux.Server(lastRead{rw}, muxConfig(log, o.keepalive))
	if err != nil {
		return fmt.Errorf("serve a relay: %w", err)
	}
	s := &server{session: session, log: log, o: o, conns: map[uint32]*relay{},
		requests: make(chan struct{}, maxRequests), relayed: make(chan struct{}, cmp.Or(o.connections, maxRelayed)), pending: make(chan struct{}, waiting),
		buffers: sync.Pool{New: func() any { return new([chunk]byte) }}}
	return s.serve(ctx)
}

func (s *server) serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { s.session.Close() })
	defer stop()
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.wg.Go(func() { s.started.reap(running) })
	s.wg.Go(func() { sweep(s.session, s.o.keepalive, s.open) })
	err := s.accept(running)
	cancel()
	s.session.Close()
	s.endConns()
	s.wg.Wait()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("serve a relay: %w", context.Cause(ctx))
	case errors.Is(err, io.EOF):
		return nil
	case errors.Is(err, yamux.ErrKeepAliveTimeout):
		return fmt.Errorf("serve a relay: %w: the near side has stopped answering", errLost)
	}
	return fmt.Errorf("serve a relay: %w: %w", errLost, err)
}

// accept takes requests until the link ends, and says why it did.
func (s *server) accept(ctx context.Context) error {
	for {
		stream, err := s.session.AcceptStream()
		if err != nil {
			return err
		}
		select {
		case s.requests <- struct{}{}:
		default:
			s.log.Warn("request refused", "under way", maxRequests)
			stream.Close()
			continue
		}
		s.wg.Go(func() {
			defer func() { <-s.requests }()
			s.request(ctx, stream)
		})
	}
}

// asked is a request on the far side.
type asked struct {
	request
	stream *yamux.Stream
	left   io.LimitedReader // what is still to come of the bulk
}

func (s *server) request(ctx context.Context, stream *yamux.Stream) {
	defer stream.Close()
	a := &asked{stream: stream}
	stream.SetReadDeadline(time.Now().Add(patience))
	if err := readHeader(stream, maxHeader, &a.request); err != nil {
		s.log.Debug("request not understood", "error", err)
		return
	}
	stream.SetReadDeadline(time.Time{})
	a.left = io.LimitedReader{R: stream, N: a.Bulk}
	err := s.handle(ctx, a)
	if err != nil {
		io.Copy(io.Discard, &a.left) // else the near side would wait for it to be read
		err = writeHeader(stream, answer{Fault: newFault(err)})
	}
	if err != nil && !s.session.IsClosed() {
		s.log.Debug("answer not sent", "request", a.Op, "error", err)
	}
}

func (s *server) handle(ctx context.Context, a *asked) error {
	if a.Bulk < 0 || a.Bulk > maxFile {
		a.left.N = 0
		return fmt.Errorf("%d bytes were announced; %d are possible", a.Bulk, maxFile)
	}
	switch a.Op {
	case "hello":
		return s.hear(a)
	case "listen":
		return s.listen(ctx, a)
	case "run":
		return s.run(ctx, a)
	case "start":
		return s.start(a)
	case "alive":
		return s.alive(a)
	case "signal":
		return s.signal(a)
	case "write":
		return s.write(a)
	case "remove":
		return s.remove(a)
	case "tail":
		return s.tail(a)
	case "stat":
		return s.stat(a)
	}
	return fmt.Errorf("%.100q is no request that this relay knows", a.Op)
}

func (a *asked) args(v any) error {
	if err := json.Unmarshal(a.Args, v); err != nil {
		return fmt.Errorf("%s: the request makes no sense: %w", a.Op, err)
	}
	return nil
}

// reply answers; what goes wrong with that concerns nobody, the near side least.
func (a *asked) reply(result any, bulk []byte) error {
	text, err := json.Marshal(result)
	if err != nil {
		return err
	}
	if writeHeader(a.stream, answer{Result: text, Bulk: int64(len(bulk))}) == nil {
		writeBulk(a.stream, bulk)
	}
	return nil
}

// watch cancels what it returns when the near side gives the request up, which
// it does by ending its stream. stop ends the watching.
func (a *asked) watch(ctx context.Context) (watched context.Context, stop func()) {
	watched, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		a.stream.Read(make([]byte, 1)) // nothing is to come
		cancel()
	})
	return watched, func() {
		a.stream.SetReadDeadline(time.Unix(1, 0))
		wg.Wait()
	}
}

// hear says who this is and then reads the near side's notices: nobody reads these
// connections any more.
func (s *server) hear(a *asked) error {
	hello := s.hello()
	s.mu.Lock()
	s.notices = a.stream
	s.mu.Unlock()
	if err := a.reply(hello, nil); err != nil {
		return err
	}
	var id [4]byte
	for {
		if _, err := io.ReadFull(a.stream, id[:]); err != nil {
			return nil
		}
		s.mu.Lock()
		r := s.conns[binary.BigEndian.Uint32(id[:])]
		s.mu.Unlock()
		if r != nil {
			r.unread()
		}
	}
}

// tell sends a notice: the peer has reset this connection.
func (s *server) tell(id uint32) {
	s.mu.Lock()
	notices := s.notices
	s.mu.Unlock()
	if notices == nil {
		return
	}
	s.telling.Lock()
	defer s.telling.Unlock()
	notices.SetWriteDeadline(time.Now().Add(patience))
	notices.Write(binary.BigEndian.AppendUint32(nil, id)) // fails with the link alone
}
