package http

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a network without sockets, for a server and its clients in a bubble.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) dial(ctx context.Context, network, address string) (net.Conn, error) {
	mine, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return mine, nil
	case <-p.done:
		return nil, syscall.ECONNREFUSED
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{} }

// bubble runs a test in a time of its own, with a server and a client of it.
func bubble(t *testing.T, h http.HandlerFunc, test func(t *testing.T, c *Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		s := &http.Server{Handler: h}
		served := make(chan struct{})
		go func() { s.Serve(p); close(served) }()
		c := &Client{dial: p.dial}
		defer func() { c.Close(); s.Close(); <-served }()
		test(t, c)
	})
}

const service = "http://service.example/secret?token=secret"

// script answers one request after the other, each with a status and a Retry-After,
// and after the last with 200.
func script(answers ...string) (http.HandlerFunc, *[]time.Duration) {
	var asked []time.Duration
	var begin time.Time
	return func(w http.ResponseWriter, r *http.Request) {
		if asked == nil {
			begin = time.Now()
		}
		asked = append(asked, time.Since(begin))
		if len(answers) == 0 {
			return
		}
		code, after, has := strings.Cut(answers[0], " ")
		answers = answers[1:]
		if has {
			w.Header().Set("Retry-After", after)
		}
		n, _ := strconv.Atoi(code)
		w.WriteHeader(n)
	}, &asked
}

func TestBusy(t *testing.T) {
	s := time.Second
	for _, c := range []struct {
		name    string
		answers []string
		status  int
		asked   []time.Duration
	}{
		{"seconds", []string{"429 2"}, 200, []time.Duration{0, 2 * s}},
		{"503", []string{"503 3"}, 200, []time.Duration{0, 3 * s}},
		{"a date", []string{"429 Sat, 01 Jan 2000 00:00:40 GMT"}, 200, []time.Duration{0, 40 * s}}, // bubbles begin with the year 2000
		{"a date that is over", []string{"429 Fri, 31 Dec 1999 00:00:00 GMT"}, 200, []time.Duration{0, s}},
		{"none", []string{"429", "429", "429", "429", "429", "429", "429"}, 200, []time.Duration{0, s, 3 * s, 7 * s, 15 * s, 31 * s, 61 * s, 91 * s}},
		{"now", []string{"429 0", "429 0"}, 200, []time.Duration{0, s, 3 * s}},
		{"words", []string{"429 soon", "429 -7"}, 200, []time.Duration{0, s, 3 * s}},
		{"503 without", []string{"503"}, 503, []time.Duration{0}},
		{"500", []string{"500 1"}, 500, []time.Duration{0}},
		{"too long", []string{"429 601"}, 429, []time.Duration{0}},
		{"never", []string{"429 99999999999999999"}, 429, []time.Duration{0}},
		{"in all too long", []string{"429 300", "429 300", "429 1"}, 429, []time.Duration{0, 300 * s, 600 * s}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, asked := script(c.answers...)
			bubble(t, h, func(t *testing.T, cl *Client) {
				a, err := cl.Do(t.Context(), Request{Method: "POST", URL: service, Body: "b"})
				if err != nil || a.Status != c.status || fmt.Sprint(*asked) != fmt.Sprint(c.asked) {
					t.Errorf("%d, %v, asked at %v, want %d at %v", a.Status, err, *asked, c.status, c.asked)
				}
			})
		})
	}
}

// TestStorm has 200 requests at once go to a service that takes ten in a second.
func TestStorm(t *testing.T) {
	var mu sync.Mutex
	taken := map[string]int{}
	var window time.Time
	inWindow, refused := 0, 0
	var said []string
	bubble(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		if time.Since(window) >= time.Second {
			window, inWindow = time.Now(), 0
		}
		if inWindow++; inWindow > 10 {
			refused++
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(429)
			return
		}
		taken[string(body)]++
	}, func(t *testing.T, c *Client) {
		c.Say = func(format string, args ...any) {
			mu.Lock()
			said = append(said, fmt.Sprintf(format, args...))
			mu.Unlock()
		}
		begin := time.Now()
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				a, err := c.Do(t.Context(), Request{Method: "POST", URL: service, Body: fmt.Sprint(i)})
				if err != nil || a.Status != 200 {
					t.Errorf("%d: %d, %v", i, a.Status, err)
				}
			})
		}
		wg.Wait()
		if took := time.Since(begin); took > 30*time.Second {
			t.Errorf("it took %s", took)
		}
	})
	for i := range 200 {
		if n := taken[fmt.Sprint(i)]; n != 1 {
			t.Errorf("%d was taken %d times", i, n)
		}
	}
	if len(taken) != 200 || refused > 190+20*10 { // all that came at first, and then as many as were taken
		t.Errorf("%d were taken, and %d refused", len(taken), refused)
	}
	if len(said) != 1 || said[0] != "http://service.example is busy (429 Too Many Requests) and says to come again in 1s; Ctrl-C gives it up" {
		t.Errorf("the user was told %q", said)
	}
}

