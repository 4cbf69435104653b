package relay

import (
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

// Conn is the near side of a link. Its methods may be called from any goroutine.
// Errors that come of a lost link are net.ErrClosed.
type Conn struct {
	session *yamux.Session
	log     hclog.Logger
	hello   Hello
	telling sync.Mutex // held while a notice is written

	mu        sync.Mutex // guards what follows
	listeners map[uint32]*Listener
	relayed   map[uint32]*relayedConn // by the number of its stream
	notices   *yamux.Stream
	nextID    uint32
	closing   bool
	err       error

	done    chan struct{}
	wg      sync.WaitGroup // goroutines that end with the session; none is added once closing is set
	winding sync.WaitGroup // those that close connections; the same
}

// Connect greets the far side on rw, which it owns from then on: it closes rw if
// it fails and when the link ends. A Close of rw must end its reads and writes.
// ctx is only for the greeting, which takes at most a minute in any case. Why
// nothing answered the far side's error output may say, which the caller has.
func Connect(ctx context.Context, rw io.ReadWriteCloser, o Options) (*Conn, error) {
	log := orNone(o.Log)
	theirs, err := greet(ctx, rw, o.Build, false)
	if err != nil {
		rw.Close()
		return nil, fmt.Errorf("connect to the relay: %w", err)
	}
	session, err := yamux.Client(lastRead{rw}, muxConfig(log, o.keepalive))
	if err != nil {
		rw.Close()
		return nil, fmt.Errorf("connect to the relay: %w", err)
	}
	c := &Conn{session: session, log: log, hello: Hello{Host: "the far side", Build: theirs.build},
		listeners: map[uint32]*Listener{}, relayed: map[uint32]*relayedConn{}, done: make(chan struct{})}
	c.wg.Go(c.accept)
	c.wg.Go(func() { sweep(session, o.keepalive, c.streams) })
	ctx, cancel := context.WithTimeoutCause(ctx, greetingWait, fmt.Errorf("it greeted, and then nothing came for %v", greetingWait))
	defer cancel()
	if err := c.introduce(ctx); err != nil {
		c.Close()
		return nil, fmt.Errorf("connect to the relay: %w", err)
	}
	return c, nil
}

// introduce learns who the far side is. The stream stays, for notices.
func (c *Conn) introduce(ctx context.Context) error {
	stream, err := c.open(ctx, "hello", struct{}{}, nil)
	if err != nil {
		return err
	}
	stop := expire(ctx, stream)
	var hello Hello
	_, err = c.readAnswer(stream, &hello)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return c.reason(ctx, "hello", err)
	}
	hello.Build, hello.Host, hello.User = oneLine(hello.Build), oneLine(hello.Host), oneLine(hello.User)
	c.mu.Lock()
	c.hello, c.notices = hello, stream
	c.mu.Unlock()
	if !c.begin(&c.wg) {
		return c.lost()
	}
	go c.hear(stream)
	return nil
}

// streams are those of all connections.
func (c *Conn) streams() []*yamux.Stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	streams := make([]*yamux.Stream, 0, len(c.relayed))
	for _, r := range c.relayed {
		streams = append(streams, r.stream)
	}
	return streams
}

// Hello returns what the far side said of itself.
func (c *Conn) Hello() Hello { return c.hello }

// Done is closed when the link has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err is nil while the link holds, then why it ended.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the link, and with it the relay, its listeners and connections and
// what Run runs. Connections closed before it are still wound up, for at most
// two seconds. It returns when nothing of c is left.
func (c *Conn) Close() error {
	c.mu.Lock()
	c.closing = true
	c.mu.Unlock()
	wound := make(chan struct{})
	go func() {
		c.winding.Wait()
		close(wound)
	}()
	select {
	case <-wound:
	case <-c.done:
	case <-time.After(2 * time.Second):
	}
	c.session.Close()
	<-wound
	<-c.done
	c.wg.Wait()
	return nil
}

// begin counts a goroutine into wg, unless the link has ended.
func (c *Conn) begin(wg *sync.WaitGroup) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return false
	}
	wg.Add(1)
	return true
}

