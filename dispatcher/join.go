package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/dispatcher/internal/queue"
	"muster/internal/wire"
	mtls "muster/tls"
)

// serveConn admits one connection and serves it to its end.
func (d *Dispatcher) serveConn(raw net.Conn) {
	defer raw.Close()
	ctx, cancel := context.WithTimeout(context.Background(), HelloTimeout)
	defer cancel()
	raw.SetDeadline(time.Now().Add(HelloTimeout))
	s, l, err := d.join(ctx, raw)
	<-d.pending
	if err != nil {
		level := hclog.Warn
		if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, ErrClosed) || d.isClosed() {
			level = hclog.Debug // a worker that came in by another address, or when all was over
		}
		d.log.Log(level, "a peer was not admitted", "peer", raw.RemoteAddr().String(), "reason", err)
		return
	}
	s.serve(l)
}

// join shakes hands, checks the hello and answers it.
func (d *Dispatcher) join(ctx context.Context, raw net.Conn) (*session, *link, error) {
	conn, err := mtls.Server(ctx, raw, d.opt.Identity)
	if err != nil {
		return nil, nil, err
	}
	hello := &wire.Hello{}
	if err := wire.ReadHello(conn, hello); err != nil {
		return nil, nil, err
	}
	l := &link{raw: raw, gone: make(chan struct{})}
	welcome := &wire.Welcome{Version: wire.Version, Heartbeat: d.opt.Heartbeat, WorkerID: workerID(hello)}
	if hello.Resume {
		s, err := d.again(ctx, conn, hello, welcome, l)
		return s, l, err
	}
	s, err := d.first(conn, hello, welcome, l)
	return s, l, err
}

// first answers the hello of a worker that is new.
func (d *Dispatcher) first(conn *mtls.Conn, hello *wire.Hello, welcome *wire.Welcome, l *link) (*session, error) {
	in, err := d.admit(conn, hello)
	if err != nil {
		return nil, refuse(conn, welcome, err)
	}
	s := &session{d: d, p: in.pool, id: workerID(hello), hello: *hello, in: in.launch, link: l, since: time.Now(),
		attempts: map[queue.Ref]*attempt{}}
	if hello.Lease && in.opt.Lease > 0 {
		s.lease = min(in.opt.Lease, wire.MaxLease)
		s.key, err = mtls.NewSessionKey(conn, hello.ProofContext())
	}
	welcome.Profile, welcome.Lease = in.pool.name, s.lease
	if err == nil {
		err = wire.WriteHello(conn, welcome)
	}
	l.raw.SetDeadline(time.Time{})
	if err == nil {
		err = in.pool.open(s, conn)
	}
	if err != nil {
		in.launch.Release(hello.Element, hello.Restart)
	}
	return s, err
}

// again answers the hello of a worker whose last connection has broken.
func (d *Dispatcher) again(ctx context.Context, conn *mtls.Conn, hello *wire.Hello, welcome *wire.Welcome, l *link) (*session, error) {
	err := speaks(hello)
	var s *session
	if err == nil {
		s, err = d.resume(ctx, conn, hello, l)
	}
	if err != nil {
		return nil, refuse(conn, welcome, err)
	}
	welcome.Profile, welcome.Lease, welcome.Received = s.p.name, s.lease, s.r.Received()
	if wire.WriteHello(conn, welcome) != nil {
		l.raw.Close() // the link has broken already, as its reader will find
	}
	l.raw.SetDeadline(time.Time{})
	s.r.Continue(conn)
	s.w.Attach(conn)
	return s, nil
}

// refuse tells a peer why it is not let in, and returns that.
func refuse(conn *mtls.Conn, welcome *wire.Welcome, why error) error {
	welcome.Refused = why.Error()
	// A session of the same identity may be dead and not known to be.
	welcome.Later = errors.Is(why, mtls.ErrLive) || errors.Is(why, errBusy)
	wire.WriteHello(conn, welcome)
	return why
}

// workerID is the launch's element on its host, as users read it.
func workerID(h *wire.Hello) string { return h.Element + "@" + h.Host }

var errUnknownLaunch = errors.New("its join token is not known here: the launch it belongs to has ended, or it dialled another dispatcher")

// maxSlots bounds what one worker may claim.
const maxSlots = 4096

// speaks checks that both sides speak a protocol that the other knows.
func speaks(h *wire.Hello) error {
	if h.Version < wire.MinVersion || h.MinVersion > wire.Version {
		return fmt.Errorf("version mismatch: the worker speaks protocol %d to %d (muster %s), the dispatcher %d to %d: use the same muster on both sides",
			h.MinVersion, h.Version, h.Build, wire.MinVersion, wire.Version)
	}
	return nil
}

func (d *Dispatcher) admit(conn *mtls.Conn, h *wire.Hello) (in entrance, err error) {
	if err := speaks(h); err != nil {
		return in, err
	}
	d.mu.Lock()
	in = d.launches[h.Launch]
	d.mu.Unlock()
	if in.launch == nil {
		return in, errUnknownLaunch
	}
	if err := mtls.CheckProof(conn, in.launch.Token(), h.ProofContext(), h.Proof); err != nil {
		return in, err
	}
	if h.Slots < 1 || h.Slots > maxSlots {
		return in, fmt.Errorf("a worker has 1 to %d slots, not %d", maxSlots, h.Slots)
	}
	d.giveWay(h)
	return in, in.launch.Admit(h.Element, h.Restart, time.Now())
}

// open begins the session that conn has been welcomed to.
func (p *Pool) open(s *session, conn net.Conn) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	s.w, s.r = wire.NewAsyncWriter(conn), wire.NewReader(conn)
	s.w.Bound(int(s.hello.Slots))
	if s.lease > 0 {
		s.w.Retain()
		p.d.leases.add(s)
	}
	s.heard = time.Now()
	s.epoch = p.queue.Join(int(s.hello.Slots))
	p.sessions[s.epoch] = s
	p.joined++
	p.log.Info("worker joined", "worker", s.id, "profile", p.name, "slots", s.hello.Slots, "pid", s.hello.Pid)
	p.newcomer(s)
	p.pump(time.Now())
	return nil
}
