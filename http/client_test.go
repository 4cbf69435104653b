package http

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// serve runs a server for the time of a test.
func serve(t *testing.T, h http.HandlerFunc) string {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// client is one for the time of a test.
func client(t *testing.T) *Client {
	c := &Client{Timeout: 10 * time.Second}
	t.Cleanup(c.Close)
	return c
}

func pemOf(s *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

func TestDo(t *testing.T) {
	var got seen
	var length int64
	record := recorder(&got)
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		length = r.ContentLength
		w.Header().Add("X-Two", "1")
		w.Header().Add("x-two", "2")
		http.SetCookie(w, &http.Cookie{Name: "kept", Value: "no"})
		record.ServeHTTP(w, r)
	})
	c := client(t)
	r := Request{Method: "POST", URL: url + "/p?q=1", Body: "{}\n", Headers: []Header{{"X-A", "1"}, {"x-a", "2"}, {"Content-Type", "a/b"}}}
	for range 2 {
		a, err := c.Do(t.Context(), r)
		if err != nil || !a.OK() || a.Body != "done" || a.Truncated || strings.Join(a.Headers["X-Two"], " ") != "1 2" {
			t.Errorf("%+v, %v", a, err)
		}
	}
	if got.method != "POST" || got.uri != "/p?q=1" || got.body != "{}\n" || length != 3 || strings.Join(got.headers["X-A"], " ") != "1 2" || got.headers.Get("User-Agent") != "muster" ||
		got.headers.Get("Content-Type") != "a/b" || got.headers.Get("Cookie") != "" {
		t.Errorf("%+v, %d bytes", got, length)
	}
	if _, err := c.Do(t.Context(), Request{URL: url, Headers: []Header{{"User-Agent", "x"}, {"Host", "h.example"}}}); err != nil || got.headers.Get("User-Agent") != "x" || got.host != "h.example" || got.method != "GET" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestAnswer(t *testing.T) {
	a := Answer{Status: 200, Body: ` {"n": 12345678901234567890} `}
	if v, err := a.JSON(); fmt.Sprint(v, err) != "map[n:12345678901234567890] <nil>" {
		t.Errorf("%v, %v", v, err)
	}
	if v, err := (Answer{Body: "\ufeff[1]"}).JSON(); fmt.Sprint(v, err) != "[1] <nil>" {
		t.Errorf("%v, %v", v, err)
	}
	for body, want := range map[string]string{"": "200 OK", "<p>\n no</p>\x1b[31m": "200 OK: <p> no</p>?[31m", "{} {}": "after its end", "[1": "200 OK: [1", "{": "unexpected EOF"} {
		if v, err := (Answer{Status: 200, Body: body}).JSON(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is %v, %v, want %s", body, v, err, want)
		}
	}
	if _, err := (Answer{Body: "{}", Truncated: true}).JSON(); err == nil || !strings.Contains(err.Error(), "more than 2 bytes") {
		t.Error(err)
	}
	long := Answer{Status: 599, Body: strings.Repeat("ä\r\n", 1<<19)}.Text()
	if !strings.HasPrefix(long, "599: ä ä") || len(long) > 520 || strings.ContainsAny(long, "\r\n?") || !strings.HasSuffix(long, "…") {
		t.Errorf("%d bytes: %q", len(long), long)
	}
}

func TestOrigin(t *testing.T) {
	for _, c := range []struct{ url, socket, want string }{
		{"http://Host.example/secret?token=x", "", "http://host.example"},
		{"https://me:secret@h:8443/p", "", "https://h:8443"},
		{"https://h:443/", "", "https://h"}, {"http://h:443/", "", "http://h:443"}, {"http://[::1]:80/", "", "http://[::1]"}, {"http://[::1]:8080/", "", "http://[::1]:8080"},
		{"http://localhost/secret", "/run/s", "unix:/run/s"}, {"h/secret", "", "an address that cannot be read"}, {"http://h:secret", "", "an address that cannot be read"},
	} {
		if got := Origin(Request{URL: c.url, Socket: c.socket}); got != c.want {
			t.Errorf("%s is %s, want %s", c.url, got, c.want)
		}
	}
}

func TestWhatCannotBeSent(t *testing.T) {
	asked := 0
	url := serve(t, func(http.ResponseWriter, *http.Request) { asked++ })
	header := func(name, value string) Request { return Request{URL: url, Headers: []Header{{name, value}}} }
	for _, c := range []struct {
		r    Request
		want string
	}{
		{Request{}, "there is no url"}, {Request{URL: "hidden"}, "http:// nor https://"}, {Request{URL: "ftp://hidden/"}, "http:// nor https://"}, {Request{URL: "http:///hidden"}, "names no host"},
		{Request{URL: "http://h:hidden/"}, "cannot be read"}, {Request{URL: "http://h/\nhidden"}, "cannot be read"}, {Request{URL: "http://me:hid den@h/"}, "cannot be read"}, {Request{URL: "http://:80/hidden"}, "names no host"},
		{header("X-A", "hidden\r\nX-B: 1"), "X-A has a line break"}, {header("X-A", "hidden\n"), "X-A has a line break"}, {header("X-A", "hid\x00den"), "X-A has"},
		{header("X-A: hidden", "1"), `"X-A…"`}, {header("", "hidden"), "no name"}, {header("X\r\nhidden", "1"), `"X…"`}, {header("content-length", "hidden"), "content-length is written by muster"},
		{header("Transfer-Encoding", "hidden"), "leave it out"}, {header("Host", "hid/den"), "no name of a host"},
		{Request{Method: "GET /hidden", URL: url}, "the method is none"}, {Request{Method: "GET\r\nhidden", URL: url}, "the method is none"},
	} {
		a, err := client(t).Do(t.Context(), c.r)
		if err == nil || !errors.Is(err, ErrNotSent) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hidden") || strings.ContainsAny(err.Error(), "\r\n") || a.Status != 0 {
			t.Errorf("%+v: %v, want %s", c.r, err, c.want)
		}
	}
	if _, err := (&Client{CA: "hidden"}).Do(t.Context(), Request{URL: url}); !errors.Is(err, ErrNotSent) || !strings.Contains(err.Error(), "no certificate in ca") {
		t.Error(err)
	}
	if asked != 0 {
		t.Errorf("the server was asked %d times", asked)
	}
}

