package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"muster/dispatcher/internal/queue"
	"muster/internal/wire"
	mtls "muster/tls"
)

// serveConn admits one connection and serves it to its end.
func (d *Dispatcher) serveConn(u *unadmitted, p *peer) {
	defer p.conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), HelloTimeout)
	defer cancel()
	p.conn.SetDeadline(time.Now().Add(HelloTimeout))
	s, l, err := d.join(ctx, p, u)
	u.leave(p)
	if err != nil {
		if !isQuiet(err) && !d.isClosed() {
			d.rejections.log(p.conn.RemoteAddr().String(), err)
		}
		return
	}
	cancel()
	s.serve(l)
}

// isQuiet reports whether a connection ended as those do of a worker that came in
// by another address, or when all was over.
func isQuiet(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, ErrClosed) || errors.Is(err, net.ErrClosed)
}

// join shakes hands, checks the hello and answers it.
func (d *Dispatcher) join(ctx context.Context, p *peer, u *unadmitted) (*session, *link, error) {
	conn, err := mtls.Server(ctx, p.conn, d.opt.Identity)
	if err != nil {
		return nil, nil, err
	}
	u.shaken(p)
	hello := &wire.Hello{}
	if err := wire.ReadHello(conn, hello); err != nil {
		return nil, nil, err
	}
	l := &link{raw: p.conn, gone: make(chan struct{})}
	welcome := &wire.Welcome{Version: wire.Version, Heartbeat: d.opt.Heartbeat, WorkerID: workerID(hello)}
	if hello.Resume {
		s, err := d.again(ctx, conn, hello, welcome, l)
		return s, l, err
	}
	s, err := d.first(ctx, conn, hello, welcome, l)
	return s, l, err
}

// first answers the hello of a worker that is new.
func (d *Dispatcher) first(ctx context.Context, conn *mtls.Conn, hello *wire.Hello, welcome *wire.Welcome, l *link) (s *session, err error) {
	in, err := d.admit(conn, hello)
	if err != nil {
		return nil, refuse(conn, welcome, err)
	}
	defer func() {
		if err != nil {
			in.launch.Retract(hello.Element, hello.Restart)
		}
	}()
	if err := in.pool.takeOver(ctx, hello); err != nil {
		return nil, refuse(conn, welcome, err)
	}
	s = &session{d: d, p: in.pool, id: workerID(hello), hello: *hello, in: in, link: l, since: time.Now(),
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
	return s, err
}

// again answers the hello of a worker whose last connection has broken.
func (d *Dispatcher) again(ctx context.Context, conn *mtls.Conn, hello *wire.Hello, welcome *wire.Welcome, l *link) (*session, error) {
	s, err := d.resume(ctx, conn, hello, l)
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
	welcome.Later = errors.Is(why, mtls.ErrLive) || errors.Is(why, mtls.ErrOften) || errors.Is(why, errBusy)
	wire.WriteHello(conn, welcome)
	return why
}

// workerID is the launch's element on its host, as users read it.
func workerID(h *wire.Hello) string { return h.Element + "@" + cutPrintable(h.Host, maxHost) }

var errUnknownLaunch = errors.New("its join token is not known here: it has expired or was revoked, the launch it belongs to has ended, or it dialled another dispatcher")

// maxSlots bounds what one worker may claim.
const maxSlots = 4096

// speaks checks that both sides speak a protocol that the other knows. A stranger is
// answered with numbers only.
func speaks(h *wire.Hello, proved bool) error {
	if h.Version >= wire.MinVersion && h.MinVersion <= wire.Version {
		return nil
	}
	build := ""
	if proved {
		build = fmt.Sprintf(" (muster %s)", cutPrintable(h.Build, maxBuild))
	}
	return fmt.Errorf("version mismatch: the worker speaks protocol %d to %d%s, the dispatcher %d to %d: use the same muster on both sides",
		h.MinVersion, h.Version, build, wire.MinVersion, wire.Version)
}

// unproved adds to why a peer's proof is none that it speaks another protocol, whose
// proofs may be other ones.
func unproved(h *wire.Hello, why error) error {
	if err := speaks(h, false); err != nil {
		return fmt.Errorf("%w; %w", why, err)
	}
	return why
}

// admit lets a worker in that proves its launch's token. Nothing that a peer says is
// looked at before that, but for what the proof is about.
func (d *Dispatcher) admit(conn *mtls.Conn, h *wire.Hello) (in entrance, err error) {
	d.mu.Lock()
	in = d.launches[h.Launch]
	d.mu.Unlock()
	err = errUnknownLaunch
	if in.launch != nil {
		err = mtls.CheckProof(conn, in.launch.Token(), h.ProofContext(), h.Proof)
	}
	if err != nil {
		return in, unproved(h, err)
	}
	if err := speaks(h, true); err != nil {
		return in, err
	}
	if h.Slots < 1 || h.Slots > maxSlots {
		return in, fmt.Errorf("a worker has 1 to %d slots, not %d", maxSlots, h.Slots)
	}
	if h.Element == "" || cutPrintable(h.Element, maxElement) != h.Element {
		return in, fmt.Errorf("a worker's name, which --element sets, is at most %d bytes of printable text", maxElement)
	}
	d.giveWay(h)
	return in, in.launch.Admit(h.Element, h.Restart, time.Now())
}

// bounds returns how many tasks a worker with so many slots may have at once, and
// how many bytes those may be: two a slot of any size, an everywhere, and small
// ones that are sent ahead.
func bounds(slots int) (tasks, bytes int) {
	ahead := min(queue.MaxAheadPerSlot*slots, queue.MaxAhead)
	return slots + ahead + 1, (2*slots+3)*wire.MaxFrame + 2*queue.MaxAheadBytes
}

// open begins the session that conn has been welcomed to.
func (p *Pool) open(s *session, conn net.Conn) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	if !s.in.launch.Holds(s.hello.Element, s.hello.Restart) {
		return errReplaced // since it was let in
	}
	p.d.roster.add(s)
	s.w, s.r = wire.NewAsyncWriter(conn), wire.NewReader(conn)
	s.r.Pace = s.pace.frame
	s.w.Bound(bounds(int(s.hello.Slots)))
	if s.lease > 0 {
		s.w.Retain()
	}
	s.heard = time.Now()
	s.epoch = p.queue.Join(queue.Amounts{Slots: int(s.hello.Slots)})
	p.sessions[s.epoch] = s
	p.joined++
	p.log.Info("worker joined", "worker", s.id, "profile", p.name, "slots", s.hello.Slots, "pid", s.hello.Pid)
	p.pump(time.Now())
	return nil
}
