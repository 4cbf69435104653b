package host

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// Endpoint reads a profile's urls: where its dispatcher listens, and by which
// names workers reach it.
func Endpoint(urls []string) (listen string, hosts []string, err error) {
	port := ""
	loopback := len(urls) > 0
	for _, text := range urls {
		u, err := url.Parse(text)
		if err != nil {
			return "", nil, fmt.Errorf("url: %w", err)
		}
		switch u.Scheme {
		case "unix":
			continue
		case "tcp", "tls+tcp":
		default:
			return "", nil, fmt.Errorf("url %q: it is written tls+tcp://HOST:PORT", text)
		}
		if strings.Contains(u.Hostname(), ":") && u.Host[0] != '[' {
			return "", nil, fmt.Errorf("url %q: an IPv6 address stands in brackets, to tell it from its port: tls+tcp://[2001:db8::1]:5555", text)
		}
		if n, err := strconv.Atoi(u.Port()); err != nil || n > 65535 {
			return "", nil, fmt.Errorf("url %q has no port: write tls+tcp://HOST:PORT, port 0 takes a free one", text)
		}
		if port != "" && port != u.Port() {
			return "", nil, fmt.Errorf("url: one dispatcher listens on one port, and there are %s and %s", port, u.Port())
		}
		port = u.Port()
		hosts = append(hosts, u.Hostname())
		ip := net.ParseIP(u.Hostname())
		loopback = loopback && ip != nil && ip.IsLoopback()
	}
	if err := fewHosts(hosts); err != nil {
		return "", nil, err
	}
	if port == "" {
		port = "0"
	}
	if loopback && len(hosts) > 0 {
		return net.JoinHostPort(hosts[0], port), hosts, nil
	}
	return ":" + port, hosts, nil
}