func TestLongAnswers(t *testing.T) {
	zeros := bomb()
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/endless":
			for line := bytes.Repeat([]byte("x"), 1<<16); r.Context().Err() == nil; {
				if _, err := w.Write(line); err != nil {
					return
				}
			}
		case "/bomb":
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(zeros)
		case "/exact":
			w.Write(bytes.Repeat([]byte("x"), MaxAnswer))
		case "/gzip":
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			io.WriteString(z, "hello")
			z.Close()
		}
	})
	c := client(t)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, path := range []string{"/endless", "/bomb"} {
		a, err := c.Do(t.Context(), Request{URL: url + path})
		if err != nil || len(a.Body) != MaxAnswer || !a.Truncated || a.Status != 200 {
			t.Errorf("%s: %d bytes, %v, %v", path, len(a.Body), a.Truncated, err)
		}
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 16<<20 {
		t.Errorf("%d MiB were allocated for two answers", n>>20)
	}
	if a, err := c.Do(t.Context(), Request{URL: url + "/exact"}); err != nil || len(a.Body) != MaxAnswer || a.Truncated {
		t.Errorf("%d bytes, %v, %v", len(a.Body), a.Truncated, err)
	}
	if a, err := c.Do(t.Context(), Request{URL: url + "/endless", Most: 10}); err != nil || a.Body != "xxxxxxxxxx" || !a.Truncated {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err := c.Do(t.Context(), Request{URL: url + "/gzip"}); err != nil || a.Body != "hello" || a.Truncated {
		t.Errorf("%+v, %v", a, err)
	}
}

// bomb is 4 GiB of zeros in some 4 MB.
func bomb() []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(make([]byte, 1<<20))
	z.Close()
	return bytes.Repeat(b.Bytes(), 4<<10)
}

func TestLongHeaders(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X", strings.Repeat("x", 2*maxHeaders)) })
	_, err := client(t).Do(t.Context(), Request{Method: "POST", URL: url})
	if err == nil || errors.Is(err, ErrNotSent) || len(err.Error()) > 500 {
		t.Error(err)
	}
}

