package host_test

import (
	"slices"
	"strings"
	"testing"

	"muster/internal/host"
)

func TestEndpoint(t *testing.T) {
	for _, c := range []struct {
		urls   string
		listen string
		hosts  []string
	}{
		{"", ":0", nil},
		{"unix:///run/x", ":0", nil},
		{"tls+tcp://head.example.org:5555", ":5555", []string{"head.example.org"}},
		{"tcp://10.0.0.1:0", ":0", []string{"10.0.0.1"}},
		{"tls+tcp://[2001:db8::1]:5555", ":5555", []string{"2001:db8::1"}},
		{"tls+tcp://a:5555 unix:///x tls+tcp://b:5555", ":5555", []string{"a", "b"}},
		// Those that only this machine's loopback reaches get no wider port.
		{"tls+tcp://127.0.0.1:5555", "127.0.0.1:5555", []string{"127.0.0.1"}},
		{"tls+tcp://127.0.0.1:5555 unix:///x", "127.0.0.1:5555", []string{"127.0.0.1"}},
		{"tls+tcp://[::1]:5555", "[::1]:5555", []string{"::1"}},
		{"tls+tcp://127.0.0.1:5555 tls+tcp://10.0.0.1:5555", ":5555", []string{"127.0.0.1", "10.0.0.1"}},
	} {
		listen, hosts, err := host.Endpoint(strings.Fields(c.urls))
		if err != nil || listen != c.listen || !slices.Equal(hosts, c.hosts) {
			t.Errorf("%s: %q, %q, %v; want %q, %q", c.urls, listen, hosts, err, c.listen, c.hosts)
		}
	}
	for urls, want := range map[string]string{
		"http://h:1":                  `url "http://h:1": it is written tls+tcp://HOST:PORT`,
		"h:5555":                      "it is written tls+tcp://HOST:PORT",
		"tls+tcp://h":                 `url "tls+tcp://h" has no port: write tls+tcp://HOST:PORT, port 0 takes a free one`,
		"tls+tcp://::1:5555":          `url "tls+tcp://::1:5555": an IPv6 address stands in brackets, to tell it from its port`,
		"tcp://::ffff:a6f:50d:5555":   "an IPv6 address stands in brackets",
		"tls+tcp://h:65536":           "has no port",
		"tls+tcp://h:x":               "url: ",
		"tls+tcp://a:1 tls+tcp://b:2": "one dispatcher listens on one port, and there are 1 and 2",
	} {
		if listen, hosts, err := host.Endpoint(strings.Fields(urls)); err == nil || listen != "" || hosts != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %q, %v; want %q", urls, listen, hosts, err, want)
		}
	}
}
