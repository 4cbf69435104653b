package control

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// maxClients bounds the connections of clients; where a process may have few files open,
// it is a quarter of those.
const maxClients = 4096

// clientsAllowed is maxClients, or less where the limit on open files asks for it.
func clientsAllowed() int {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return maxClients
	}
	return int(min(max(l.Cur/4, 64), maxClients))
}

// clients accepts connections while there is room for them, and answers the others that
// there is none. Nobody is hung up on without an answer, who would take it that no
// dispatcher is there, and start one.
type clients struct {
	net.Listener
	room     chan struct{}
	answered chan struct{} // those that are turned away now; others wait for that
}

func limitClients(l net.Listener, n int) *clients {
	return &clients{l, make(chan struct{}, n), make(chan struct{}, 64)}
}

// Accept returns the next connection that there is room for.
func (l *clients) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.room <- struct{}{}:
			return l.enter(c), nil
		default:
		}
		select {
		case l.room <- struct{}{}:
			return l.enter(c), nil
		case l.answered <- struct{}{}:
			go func() {
				l.turnAway(c)
				<-l.answered
			}()
		}
	}
}

func (l *clients) enter(c net.Conn) net.Conn {
	return &client{Conn: c, left: sync.OnceFunc(func() { <-l.room })}
}

// turnAway answers a call that has begun, whatever it asks: an answer before that would
// be none for whoever calls. It waits until the caller has the answer, who would get an
// error instead if it could not say all it has to.
func (l *clients) turnAway(c net.Conn) {
	defer c.Close()
	body, _ := json.Marshal(&Error{Code: "full", Message: fmt.Sprintf("%d clients are connected, and there may be no more", cap(l.room)),
		Hint: "try again; `muster wait` and `muster collect` hold one connection each"})
	c.SetDeadline(time.Now().Add(time.Second))
	if _, err := c.Read(make([]byte, 1)); err != nil {
		return
	}
	fmt.Fprintf(c, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		http.StatusServiceUnavailable, http.StatusText(http.StatusServiceUnavailable), len(body), body)
	io.Copy(io.Discard, c)
}

// client is a connection that has taken room.
type client struct {
	net.Conn
	left func()
}

func (c *client) Close() error {
	c.left()
	return c.Conn.Close()
}
