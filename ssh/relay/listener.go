package relay

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
)

// Listener is a listening TCP port of the far side. Its connections are those
// that come in there. Connections that it has handed out outlive it.
type Listener struct {
	c         *Conn
	id        uint32
	addr      *net.TCPAddr
	addresses []string
	stream    *yamux.Stream // open as long as the port

	queue chan *relayedConn
	once  sync.Once
	done  chan struct{} // closed when Accept has ended
	gone  chan struct{} // closed when the far side's port is, or was given up
}

var _ net.Listener = (*Listener)(nil)

type listenArgs struct {
	ID      uint32
	Host    string
	Port    int
	Replace Process
}

type listenResult struct {
	Addr      string
	Addresses []string
}

// Listen opens a port on the far side. If it is taken, and not by r.Replace, the
// error is ErrPortTaken. r.Replace is ended only if it is a relay of the same user.
func (c *Conn) Listen(ctx context.Context, r ListenRequest) (*Listener, error) {
	l := &Listener{c: c, queue: make(chan *relayedConn, waiting), done: make(chan struct{}), gone: make(chan struct{})}
	if !c.register(l) {
		return nil, c.lost()
	}
	err := l.open(ctx, r)
	if err == nil && !c.begin(&c.wg) {
		err = c.lost()
	}
	if err != nil {
		l.shut()
		return nil, err
	}
	go l.watch()
	return l, nil
}

// register comes before the request, since connections may arrive before the
// answer has been looked at.
func (c *Conn) register(l *Listener) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return false
	}
	c.nextID++
	l.id = c.nextID
	c.listeners[l.id] = l
	return true
}

func (l *Listener) open(ctx context.Context, r ListenRequest) error {
	stream, err := l.c.open(ctx, "listen", listenArgs{l.id, r.Host, r.Port, r.Replace}, nil)
	if err != nil {
		return err
	}
	stop := expire(ctx, stream)
	var result listenResult
	_, err = l.c.readAnswer(stream, &result)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	var at netip.AddrPort
	if err == nil {
		at, err = netip.ParseAddrPort(result.Addr)
	}
	if err != nil {
		stream.Close()
		return l.c.reason(ctx, "listen", err)
	}
	l.stream, l.addr = stream, net.TCPAddrFromAddrPort(at)
	l.addresses = result.Addresses[:min(len(result.Addresses), maxAddresses)]
	return nil
}

// Accept returns the next connection, whose RemoteAddr is the peer as the far
// side sees it, and which has CloseWrite. Its error is net.ErrClosed if the
// listener was closed, or its link.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		select {
		case <-l.done:
			return nil, l.ended()
		case conn := <-l.queue:
			if conn.take() == nil {
				return conn, nil
			}
			conn.Close()
		}
	}
}

func (l *Listener) ended() error {
	if err := l.c.Err(); err != nil {
		return err
	}
	return &net.OpError{Op: "accept", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
}

// Close closes the port. It waits up to 5 seconds until the far side has done so.
func (l *Listener) Close() error {
	l.stream.SetReadDeadline(time.Now().Add(5 * time.Second))
	l.stream.Close()
	l.shut()
	<-l.gone
	return nil
}

// Addr is the address of the port on the far side.
func (l *Listener) Addr() net.Addr { return l.addr }

// Addresses are what others may reach the port by, each as HOST:PORT: the far
// side's names and its addresses that are not its own alone, or the address that
// was asked for. At most 32.
func (l *Listener) Addresses() []string { return l.addresses }

// watch ends the listener when the far side has closed the port.
func (l *Listener) watch() {
	defer l.c.wg.Done()
	defer close(l.gone)
	_, err := l.stream.Read(make([]byte, 1))
	if err != nil && err != io.EOF && !l.c.session.IsClosed() {
		l.c.log.Warn("port on the far side may still be open", "addr", l.addr, "error", err)
	}
	l.stream.Close()
	l.shut()
}

// shut ends Accept and drops who waits for it.
func (l *Listener) shut() {
	l.once.Do(func() {
		l.c.mu.Lock()
		delete(l.c.listeners, l.id)
		l.c.mu.Unlock()
		close(l.done)
		for {
			select {
			case conn := <-l.queue:
				conn.Close()
			default:
				return
			}
		}
	})
}

// arrived hands a connection of the far side to its listener.
func (c *Conn) arrived(stream *yamux.Stream) {
	var a arrival
	stream.SetReadDeadline(time.Now().Add(patience))
	err := readHeader(stream, maxBrief, &a)
	var peer netip.AddrPort
	if err == nil {
		peer, err = netip.ParseAddrPort(a.Peer)
	}
	if err != nil {
		c.log.Warn("connection dropped: no word of where it comes from", "error", err)
		stream.Close()
		return
	}
	stream.SetReadDeadline(time.Time{})
	conn := &relayedConn{c: c, stream: stream, peer: net.TCPAddrFromAddrPort(peer)}
	if err := c.deliver(conn, a.Listener); err != nil {
		c.log.Warn("connection dropped", "peer", peer, "reason", err)
		conn.Close()
	}
}

func (c *Conn) deliver(conn *relayedConn, listener uint32) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.relayed[conn.stream.StreamID()] = conn
	l := c.listeners[listener]
	if l == nil {
		return fmt.Errorf("its listener %d is closed", listener)
	}
	conn.local = l.addr
	select {
	case l.queue <- conn:
		return nil
	default:
		return fmt.Errorf("%d others wait", waiting)
	}
}
