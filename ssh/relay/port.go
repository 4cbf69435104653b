package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"muster/internal/address"
)

// listen opens a port for as long as the request's stream is open.
func (s *server) listen(ctx context.Context, a *asked) error {
	var args listenArgs
	if err := a.args(&args); err != nil {
		return err
	}
	port, err := s.bind(ctx, args)
	if err != nil {
		return err
	}
	defer port.Close()
	watched, stop := a.watch(ctx)
	defer stop()
	result := listenResult{port.Addr().String(), addresses(watched, args.Host, port.Addr().(*net.TCPAddr).Port)}
	if err := a.reply(result, nil); err != nil {
		return err
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		<-watched.Done()
		port.Close()
	})
	s.acceptConns(watched, args.ID, port)
	wg.Wait() // the port is closed before the near side hears of it
	return nil
}

// bind opens the port, if necessary after the relay that was left behind there.
func (s *server) bind(ctx context.Context, args listenArgs) (*net.TCPListener, error) {
	addr := net.JoinHostPort(args.Host, strconv.Itoa(args.Port))
	if args.Host != "" && net.ParseIP(args.Host) == nil || args.Port < 0 || args.Port > 65535 {
		return nil, fmt.Errorf("listen on %q: this is no IP address and port", addr)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) && replace(ctx, args.Replace) {
		s.log.Info("ended an earlier relay", "pid", args.Replace.Pid)
		l, err = lc.Listen(ctx, "tcp", addr)
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("listen on %s: %w by another program; ask for another, or for any", addr, ErrPortTaken)
	}
	if err != nil {
		return nil, err // names what and where
	}
	return l.(*net.TCPListener), nil
}

// replace ends a process if it is a relay of this user's, and tells whether it
// has gone: SIGTERM, and SIGKILL after 3 seconds.
func replace(ctx context.Context, p Process) bool {
	if p.Pid == os.Getpid() || !isAlive(p) || !isRelay(p.Pid) {
		return false
	}
	for _, try := range []struct {
		sig  syscall.Signal
		wait time.Duration
	}{{syscall.SIGTERM, 3 * time.Second}, {syscall.SIGKILL, 2 * time.Second}} {
		if err := signalProcess(p, try.sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return false
		}
		if waitGone(ctx, p, try.wait) {
			return true
		}
	}
	return false
}

// waitGone polls, as only a parent is told of a process's end.
func waitGone(ctx context.Context, p Process, limit time.Duration) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(limit)
	for isAlive(p) {
		select {
		case <-tick.C:
		case <-deadline:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// acceptConns relays what comes in at a port until it is closed.
func (s *server) acceptConns(ctx context.Context, listener uint32, port *net.TCPListener) {
	var pause time.Duration
	for {
		tcp, err := port.AcceptTCP()
		switch {
		case err == nil:
			pause = 0
			s.admit(listener, tcp)
			continue
		case errors.Is(err, net.ErrClosed):
			return
		}
		// Most likely too many open files, which passes.
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		s.log.Warn("connection not accepted", "error", err, "again in", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// admit relays a connection, or closes it if there are too many.
func (s *server) admit(listener uint32, tcp *net.TCPConn) {
	select {
	case s.pending <- struct{}{}:
	default:
		s.log.Debug("connection closed", "peer", tcp.RemoteAddr(), "waiting", waiting)
		tcp.Close()
		return
	}
	select {
	case s.relayed <- struct{}{}:
	default:
		<-s.pending
		s.log.Warn("connection closed", "peer", tcp.RemoteAddr(), "relayed", maxRelayed)
		tcp.Close()
		return
	}
	s.wg.Go(func() {
		defer func() { <-s.relayed }()
		s.relay(listener, tcp)
	})
}

// maxAddresses bounds how many a far side may name.
const maxAddresses = address.Most

// addresses are where others may reach a port that is open on host.
func addresses(ctx context.Context, host string, port int) []string {
	hosts := []address.Address{{Host: host}}
	if host == "" {
		m, _ := address.Here(address.LookUp(ctx)) // without interfaces there is the name
		hosts, _ = m.Addresses(address.Choice{})  // none, if it has not even that
	}
	var all []string
	for _, h := range hosts {
		all = append(all, net.JoinHostPort(h.Host, strconv.Itoa(port)))
	}
	return all
}
