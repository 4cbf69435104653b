package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"muster/internal/wire"
	mtls "muster/tls"
)

// client is a worker as its dispatcher sees it. It ends each task as soon as it
// has it.
type client struct {
	conn   *mtls.Conn
	in     *wire.Reader
	out    *wire.Writer
	tasks  atomic.Int64
	failed atomic.Pointer[error]
}

// joinAs joins as the i-th worker.
func joinAs(i int, join mtls.Join) (*client, error) {
	raw, err := dialFrom(i, join.Addrs[0])
	if err != nil {
		return nil, err
	}
	c, err := greet(i, raw, join)
	if err != nil {
		raw.Close()
		return nil, err
	}
	go func() {
		err := c.serve()
		c.failed.Store(&err)
	}()
	return c, nil
}

func greet(i int, raw net.Conn, join mtls.Join) (*client, error) {
	conn, err := mtls.Client(context.Background(), raw, join.Pin)
	if err != nil {
		return nil, err
	}
	h := &wire.Hello{Version: wire.Version, MinVersion: wire.MinVersion, Launch: join.Launch, Element: fmt.Sprint(i + 1),
		Host: "bench", Pid: uint32(os.Getpid()), Slots: 1, Build: "bench", Lease: true}
	if h.Proof, err = mtls.Proof(conn, join.Token, h.ProofContext()); err != nil {
		return nil, err
	}
	if err := wire.WriteHello(conn, h); err != nil {
		return nil, err
	}
	w := &wire.Welcome{}
	if err := wire.ReadHello(conn, w); err != nil {
		return nil, err
	}
	if w.Refused != "" {
		return nil, fmt.Errorf("the dispatcher refused: %s", w.Refused)
	}
	c := &client{conn: conn, in: wire.NewReader(conn), out: wire.NewWriter(conn)}
	c.out.Retain()
	return c, nil
}

// leave says goodbye and waits, for a second, until the dispatcher hangs up.
func (c *client) leave() {
	defer c.conn.NetConn().Close()
	c.out.Send(&wire.Goodbye{})
	for end := time.Now().Add(time.Second); c.failed.Load() == nil && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
}

// serve answers until the connection ends.
func (c *client) serve() error {
	for {
		m, err := c.in.Read()
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *wire.Assign:
			c.tasks.Add(1)
			err = c.out.Send(&wire.Started{Ref: m.Ref, Slot: 1}, &wire.Result{Ref: m.Ref, Slot: 1, Started: time.Now()})
		case *wire.Ping:
			err = c.out.Send(&wire.Pong{Seq: m.Seq})
		case *wire.Ack:
			err = c.out.Acked(m.Received)
		case *wire.Goodbye:
			err = fmt.Errorf("the dispatcher said goodbye: %s", m.Text)
		}
		if err != nil {
			return err
		}
		if ack := c.in.Ack(); ack != nil {
			c.out.Send(ack)
		}
	}
}

// heartbeats has each worker ping its dispatcher once in beat, one after the
// other, until stop is closed.
func heartbeats(workers []*client, stop <-chan struct{}) {
	const beat = 5 * time.Second
	t := time.NewTicker(max(beat/time.Duration(len(workers)), time.Microsecond))
	defer t.Stop()
	for seq := uint64(1); ; seq++ {
		for _, w := range workers {
			select {
			case <-stop:
				return
			case <-t.C:
				w.out.Send(&wire.Ping{Seq: seq})
			}
		}
	}
}
