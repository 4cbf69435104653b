package host

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"muster/internal/state"
)

// lookEvery is how often a listener looks whether its socket is still there.
const lookEvery = 2 * time.Second

// keptListener listens on a socket that it makes again if somebody removes it: what is
// old in /tmp is removed on many machines. One that another dispatcher has made in its
// place is left alone.
type keptListener struct {
	path string
	over chan struct{} // closed by Close

	mu   sync.Mutex  // guards all below
	cur  ownListener // which is closed when another takes its place
	file fs.FileInfo // the socket of cur; nil if that was gone at once
}

// ListenUnix listens on a socket that is this user's alone, in a folder that is. It is
// there until the listener is closed.
func ListenUnix(path string) (net.Listener, error) {
	l, err := listenUnix(path)
	if err != nil {
		return nil, err
	}
	k := &keptListener{path: path, over: make(chan struct{})}
	k.use(l)
	go k.keep()
	return k, nil
}

// use has l be the listener that is accepted from. Under mu, but for the first.
func (k *keptListener) use(l ownListener) {
	l.SetUnlinkOnClose(false) // it may not be its own
	k.cur = l
	k.file, _ = os.Lstat(k.path)
}

func (k *keptListener) current() ownListener {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.cur
}

// Accept returns the next connection of this user or root.
func (k *keptListener) Accept() (net.Conn, error) {
	for {
		l := k.current()
		c, err := l.Accept()
		if err == nil || !errors.Is(err, net.ErrClosed) || k.current() == l {
			return c, err
		}
	}
}

// Addr is the socket's path.
func (k *keptListener) Addr() net.Addr { return k.current().Addr() }

// Close removes the socket, and ends Accept.
func (k *keptListener) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	select {
	case <-k.over:
		return net.ErrClosed
	default:
		close(k.over)
	}
	if st, err := os.Lstat(k.path); err == nil && k.file != nil && os.SameFile(st, k.file) {
		os.Remove(k.path)
	}
	return k.cur.Close()
}

// keep makes the socket again when it is not there, until Close.
func (k *keptListener) keep() {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	for {
		select {
		case <-k.over:
			return
		case <-t.C:
		}
		if _, err := os.Lstat(k.path); errors.Is(err, fs.ErrNotExist) {
			k.again()
		}
	}
}

// again listens on the same path anew.
func (k *keptListener) again() {
	k.mu.Lock()
	defer k.mu.Unlock()
	select {
	case <-k.over:
		return
	default:
	}
	if err := state.RemakeSocketDir(filepath.Dir(k.path)); err != nil {
		return // it is tried again
	}
	l, err := listenUnix(k.path)
	if err != nil {
		return
	}
	old := k.cur
	k.use(l)
	old.Close()
}