func TestSameHostRedirects(t *testing.T) {
	var got []string
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, password, _ := r.BasicAuth()
		got = append(got, fmt.Sprintf("%s %s %s %s", r.Method, r.RequestURI, body, r.Header.Get("X-A")+password))
		switch p := r.URL.Path; {
		case strings.HasPrefix(p, "/loop"):
			http.Redirect(w, r, p+"x", http.StatusFound)
		case p == "/nowhere":
			w.WriteHeader(302)
		case p == "/strange":
			w.Header().Set("Location", "javascript:secret")
			w.WriteHeader(307)
		case p != "/end":
			var code int
			fmt.Sscanf(p, "/%d", &code)
			w.Header().Set("Location", "http://"+r.Host+"/end?secret=1#x")
			w.WriteHeader(code)
		}
	})
	c := client(t)
	for _, code := range []int{301, 302, 303, 307, 308} {
		for _, method := range []string{"GET", "POST"} {
			got = nil
			path := fmt.Sprintf("/%d", code)
			r := Request{Method: method, URL: url + path, Headers: []Header{{"X-A", "1"}}}
			if method == "POST" {
				r.Body = "b"
			}
			a, err := c.Do(t.Context(), r)
			if method == "POST" && code < 307 {
				if err == nil || errors.Is(err, ErrNotSent) || len(got) != 1 || !strings.Contains(err.Error(), status(code)) || strings.Contains(err.Error(), "secret") {
					t.Errorf("%s %d: %v, %q", method, code, err, got)
				}
				continue
			}
			want := fmt.Sprintf("%s %s %s 1, %s /end?secret=1 %s 1", method, path, r.Body, method, r.Body)
			if err != nil || !a.OK() || strings.Join(got, ", ") != want {
				t.Errorf("%s %d: %v, %q, want %s", method, code, err, got, want)
			}
		}
	}
	got = nil
	if _, err := c.Do(t.Context(), Request{URL: url + "/loop"}); err == nil || !strings.Contains(err.Error(), "on and on") || len(got) != 1+maxRedirects {
		t.Errorf("%v, %q", err, got)
	}
	got = nil
	if _, err := c.Do(t.Context(), Request{URL: strings.Replace(url, "://", "://me:secret@", 1) + "/302"}); err != nil || strings.Join(got, ", ") != "GET /302  secret, GET /end?secret=1  secret" {
		t.Errorf("%v, %q", err, got)
	}
	if a, err := c.Do(t.Context(), Request{URL: url + "/nowhere"}); err != nil || a.Status != 302 {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := c.Do(t.Context(), Request{URL: url + "/strange"}); err == nil || !strings.Contains(err.Error(), "no http://") || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
}

func TestOtherHostsGetNothing(t *testing.T) {
	var others atomic.Int32
	other := serve(t, func(http.ResponseWriter, *http.Request) { others.Add(1) })
	local := strings.Replace(other, "127.0.0.1", "localhost", 1)
	for target, host := range map[string]string{other + "/x?secret=1": other, local: local, "https://me:secret@api.example.org/secret": "https://api.example.org", "//elsewhere.example/secret": "http://elsewhere.example"} {
		for _, code := range []int{301, 302, 303, 307, 308} {
			for _, method := range []string{"GET", "POST"} {
				url := serve(t, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Location", target)
					w.WriteHeader(code)
				})
				_, err := client(t).Do(t.Context(), Request{Method: method, URL: url, Body: "join", Headers: []Header{{"Authorization", "Bearer secret"}}})
				want := fmt.Sprintf("it answered %s and redirects to %s: muster sends no credentials", status(code), host)
				if err == nil || errors.Is(err, ErrNotSent) != (code >= 307) || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), want) {
					t.Errorf("%s %d to %s: %v", method, code, target, err)
				}
			}
		}
	}
	if n := others.Load(); n != 0 {
		t.Errorf("the other host was asked %d times", n)
	}
}

