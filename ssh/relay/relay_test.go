package relay_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"muster/ssh/relay"
)

// doors are what the test binary does instead of testing.
const (
	doorVar      = "RELAY_TEST_DOOR"      // far, near, sleep
	keepaliveVar = "RELAY_TEST_KEEPALIVE" // of the far door
)

func TestMain(m *testing.M) {
	switch os.Getenv(doorVar) {
	case "far":
		os.Exit(farDoor())
	case "near":
		os.Exit(nearDoor())
	}
	os.Exit(m.Run())
}

func farDoor() int {
	rw, err := relay.Stdio()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	o := relay.ServeOptions{Build: "test"}
	if d, err := time.ParseDuration(os.Getenv(keepaliveVar)); err == nil {
		o = relay.ServeWithKeepalive(o, d)
	}
	if err := relay.Serve(context.Background(), rw, o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// nearDoor has a far side of its own with a port, says the far side's number
// and the port, and waits to be killed.
func nearDoor() int {
	rw, cmd, err := startFar()
	if err != nil {
		return 1
	}
	c, err := relay.Connect(context.Background(), rw, relay.Options{})
	if err != nil {
		return 1
	}
	l, err := c.Listen(context.Background(), relay.ListenRequest{Host: "127.0.0.1"})
	if err != nil {
		return 1
	}
	fmt.Println(cmd.Process.Pid, l.Addr())
	select {}
}

// pipes are the two ends of a process's standard input and output.
type pipes struct {
	io.Reader
	io.Writer
	close func() error
}

func (p *pipes) Close() error { return p.close() }

func startFar(env ...string) (io.ReadWriteCloser, *exec.Cmd, error) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), doorVar+"=far", "GORACE=atexit_sleep_ms=0"), env...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	return &pipes{out, in, func() error { return errors.Join(in.Close(), out.Close()) }}, cmd, nil
}

// subprocess connects to a far side that is a process.
func subprocess(t testing.TB, o relay.Options, env ...string) (*relay.Conn, *exec.Cmd) {
	t.Helper()
	rw, cmd, err := startFar(env...)
	if err != nil {
		t.Fatal(err)
	}
	c, err := relay.Connect(t.Context(), rw, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		ended := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
		cmd.Wait()
		if !ended.Stop() {
			t.Error("the far side outlived its link by 10 s")
		}
	})
	return c, cmd
}

// inProcess connects to a far side in this process. Its end is waited for.
func inProcess(t testing.TB, near, far io.ReadWriteCloser, o relay.Options, so relay.ServeOptions) *relay.Conn {
	t.Helper()
	served := make(chan error, 1)
	go func() { served <- relay.Serve(context.Background(), far, so) }()
	c, err := relay.Connect(t.Context(), near, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		select {
		case <-served:
		case <-time.After(10 * time.Second):
			t.Error("Serve outlived its link by 10 s")
		}
	})
	return c
}

func piped(t testing.TB) *relay.Conn {
	near, far := net.Pipe()
	return inProcess(t, near, far, relay.Options{Build: "near", Log: logger(t)}, relay.ServeOptions{Build: "far", Log: logger(t)})
}

func logger(t testing.TB) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Output: t.Output(), Level: hclog.Info})
}

// both runs a test with a far side in this process, and in another.
func both(t *testing.T, test func(t *testing.T, c *relay.Conn)) {
	t.Run("in process", func(t *testing.T) { t.Parallel(); test(t, piped(t)) })
	t.Run("process", func(t *testing.T) {
		t.Parallel()
		c, _ := subprocess(t, relay.Options{Log: logger(t)})
		test(t, c)
	})
}

// eventually polls what the system has no event for.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("10 s later: %s", what)
		}
	}
}

// lacks skips a test that needs something of the system, and fails it on CI,
// where all is there.
func lacks(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") != "" && runtime.GOOS == "linux" {
		t.Fatal("needs ", what)
	}
	t.Skip("needs ", what)
}

