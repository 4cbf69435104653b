package http

import (
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// seen is a request as a server has had it.
type seen struct {
	method, uri, host, body string
	headers                 http.Header
}

// recorder is a handler that keeps what it is asked.
func recorder(got *seen) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h := r.Header.Clone()
		h.Del("Accept-Encoding")
		h.Del("Connection")
		*got = seen{r.Method, r.RequestURI, r.Host, string(body), h}
		io.WriteString(w, "done")
	})
}

// pasted makes the request with the curl of this machine, from a shell's here-document.
func pasted(t *testing.T, r Request, ca string) string {
	t.Helper()
	argv, stdin := Curl(r, ca)
	for _, h := range r.Headers {
		if h.Value != "" && strings.Contains(strings.Join(argv, " "), h.Value) {
			t.Errorf("the value of %s is among the arguments %q", h.Name, argv)
		}
	}
	script := strings.Join(argv, " ") + " <<'EOF'\n" + stdin + "EOF\n"
	if n := strings.Count(script, "\nEOF\n"); n != 1 {
		t.Errorf("the here-document has its mark %d times:\n%s", n, script)
	}
	cmd := exec.Command("sh")
	cmd.Stdin = strings.NewReader(script)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir()) // without a .curlrc
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s\n%s", err, out, script)
	}
	return string(out)
}