// TestGateIsShared has others wait as well, and pass one after the other.
func TestGateIsShared(t *testing.T) {
	h, asked := script("429 5")
	var mu sync.Mutex
	bubble(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		h(w, r)
		mu.Unlock()
		time.Sleep(time.Millisecond)
	}, func(t *testing.T, c *Client) {
		var wg sync.WaitGroup
		wg.Go(func() { c.Do(t.Context(), Request{URL: service}) })
		time.Sleep(time.Second)
		for range 20 {
			wg.Go(func() {
				if a, err := c.Do(t.Context(), Request{Method: "DELETE", URL: service}); err != nil || a.Status != 200 {
					t.Error(a.Status, err)
				}
			})
		}
		wg.Wait()
	})
	at := map[time.Duration]int{}
	for _, d := range *asked {
		at[d.Round(time.Millisecond)-5*time.Second]++
	}
	ms := time.Millisecond
	if len(*asked) != 22 || at[ms] != 1 || at[2*ms] != 2 || at[3*ms] != 4 {
		t.Errorf("%d were sent: %v", len(*asked), *asked)
	}
}

// TestManyRefusedAtOnce has a service refuse what was under way at the same time, without
// saying when to come again: that is one refusal, not many.
func TestManyRefusedAtOnce(t *testing.T) {
	var begin time.Time
	bubble(t, func(w http.ResponseWriter, r *http.Request) {
		if time.Since(begin) < 900*time.Millisecond {
			w.WriteHeader(429)
		}
	}, func(t *testing.T, c *Client) {
		begin = time.Now()
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if a, err := c.Do(t.Context(), Request{Method: "POST", URL: service, Body: "b"}); err != nil || a.Status != 200 {
					t.Error(a.Status, err)
				}
			})
		}
		wg.Wait()
		if took := time.Since(begin); took != time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

// TestDroppedAsItPassed has a request given up at the moment at which it may pass: the
// next passes in its place.
func TestDroppedAsItPassed(t *testing.T) {
	first, second := &waiter{passed: make(chan struct{})}, &waiter{passed: make(chan struct{})}
	g := &gate{width: 1, queue: []*waiter{first, second}}
	g.wake()
	<-first.passed
	g.drop(first)
	select {
	case <-second.passed:
	default:
		t.Error("the second may not pass")
	}
	if g.flying != 1 || len(g.queue) != 0 {
		t.Errorf("%d are under way, and %d wait", g.flying, len(g.queue))
	}
}

// TestAnswerFromBefore has a request answered that was sent before the service became
// busy: that does not make it less busy.
func TestAnswerFromBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{}
		left := time.Hour
		early, _ := g.pass(t.Context(), &left, nil)
		late, _ := g.pass(t.Context(), &left, nil)
		g.shut(late, 20*time.Second, "429")
		g.leave(early, true)
		if g.width != 1 || g.since.IsZero() || g.flying != 0 {
			t.Errorf("%d may be under way, and %d are", g.width, g.flying)
		}
	})
}

func TestSay(t *testing.T) {
	var said []string
	answers := []string{"429 8", "429 8", "503 8", "200", "429 12"}
	h, _ := script(answers...)
	bubble(t, h, func(t *testing.T, c *Client) {
		c.Say = func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
		for range 2 {
			if a, err := c.Do(t.Context(), Request{URL: service}); err != nil || a.Status != 200 {
				t.Error(a.Status, err)
			}
		}
	})
	want := "http://service.example is busy (429 Too Many Requests) and says to come again in 8s; Ctrl-C gives it up\n" +
		"http://service.example is busy (429 Too Many Requests) and says to come again in 12s; Ctrl-C gives it up"
	if strings.Join(said, "\n") != want {
		t.Errorf("said %q", said)
	}
}

func TestBusyIsGivenUp(t *testing.T) {
	h, asked := script("429 60", "429 60")
	bubble(t, h, func(t *testing.T, c *Client) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		// The service has refused it, and so it has not begun.
		if _, err := c.Do(ctx, Request{Method: "POST", URL: service, Body: "b"}); !errors.Is(err, ErrNotSent) || !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "secret") {
			t.Error(err)
		}
		// Another may not wait so long, and is not sent.
		c.Wait = 10 * time.Second
		begin := time.Now()
		if _, err := c.Do(t.Context(), Request{URL: service}); !errors.Is(err, ErrNotSent) || time.Since(begin) != 0 || strings.Contains(err.Error(), "secret") {
			t.Error(err, time.Since(begin))
		}
		if len(*asked) != 1 {
			t.Errorf("asked at %v", *asked)
		}
		// One that is given up leaves the way to the others.
		c.Wait = 0
		if a, err := c.Do(t.Context(), Request{URL: service}); err != nil || a.Status != 200 || len(*asked) != 3 {
			t.Error(a.Status, err, *asked)
		}
	})
}

