package host

import (
	"net"
	"os"
)

// listenUnix listens on a socket that is this user's alone, in a folder that is.
// Whoever dials it is this user too, or root: should others come that far, they are hung
// up on without a word.
func listenUnix(path string) (ownListener, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return ownListener{}, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return ownListener{}, err
	}
	return ownListener{l}, nil
}

// ownListener accepts connections of this user and of root.
type ownListener struct{ *net.UnixListener }

// Accept returns the next connection of this user or root.
func (l ownListener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		if uid, err := peerUser(c); err == nil && (uid == os.Geteuid() || uid == 0) {
			return c, nil
		}
		c.Close()
	}
}