func TestCurlSendsTheSame(t *testing.T) {
	var got seen
	s := httptest.NewServer(recorder(&got))
	defer s.Close()
	c := &Client{}
	defer c.Close()
	nasty := "\"quotes\" 'single' \\back\\n\nline\r\n\ttab $HOME `id` $(id) @file ü€😀 \x01\x1b\x7f \u0081\u0088 EOF\nEOF\n%41 #x \\\" end\\"
	for name, r := range map[string]Request{
		"GET":                {Method: "GET", URL: s.URL + "/a%20b/../c?q=1&r=%2F[1-3]{a,b}#part"},
		"no method":          {URL: s.URL + "/"},
		"headers":            {URL: s.URL + "/", Headers: []Header{{"X-A", "1"}, {"x-a", "2"}, {"X-Empty", ""}, {"Cookie", `a="b\c"; d='e'`}, {"X-B", " padded\t"}}},
		"nasty":              {Method: "POST", URL: s.URL + "/", Body: nasty},
		"@":                  {Method: "POST", URL: s.URL + "/", Body: "@/etc/passwd", Headers: []Header{{"Content-Type", "text/plain"}}},
		"marks":              {Method: "PUT", URL: s.URL + "/", Body: "EOF"},
		"newline at the end": {Method: "POST", URL: s.URL + "/", Body: "x\n\n"},
		"empty POST":         {Method: "POST", URL: s.URL + "/"},
		"DELETE":             {Method: "DELETE", URL: s.URL + "/job/1"},
		"PATCH":              {Method: "PATCH", URL: s.URL + "/", Body: "{}", Headers: []Header{{"Content-Type", "application/json"}, {"Accept", "a/b"}, {"User-Agent", "me"}}},
		"no user agent":      {URL: s.URL + "/", Headers: []Header{{"User-Agent", ""}}},
		"host":               {URL: s.URL + "/", Headers: []Header{{"Host", "elsewhere.example"}}},
		"password":           {URL: strings.Replace(s.URL, "://", "://me:p%40ss@", 1)},
		"long":               {Method: "POST", URL: s.URL + "/", Body: strings.Repeat("0123456789", 5000)},
		"HEAD":               {Method: "HEAD", URL: s.URL + "/"},
	} {
		t.Run(name, func(t *testing.T) {
			got = seen{}
			if _, err := c.Do(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			want := got
			got = seen{}
			out := pasted(t, r, "")
			if r.Method != "HEAD" && out != "done" {
				t.Errorf("curl printed %q", out)
			}
			if got.method != want.method || got.uri != want.uri || got.host != want.host || got.body != want.body {
				t.Errorf("curl sends\n%.300q\nand muster\n%.300q", got, want)
			}
			if !maps.EqualFunc(got.headers, want.headers, slices.Equal) {
				t.Errorf("curl sends the headers\n%q\nand muster\n%q", got.headers, want.headers)
			}
		})
	}
}

func TestCurlOverASocketAndTLS(t *testing.T) {
	var got seen
	path := filepath.Join(t.TempDir(), `a "b" \c`)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(recorder(&got))
	s.Listener.Close()
	s.Listener = l
	s.Start()
	defer s.Close()
	r := Request{Method: "POST", URL: "http://localhost/x", Socket: path, Body: "{}"}
	if out := pasted(t, r, ""); out != "done" || got.body != "{}" || got.uri != "/x" {
		t.Errorf("%q, %q", out, got)
	}

	s = httptest.NewTLSServer(recorder(&got))
	defer s.Close()
	ca := filepath.Join(t.TempDir(), "ca file")
	if err := os.WriteFile(ca, []byte(pemOf(s)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := pasted(t, Request{URL: s.URL + "/tls"}, ca); out != "done" || got.uri != "/tls" {
		t.Errorf("%q, %q", out, got)
	}
}

func TestCurlOfANUL(t *testing.T) {
	if _, stdin := Curl(Request{Method: "POST", URL: "http://h/", Body: "a\x00b"}, ""); !strings.HasPrefix(stdin, "# ") || strings.Count(stdin, "\n") != 1 {
		t.Errorf("%q", stdin)
	}
}

// FuzzCurl reads the configuration back as curl does, and wants it in lines that are no
// mark of a here-document.
func FuzzCurl(f *testing.F) {
	f.Add("http://h/?a=\"b\\", "X", "a\"\n", "EOF\nEOF\n", "/s\\", "/ca")
	f.Add("", "", "", "@x\r\t\v", "", "")
	f.Fuzz(func(t *testing.T, address, name, value, body, socket, ca string) {
		r := Request{Method: "POST", URL: address, Socket: socket, Body: body, Headers: []Header{{name, value}}}
		_, stdin := Curl(r, ca)
		if strings.ContainsRune(body, 0) {
			return
		}
		found := map[string][]string{}
		for line := range strings.Lines(stdin) {
			option, rest, has := strings.Cut(strings.TrimSuffix(line, "\n"), " = ")
			if !has {
				if option != "globoff" && option != "path-as-is" {
					t.Errorf("the line %q", line)
				}
				continue
			}
			found[option] = append(found[option], unquote(t, rest))
		}
		if got := found["data-raw"]; len(got) != 1 || got[0] != body {
			t.Errorf("the body %q is %q", body, got)
		}
		if got := found["unix-socket"]; socket != "" && (len(got) != 1 || got[0] != socket) {
			t.Errorf("the socket %q is %q", socket, got)
		}
		if got := found["cacert"]; ca != "" && (len(got) != 1 || got[0] != ca) {
			t.Errorf("the file %q is %q", ca, got)
		}
		if v := strings.Trim(value, " \t"); v != "" && !slices.Contains(found["header"], name+": "+v) {
			t.Errorf("the header %q: %q is among %q", name, value, found["header"])
		}
	})
}

// unquote reads what curl(1), "-K, --config", says about quotes.
func unquote(t *testing.T, s string) string {
	inner, ok := strings.CutPrefix(s, `"`)
	if !ok {
		t.Fatalf("%q has no quote", s)
	}
	var b strings.Builder
	for i := 0; i < len(inner); i++ {
		switch {
		case inner[i] == '"' && i == len(inner)-1:
			return b.String()
		case inner[i] == '"':
			t.Fatalf("%q ends early", s)
		case inner[i] == '\\':
			i++
			switch inner[i] {
			case 'n':
				b.WriteByte('\n')
			case 'r':
				b.WriteByte('\r')
			case 't':
				b.WriteByte('\t')
			default:
				b.WriteByte(inner[i])
			}
		default:
			b.WriteByte(inner[i])
		}
	}
	t.Fatalf("%q has no end", s)
	return ""
}