func refused(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err == nil {
		c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

func TestHello(t *testing.T) {
	c := piped(t)
	h := c.Hello()
	host, _ := os.Hostname()
	if h.Build != "far" || h.Host != host || h.User == "" || h.Self.Pid != os.Getpid() || h.OS == "" || h.Arch == "" {
		t.Errorf("the far side says of itself %+v", h)
	}
}

func TestNoGreeting(t *testing.T) {
	other := append([]byte("muster-relay\x00\x00\x00\x63build\x1b99"), make([]byte, 64-24)...)
	tests := []struct {
		name, says string
		kind       error
		text       string
	}{
		{"shell noise", "Welcome to the cluster!\nQuota: 3%\n", relay.ErrNoHello, "Welcome to the cluster!"},
		{"nothing", "", relay.ErrNoHello, "ended at once"},
		{"a word", "bash:", relay.ErrNoHello, "bash:"},
		{"cut off", "muster-relay\x00\x00\x00\x01bu", relay.ErrNoHello, "cut off"},
		{"another version", string(other), relay.ErrVersion, "build?99) speaks 99"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			near, far := net.Pipe()
			go func() {
				io.WriteString(far, test.says)
				if test.kind == relay.ErrVersion {
					io.ReadFull(far, make([]byte, 64))
				}
				far.Close()
			}()
			_, err := relay.Connect(t.Context(), near, relay.Options{})
			if !errors.Is(err, test.kind) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("Connect: %v", err)
			}
			if _, err := near.Write([]byte("x")); err == nil {
				t.Error("Connect failed and left its stream open")
			}
		})
	}
}

func TestServeRefusesAnotherVersion(t *testing.T) {
	near, far := net.Pipe()
	go func() {
		io.ReadFull(near, make([]byte, 64))
		near.Write(append([]byte("muster-relay\x00\x00\x00\x63"), make([]byte, 48)...))
	}()
	if err := relay.Serve(t.Context(), far, relay.ServeOptions{}); !errors.Is(err, relay.ErrVersion) {
		t.Errorf("Serve: %v", err)
	}
}

func TestConnectIsCancelled(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	ctx, cancel := context.WithCancel(t.Context())
	connected := make(chan error, 1)
	go func() {
		_, err := relay.Connect(ctx, near, relay.Options{})
		connected <- err
	}()
	cancel()
	select {
	case err := <-connected:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Connect: %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("Connect went on after its context's end")
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	near, far := net.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- relay.Serve(ctx, far, relay.ServeOptions{}) }()
	c, err := relay.Connect(t.Context(), near, relay.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-c.Done()
	if err := <-served; !errors.Is(err, context.Canceled) {
		t.Errorf("Serve: %v", err)
	}
	if err := c.Err(); !errors.Is(err, relay.ErrLost) {
		t.Errorf("Err: %v", err)
	}
	c.Close()
}

func TestNearKilled(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), doorVar+"=near")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var far int
	var addr string
	if _, err := fmt.Fscan(bufio.NewReader(out), &far, &addr); err != nil {
		t.Fatal(err)
	}
	if refused(addr) {
		t.Fatalf("nobody listens on %s", addr)
	}
	cmd.Process.Kill()
	cmd.Wait()
	eventually(t, "the port is still open", func() bool { return refused(addr) })
	eventually(t, "the far side is still there", func() bool { return gone(far) })
}

// gone is true for zombies too: in a container nobody may reap orphans.
func gone(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return syscall.Kill(pid, 0) != nil
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return strings.HasPrefix(rest, "Z")
}