func TestGivenUpBeforeItIsSent(t *testing.T) {
	h, asked := script()
	bubble(t, h, func(t *testing.T, c *Client) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.Do(ctx, Request{Method: "POST", URL: service, Body: "b"}); !errors.Is(err, ErrNotSent) || !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		// Nobody accepts the connection.
		c.dial = func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Do(ctx, Request{Method: "POST", URL: service, Body: "b"}); !errors.Is(err, ErrNotSent) || !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if _, err := c.Do(t.Context(), Request{Method: "POST", URL: service, Body: "b"}); !errors.Is(err, ErrNotSent) || !strings.Contains(err.Error(), "within 30s") || strings.Contains(err.Error(), "accepted") {
			t.Error(err)
		}
		if len(*asked) != 0 {
			t.Errorf("asked at %v", *asked)
		}
	})
}

func TestRefused(t *testing.T) {
	for socket, pause := range map[string]time.Duration{"": 3 * time.Second, "/run/s": 3 * time.Second, "/missing": 0} {
		synctest.Test(t, func(t *testing.T) {
			tries := 0
			c := &Client{dial: func(_ context.Context, network, address string) (net.Conn, error) {
				tries++
				if address == "/missing" {
					return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ENOENT}
				}
				return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
			}}
			begin := time.Now()
			_, err := c.Do(t.Context(), Request{Method: "POST", URL: "http://h/", Socket: socket, Body: "b"})
			if !errors.Is(err, ErrNotSent) || time.Since(begin) != pause || tries != 1+int(pause/time.Second) {
				t.Errorf("%v after %s and %d tries", err, time.Since(begin), tries)
			}
			if socket != "" && !strings.Contains(err.Error(), "POST unix:"+socket) {
				t.Error(err)
			}
		})
	}
	// It comes up after a while.
	h, asked := script()
	bubble(t, h, func(t *testing.T, c *Client) {
		dial, tries := c.dial, 0
		c.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if tries++; tries < 4 {
				return nil, syscall.ECONNREFUSED
			}
			return dial(ctx, network, address)
		}
		if a, err := c.Do(t.Context(), Request{Method: "POST", URL: service, Body: "b"}); err != nil || a.Status != 200 || len(*asked) != 1 {
			t.Error(a.Status, err, *asked)
		}
	})
}

func TestUnknownHost(t *testing.T) {
	c := &Client{dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "h", IsNotFound: true}}
	}}
	if _, err := c.Do(t.Context(), Request{URL: service}); !errors.Is(err, ErrNotSent) || !strings.Contains(err.Error(), "name of the host is not known") {
		t.Error(err)
	}
}

// TestNothingIsSentTwice has a service that closes a connection when a second request
// comes on it, with and without having read it: net/http sends again what it takes for
// harmless.
func TestNothingIsSentTwice(t *testing.T) {
	for _, first := range []string{"GET", "POST"} {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
			for _, body := range []string{"", "b", "once"} { // once is none, of a request that starts something
				once := body == "once"
				if once {
					body = ""
				}
				t.Run(fmt.Sprint(first, " ", method, " ", body, once), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						var mu sync.Mutex
						got := map[string]int{}
						c := &Client{dial: func(context.Context, string, string) (net.Conn, error) {
							mine, theirs := net.Pipe()
							go breaking(theirs, func(m string) { mu.Lock(); got[m]++; mu.Unlock() })
							return mine, nil
						}}
						if a, err := c.Do(t.Context(), Request{Method: first, URL: service + "&first", Headers: []Header{{"X", "first"}}}); err != nil || a.Status != 200 {
							t.Fatal(a.Status, err)
						}
						key := []Header{{"Idempotency-Key", "1"}, {"X-Idempotency-Key", "1"}, {"X", "second"}}
						a, err := c.Do(t.Context(), Request{Method: method, URL: service, Body: body, Headers: key, Once: once})
						if err != nil || a.Status != 200 {
							t.Errorf("%d, %v", a.Status, err)
						}
						mu.Lock()
						if n := got["second"]; n != 1 && !(method == "GET" && first == "GET" && body == "" && !once && n == 2) {
							t.Errorf("the request arrived %d times", n)
						}
						mu.Unlock()
						c.Close()
					})
				})
			}
		}
	}
}

// breaking answers the first request of a connection, and closes it on the second.
func breaking(c net.Conn, arrived func(string)) {
	defer c.Close()
	in := bufio.NewReader(c)
	read := func() (*http.Request, error) {
		r, err := http.ReadRequest(in)
		if err == nil {
			_, err = io.Copy(io.Discard, r.Body)
		}
		return r, err
	}
	r, err := read()
	if err != nil {
		return
	}
	arrived(r.Header.Get("X"))
	io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	if r, err := read(); err == nil {
		arrived(r.Header.Get("X"))
	}
}
