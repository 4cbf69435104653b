package testbed

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// RESTVersion is the newest interface that slurmrestd has in Debian 12 (Slurm
// 22.05): /slurm/v0.0.38/jobs.
const RESTVersion = "v0.0.38"

// StartSlurmREST boots Slurm as StartSlurm does, and slurmrestd twice, since one
// process has only one kind of authentication.
//
// On Socket, a unix socket, callers are known by their user number
// (rest_auth/local): the daemon serves its own user and root and answers others
// with 401. Whoever calls, jobs run as the user that the daemon has, so that is for
// the test to choose: "" is the test's own, whose files muster's workers have to
// read.
//
// On URL, on the loopback, callers show a Token (rest_auth/jwt), and jobs run as
// the user whom X-SLURM-USER-NAME names.
func StartSlurmREST(dir string, nodes, cpus int, local string) (*Slurm, error) {
	key := make([]byte, 32)
	rand.Read(key)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "jwt.key")
	if err := os.WriteFile(path, key, 0o600); err != nil { // slurmctld wants nobody else to read it
		return nil, err
	}
	s, err := startSlurm(nil, dir, nodes, cpus, "AuthAltTypes=auth/jwt\nAuthAltParameters=jwt_key="+path+"\n")
	if err != nil {
		return nil, err
	}
	if err := s.startREST(local); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

func (s *Slurm) startREST(local string) error {
	own, err := user.Current()
	if err != nil {
		return err
	}
	if local == "" {
		local = own.Username
	}
	ports, err := freePorts(1)
	if err != nil {
		return err
	}
	addr := "127.0.0.1:" + strconv.Itoa(ports[0])
	s.Socket, s.URL = filepath.Join(s.Dir, "rest", "socket"), "http://"+addr
	if err := s.restDaemon(local, "local", "unix:"+s.Socket); err != nil {
		return err
	}
	// A token is passed through to slurmctld and this daemon needs no rights at all.
	// Without SLURM_JWT it would ask munge, which knows only its own user; with it
	// rest_auth/local would not work.
	if err := s.restDaemon("nobody", "jwt", addr, "SLURM_JWT=daemon"); err != nil {
		return err
	}
	token, err := s.Token(own.Username, time.Minute)
	if err != nil {
		return err
	}
	over := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", s.Socket)
	}}
	if err := s.await("slurmrestd on its socket", func() bool { return ping(over, "http://localhost", nil) }); err != nil {
		return err
	}
	return s.await("slurmrestd", func() bool {
		return ping(&http.Transport{}, s.URL, http.Header{"X-Slurm-User-Name": {own.Username}, "X-Slurm-User-Token": {token}})
	})
}

// restDaemon starts a slurmrestd as a user. It refuses to be root or SlurmUser,
// unless SLURMRESTD_SECURITY says otherwise. What it would load by itself is
// everything, and the interface of slurmdbd ends it where there is none: "slurm not
// configured with slurmdbd".
func (s *Slurm) restDaemon(as, auth, listen string, env ...string) error {
	path, err := look("slurmrestd")
	if err != nil {
		return err
	}
	u, err := user.Lookup(as)
	if err != nil {
		return err
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	cmd := exec.Command(path, "-f", s.Dir+"/slurm.conf", "-a", "rest_auth/"+auth, "-s", "openapi/v0.0.36,openapi/v0.0.37,openapi/"+RESTVersion, listen)
	cmd.Env = append(append(os.Environ(), s.Env...), env...)
	if uid == 0 {
		cmd.Env = append(cmd.Env, "SLURMRESTD_SECURITY=disable_user_check")
	}
	if uid != os.Getuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	}
	if auth == "local" {
		dir := filepath.Dir(s.Socket)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := os.Chown(dir, uid, gid); err != nil {
			return err
		}
	}
	return s.keep(cmd, "slurmrestd-"+auth)
}

func ping(t *http.Transport, base string, h http.Header) bool {
	defer t.CloseIdleConnections()
	req, err := http.NewRequest("GET", base+"/slurm/"+RESTVersion+"/ping", nil)
	if err != nil {
		return false
	}
	req.Header = h
	resp, err := (&http.Client{Transport: t, Timeout: 5 * time.Second}).Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// Token makes a token for a user. That of root, who is SlurmUser here, is good for
// every user that X-SLURM-USER-NAME names.
func (s *Slurm) Token(name string, life time.Duration) (string, error) {
	out, err := s.Output("scontrol", "token", "username="+name, fmt.Sprintf("lifespan=%d", int(life.Seconds())))
	if err != nil {
		return "", err
	}
	token, ok := strings.CutPrefix(strings.TrimSpace(out), "SLURM_JWT=")
	if !ok || token == "" {
		return "", fmt.Errorf("scontrol token: %s", out)
	}
	return token, nil
}