func TestFarKilled(t *testing.T) {
	c, cmd := subprocess(t, relay.Options{})
	l := listen(t, c)
	accepted := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		accepted <- err
	}()
	running := make(chan error, 1)
	go func() {
		_, err := c.Run(t.Context(), relay.Command{Argv: []string{"sleep", "5"}})
		running <- err
	}()
	cmd.Process.Kill()
	<-c.Done()
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
	if err := <-running; !errors.Is(err, relay.ErrLost) {
		t.Errorf("Run: %v", err)
	}
	if _, err := c.Alive(t.Context(), nil); !errors.Is(err, relay.ErrLost) || !strings.Contains(err.Error(), "the relay ended") {
		t.Errorf("Alive: %v", err)
	}
	if _, err := c.Listen(t.Context(), relay.ListenRequest{}); !errors.Is(err, relay.ErrLost) {
		t.Errorf("Listen: %v", err)
	}
}

func TestFarStopped(t *testing.T) {
	c, cmd := subprocess(t, relay.WithKeepalive(relay.Options{}, 200*time.Millisecond))
	l := listen(t, c)
	t.Cleanup(func() { cmd.Process.Signal(syscall.SIGCONT) })
	cmd.Process.Signal(syscall.SIGSTOP)
	select {
	case <-c.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("a far side that does not answer was not given up")
	}
	if err := c.Err(); !errors.Is(err, relay.ErrLost) || !strings.Contains(err.Error(), "stopped answering") {
		t.Errorf("Err: %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
}

// frozen is a link that dies without a word: nothing passes any more, and
// nobody is told.
type frozen struct {
	net.Conn
	ice, closed chan struct{}
}

func (f *frozen) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	select {
	case <-f.ice:
		<-f.closed
		return 0, net.ErrClosed
	default:
		return n, err
	}
}

func (f *frozen) Write(p []byte) (int, error) {
	select {
	case <-f.ice:
		<-f.closed
		return 0, net.ErrClosed
	default:
		return f.Conn.Write(p)
	}
}

func (f *frozen) Close() error {
	close(f.closed)
	return f.Conn.Close()
}

func TestLinkDiesWithoutAWord(t *testing.T) {
	near, far := net.Pipe()
	f := &frozen{far, make(chan struct{}), make(chan struct{})}
	served := make(chan error, 1)
	go func() {
		served <- relay.Serve(t.Context(), closeOnce{f}, relay.ServeWithKeepalive(relay.ServeOptions{}, 200*time.Millisecond))
	}()
	c, err := relay.Connect(t.Context(), near, relay.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	addr := listen(t, c).Addr().String()
	peer, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	close(f.ice)
	select {
	case err := <-served:
		if !errors.Is(err, relay.ErrLost) {
			t.Errorf("Serve: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the far side did not notice that its link is dead")
	}
	if !refused(addr) {
		t.Error("the port outlived the link")
	}
	peer.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := peer.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection outlived the link: %v", err)
	}
}

// closeOnce makes a second Close harmless.
type closeOnce struct{ *frozen }

func (c closeOnce) Close() error {
	select {
	case <-c.closed:
		return nil
	default:
		return c.frozen.Close()
	}
}

// TestFarStoppedUnderLoad has writes under way that can't end.
func TestFarStoppedUnderLoad(t *testing.T) {
	c, cmd := subprocess(t, relay.WithKeepalive(relay.Options{}, 200*time.Millisecond))
	near, _ := connection(t, listen(t, c))
	t.Cleanup(func() { cmd.Process.Signal(syscall.SIGCONT) })
	cmd.Process.Signal(syscall.SIGSTOP)
	wrote := make(chan error, 1)
	go func() {
		buf := make([]byte, 1<<20)
		for {
			if _, err := near.Write(buf); err != nil {
				wrote <- err
				return
			}
		}
	}()
	select {
	case <-c.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("a far side that reads nothing was not given up")
	}
	if err := <-wrote; err == nil {
		t.Error("a write to nowhere succeeded")
	}
	if err := c.Err(); !errors.Is(err, relay.ErrLost) {
		t.Errorf("Err: %v", err)
	}
}
