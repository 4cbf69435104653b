package cli

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"muster/internal/state"
	mtls "muster/tls"
)

func (e *execution) listenLocal() (addr string, closeListener func(), err error) {
	dir, err := state.SocketDir(os.Getenv)
	if err != nil {
		return "", nil, err
	}
	state.PruneSockets(dir, time.Now())
	path := filepath.Join(dir, e.run.ID+".sock")
	e.socket = path
	l, err := net.Listen("unix", path)
	if err != nil {
		return "", nil, fmt.Errorf("listen for local workers: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return "", nil, fmt.Errorf("listen for local workers: %w", err)
	}
	go e.d.Serve(l)
	return "unix:" + path, func() { l.Close() }, nil
}

// letJoin writes the join file for workers started by hand.
func (e *execution) letJoin(id *mtls.Identity, local string) (undo func(), err error) {
	addrs := []string{local}
	closeTCP := func() {}
	if e.p.o.listen != "" {
		l, err := net.Listen("tcp", e.p.o.listen)
		if err != nil {
			return nil, usageError{fmt.Errorf("--listen %s: %w", e.p.o.listen, err)}
		}
		closeTCP = func() { l.Close() }
		go e.d.Serve(l)
		addrs = append(addrs, candidates(l.Addr().(*net.TCPAddr))...)
	}
	launch := mtls.NewLaunch("hand", e.p.o.joinUses, time.Time{})
	e.d.AddLaunch(launch)
	join := mtls.Join{Addrs: addrs, Pin: id.Pin(), Launch: launch.ID(), Token: launch.Token()}
	if err := mtls.WriteJoinFile(e.p.o.joinFile, join); err != nil {
		closeTCP()
		return nil, err
	}
	return func() {
		launch.Revoke()
		os.Remove(e.p.o.joinFile)
		closeTCP()
	}, nil
}

// candidates lists the addresses under which a listener may be reached.
func candidates(a *net.TCPAddr) []string {
	port := strconv.Itoa(a.Port)
	if !a.IP.IsUnspecified() {
		return []string{"tcp:" + net.JoinHostPort(a.IP.String(), port)}
	}
	var list []string
	if host, err := os.Hostname(); err == nil {
		list = append(list, "tcp:"+net.JoinHostPort(host, port))
	}
	ifaces, _ := net.InterfaceAddrs()
	for _, i := range ifaces {
		if n, ok := i.(*net.IPNet); ok && !n.IP.IsLinkLocalUnicast() {
			list = append(list, "tcp:"+net.JoinHostPort(n.IP.String(), port))
		}
	}
	return list
}