// accept takes in connections until the link ends, whatever ends it.
func (c *Conn) accept() {
	var err error
	for err == nil {
		var stream *yamux.Stream
		if stream, err = c.session.AcceptStream(); err == nil {
			c.arrived(stream)
		}
	}
	c.session.Close()
	c.mu.Lock()
	c.closing = true
	c.err = &lostError{c.hello.Host, describe(err)}
	listeners := c.listeners
	c.listeners = nil
	c.mu.Unlock()
	for _, l := range listeners {
		l.shut()
	}
	close(c.done)
}

// describe puts yamux's errors into words of ours.
func describe(err error) error {
	switch {
	case errors.Is(err, yamux.ErrSessionShutdown):
		return errors.New("it was closed on this side")
	case errors.Is(err, io.EOF):
		return errors.New("the relay ended")
	case errors.Is(err, yamux.ErrKeepAliveTimeout):
		return errors.New("the far side has stopped answering")
	}
	return err
}

// lost waits for the end of the link, which has begun, and says why it ended.
func (c *Conn) lost() error {
	<-c.done
	return c.Err()
}

// call does one request. Its answer's bulk is returned.
func (c *Conn) call(ctx context.Context, op string, args any, bulk []byte, result any) ([]byte, error) {
	stream, err := c.open(ctx, op, args, bulk)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	stop := expire(ctx, stream)
	defer stop()
	out, err := c.readAnswer(stream, result)
	return out, c.reason(ctx, op, err)
}

// open sends a request and leaves its stream open for the answer.
func (c *Conn) open(ctx context.Context, op string, args any, bulk []byte) (*yamux.Stream, error) {
	text, err := json.Marshal(args)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	stream, err := c.session.OpenStream()
	if err != nil {
		return nil, c.reason(ctx, op, err)
	}
	stop := expire(ctx, stream)
	defer stop()
	if err = writeHeader(stream, request{op, text, int64(len(bulk))}); err == nil {
		err = writeBulk(stream, bulk)
	}
	if err != nil {
		stream.Close()
		return nil, c.reason(ctx, op, err)
	}
	return stream, nil
}

// expire lets the end of ctx end what waits for the stream.
func expire(ctx context.Context, stream *yamux.Stream) (stop func() bool) {
	return context.AfterFunc(ctx, func() { stream.SetDeadline(time.Unix(1, 0)) })
}

func (c *Conn) readAnswer(stream *yamux.Stream, result any) ([]byte, error) {
	var a answer
	if err := readHeader(stream, maxHeader, &a); err != nil {
		return nil, err
	}
	if a.Fault != nil {
		return nil, &remoteError{c.hello.Host, oneLine(a.Fault.Text), kinds()[a.Fault.Kind]}
	}
	if err := json.Unmarshal(a.Result, result); err != nil {
		return nil, err
	}
	return readBulk(stream, a.Bulk, 2*maxStream)
}

// reason finds what lies behind the error of a request: ctx, the link, or the
// far side itself.
func (c *Conn) reason(ctx context.Context, op string, err error) error {
	var far *remoteError
	switch {
	case err == nil || errors.As(err, &far):
		return err
	case ctx.Err() != nil:
		return fmt.Errorf("%s on %s: %w", op, c.hello.Host, context.Cause(ctx))
	case c.session.IsClosed():
		return c.lost()
	}
	return fmt.Errorf("%s on %s: %w", op, c.hello.Host, err)
}

// tell sends a notice.
func (c *Conn) tell(id uint32) {
	c.mu.Lock()
	notices := c.notices
	c.mu.Unlock()
	if notices == nil {
		return // a connection before the far side's first answer: its mistake
	}
	c.telling.Lock()
	defer c.telling.Unlock()
	notices.SetWriteDeadline(time.Now().Add(patience))
	if _, err := notices.Write(binary.BigEndian.AppendUint32(nil, id)); err != nil && !c.session.IsClosed() {
		c.log.Warn("notice not sent", "error", err)
	}
}

// hear reads the far side's notices.
func (c *Conn) hear(notices *yamux.Stream) {
	defer c.wg.Done()
	var id [4]byte
	for {
		if _, err := io.ReadFull(notices, id[:]); err != nil {
			return
		}
		c.mu.Lock()
		conn := c.relayed[binary.BigEndian.Uint32(id[:])]
		c.mu.Unlock()
		if conn != nil {
			conn.wasReset()
		}
	}
}