// encrypted runs a server with a certificate that signs itself.
func encrypted(t *testing.T, c x509.Certificate) *httptest.Server {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber, c.IsCA, c.BasicConstraintsValid = big.NewInt(1), true, true
	der, err := x509.CreateCertificate(rand.Reader, &c, &c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }))
	s.Config.ErrorLog = log.New(t.Output(), "", 0)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func TestTLS(t *testing.T) {
	plain := serve(t, func(http.ResponseWriter, *http.Request) {})
	now := time.Now()
	ip := []net.IP{net.IPv4(127, 0, 0, 1)}
	good := encrypted(t, x509.Certificate{NotAfter: now.Add(time.Hour), IPAddresses: ip})
	expired := encrypted(t, x509.Certificate{NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(-24 * time.Hour), IPAddresses: ip})
	named := encrypted(t, x509.Certificate{NotAfter: now.Add(time.Hour), DNSNames: []string{"a.example", "b.example", "c", "d", "e", "f"}})
	nameless := encrypted(t, x509.Certificate{NotAfter: now.Add(time.Hour)})
	old := encrypted(t, x509.Certificate{NotAfter: now.Add(time.Hour), IPAddresses: ip})
	old.TLS.MaxVersion = tls.VersionTLS11
	for name, c := range map[string]struct{ ca, url, want string }{
		"right":             {pemOf(good), good.URL, ""},
		"unknown authority": {"", good.URL, "ca = FILE in the launcher names it"},
		"another authority": {pemOf(named), good.URL, "not signed by an authority that is in the launcher's ca"},
		"expired":           {pemOf(expired), expired.URL, "to " + now.Add(-24*time.Hour).UTC().Format(time.DateOnly) + ": it is to be renewed"},
		"names":             {pemOf(named), named.URL, "not for 127.0.0.1 but for a.example, b.example, c, d, e, …; write a name that it has in url"},
		"no name":           {pemOf(nameless), nameless.URL, "but for no name at all"},
		"no TLS":            {pemOf(good), strings.Replace(plain, "http", "https", 1), "does not speak TLS"},
		"TLS 1.1":           {pemOf(old), old.URL, "protocol version not supported"},
	} {
		cl := client(t)
		cl.CA = c.ca
		a, err := cl.Do(t.Context(), Request{Method: "POST", URL: c.url + "/secret", Body: "secret"})
		if c.want == "" {
			if err != nil || a.Body != "HTTP/1.1" {
				t.Errorf("%s: %+v, %v", name, a, err)
			}
			continue
		}
		if !errors.Is(err, ErrNotSent) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

func TestProxy(t *testing.T) {
	if os.Getenv("MUSTER_TEST_PROXY") != "" { // the environment of a process is read once
		a, err := client(t).Do(t.Context(), Request{URL: "http://service.invalid/x"})
		fmt.Printf("TCP: %s, %v\n", a.Body, err)
		a, err = client(t).Do(t.Context(), Request{URL: "http://service.invalid/x", Socket: os.Getenv("MUSTER_TEST_PROXY")})
		fmt.Printf("socket: %s, %v\n", a.Body, err)
		return
	}
	url := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "the proxy got "+r.RequestURI) })
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "the service got "+r.RequestURI) })}
	go s.Serve(l)
	defer s.Close()
	cmd := exec.Command(os.Args[0], "-test.run=^TestProxy$", "-test.v")
	cmd.Env = append(os.Environ(), "MUSTER_TEST_PROXY="+path, "HTTP_PROXY="+url, "http_proxy="+url, "NO_PROXY=", "no_proxy=")
	want := "TCP: the proxy got http://service.invalid/x, <nil>\nsocket: the service got /x, <nil>"
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), want) {
		t.Errorf("%v: %s", err, out)
	}
	e := &errand{c: &Client{}}
	if got := e.reason(&net.OpError{Op: "proxyconnect", Err: syscall.ECONNREFUSED}); !strings.HasPrefix(got, "the proxy that HTTP_PROXY or HTTPS_PROXY names: the connection was refused") {
		t.Error(got)
	}
}

func TestSlowServers(t *testing.T) {
	bubble(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery == "begin" {
			io.WriteString(w, "begin")
			w.(http.Flusher).Flush()
		}
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}, func(t *testing.T, c *Client) {
		r := Request{Method: "POST", URL: service, Body: "b"}
		begin := time.Now()
		a, err := c.Do(t.Context(), r)
		if err == nil || errors.Is(err, ErrNotSent) || !strings.Contains(err.Error(), "no whole answer within 30s; whether the request was accepted is not known") || strings.Contains(err.Error(), "secret") || a.Status != 0 {
			t.Errorf("%+v, %v", a, err)
		}
		if took := time.Since(begin); took != 30*time.Second {
			t.Errorf("it took %s", took)
		}
		c.Timeout = time.Second
		a, err = c.Do(t.Context(), Request{Method: "POST", URL: "http://service.example/?begin", Body: "b"})
		if err == nil || errors.Is(err, ErrNotSent) || !strings.Contains(err.Error(), "it answered 200 OK, and the rest of the answer did not come: there was no whole answer within 1s") || a.Status != 200 || a.Body != "begin" {
			t.Errorf("%+v, %v", a, err)
		}
		c.Timeout = time.Hour
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err = c.Do(ctx, r); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrNotSent) || !strings.Contains(err.Error(), "given up while the answer was waited for") {
			t.Error(err)
		}
	})
}
