package worker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"muster/internal/quiet"
	"muster/internal/wire"
	mtls "muster/tls"
)

// dialTimeout bounds dialling, handshake and hello together.
const dialTimeout = 20 * time.Second

// ErrRefused marks a dispatcher's refusal to admit the worker.
var ErrRefused = errors.New("the dispatcher refused this worker")

var errLater = errors.New("this may pass")

// admission is a connection on which the worker has been let in.
type admission struct {
	conn    *mtls.Conn
	welcome *wire.Welcome
	ticket  ticket // for the next connection of the same session
}

// ticket is what another connection of a session needs.
type ticket struct {
	launch   string
	key      mtls.SessionKey
	received uint64 // frames that have come
}

// finally reports whether the dispatcher has refused the worker for good.
func finally(err error) bool { return errors.Is(err, ErrRefused) && !errors.Is(err, errLater) }

// persist joins, again and again as long as Patience lasts: a job may start
// while the network or its dispatcher is not there, or while the session of
// its predecessor has not been given up.
func persist(ctx context.Context, o Options) (*admission, error) {
	deadline := time.Now().Add(o.Patience)
	if o.Patience < 0 {
		deadline = time.Now().AddDate(100, 0, 0)
	}
	for wait := time.Second; ; wait = min(2*wait, 10*time.Second) {
		in, why, err := joinUnlessTold(ctx, o)
		if why != "" {
			return nil, fmt.Errorf("told to end (%s) before it could join", why)
		}
		// Thousands may find at the same moment that nobody answers.
		pause := rand.N(wait)
		final := err == nil || finally(err) && o.AutoExit != ExitNever
		if final || time.Now().Add(pause).After(deadline) {
			return in, err
		}
		if o.Rejoin != nil {
			if join, err := o.Rejoin(); err == nil {
				o.Join = join
			}
		}
		o.Log.Warn("cannot join yet; trying again", "in", pause.Round(time.Millisecond), "error", err)
		select {
		case <-time.After(pause):
		case why := <-o.Drain:
			return nil, fmt.Errorf("told to end (%s) before it could join: %w", why, err)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// joinUnlessTold joins once, and gives that up when the worker is told to end; why
// is what it was told.
func joinUnlessTold(ctx context.Context, o Options) (in *admission, why string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	joined := make(chan struct{})
	go func() {
		defer close(joined)
		in, err = join(ctx, o, nil)
	}()
	select {
	case <-joined:
		return in, "", err
	case why = <-o.Drain:
	}
	cancel()
	<-joined
	if in != nil {
		in.conn.Close()
	}
	return nil, why, err
}

// join tries every address of the join string side by side and takes the
// first that lets the worker in: for a new session, or for t's.
func join(ctx context.Context, o Options, t *ticket) (*admission, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	type try struct {
		failure
		in *admission
	}
	// One address at a time says hello: a token admits one session, so two that
	// both reached the dispatcher must not both ask. Handshakes go side by side,
	// so that an address where nobody answers holds nobody up.
	var hello door
	tries := make(chan try, len(o.Join.Addrs))
	for _, addr := range o.Join.Addrs {
		go func() {
			in, err := joinOne(ctx, addr, o, t, &hello)
			tries <- try{failure{addr, err}, in}
		}()
	}
	var failed []failure
	var won *try
	for range o.Join.Addrs {
		t := <-tries
		switch {
		case t.err != nil:
			failed = append(failed, t.failure)
		case won == nil:
			won = &t
			cancel()
		default:
			t.in.conn.Close()
		}
	}
	if won != nil {
		return won.in, nil
	}
	return nil, fmt.Errorf("dial the dispatcher: %w", eachOnce(failed))
}

// failure is why an address did not let the worker in.
type failure struct {
	addr string
	err  error
}

// eachOnce says each reason once, with all addresses that have it: a dispatcher refuses
// a worker at each of its own.
func eachOnce(failed []failure) error {
	var list []error
	said := map[string]bool{}
	for i, f := range failed {
		if said[f.err.Error()] {
			continue
		}
		said[f.err.Error()] = true
		addrs := []string{f.addr}
		for _, g := range failed[i+1:] {
			if g.err.Error() == f.err.Error() {
				addrs = append(addrs, g.addr)
			}
		}
		list = append(list, fmt.Errorf("%s: %w", strings.Join(addrs, ", "), f.err))
	}
	return errors.Join(list...)
}

func joinOne(ctx context.Context, addr string, o Options, t *ticket, hello *door) (*admission, error) {
	network, address, ok := strings.Cut(addr, ":")
	if !ok || network != "tcp" && network != "unix" {
		return nil, fmt.Errorf("an address is tcp:HOST:PORT or unix:PATH")
	}
	dial := o.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	raw, err := dial(ctx, network, address)
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err // the caller names the address
	}
	if err != nil {
		return nil, err
	}
	raw = quiet.Conn(raw)
	if deadline, ok := ctx.Deadline(); ok {
		raw.SetDeadline(deadline)
	}
	in, err := greet(ctx, raw, o, t, hello)
	if err != nil {
		raw.Close()
		return nil, err
	}
	raw.SetDeadline(time.Time{})
	return in, nil
}

func greet(ctx context.Context, raw net.Conn, o Options, t *ticket, hello *door) (*admission, error) {
	conn, err := o.Join.Client(ctx, raw)
	if err != nil {
		return nil, err
	}
	hello.Lock()
	defer hello.Unlock()
	if err := ctx.Err(); err != nil || hello.passed {
		return nil, errors.Join(err, errPassed)
	}
	h, next, err := introduce(conn, o, t)
	if err != nil {
		return nil, err
	}
	if err := wire.WriteHello(conn, h); err != nil {
		return nil, err
	}
	welcome := &wire.Welcome{}
	if err := wire.ReadHello(conn, welcome); err != nil {
		return nil, err
	}
	if welcome.Refused != "" && welcome.Later {
		return nil, fmt.Errorf("%w: %s (%w)", ErrRefused, welcome.Refused, errLater)
	}
	if welcome.Refused != "" {
		return nil, fmt.Errorf("%w: %s", ErrRefused, welcome.Refused)
	}
	hello.passed = true
	return &admission{conn, welcome, next}, nil
}

// introduce makes the hello of a new session, or of another connection of t's,
// and the ticket for the connection after this one.
func introduce(conn *mtls.Conn, o Options, t *ticket) (*wire.Hello, ticket, error) {
	host, _ := os.Hostname()
	h := &wire.Hello{Version: wire.Version, MinVersion: wire.MinVersion, Launch: o.Join.Launch,
		Element: o.Element, Restart: o.Restart, Host: host, Pid: uint32(os.Getpid()),
		Slots: uint32(o.Slots), Build: o.Build, Lease: true}
	var err error
	if t != nil {
		h.Launch, h.Resume, h.Received = t.launch, true, t.received
		h.Proof, err = t.key.Proof(conn, h.ResumeContext())
		return h, *t, err
	}
	if h.Proof, err = mtls.Proof(conn, o.Join.Token, h.ProofContext()); err != nil {
		return nil, ticket{}, err
	}
	key, err := mtls.NewSessionKey(conn, h.ProofContext())
	return h, ticket{launch: h.Launch, key: key}, err
}

// door lets one connection at a time say hello, until one was let in.
type door struct {
	sync.Mutex
	passed bool
}

var errPassed = errors.New("another address was quicker")
