package config_test

import (
	"net"
	"slices"
	"strings"
	"testing"

	"muster/internal/config"
	"muster/internal/plan"
)

// urls evaluates a profile's url.
func urls(t *testing.T, expr string) ([]string, error) {
	t.Helper()
	f := parse(t, "profile \"p\" {\n  url = "+expr+"\n}")
	var s plan.ProfileSettings
	err := f.Evaluate(config.Options{Getenv: getenv}).Profile(f.Profiles[0], &s)
	return s.URL, err
}

func TestURLs(t *testing.T) {
	lo := loopback(t)
	for expr, want := range map[string][]string{
		`local_url()`:                            {"unix://"},
		`local_url({ tcp = true })`:              {"tls+tcp://127.0.0.1:0"},
		`local_url({ port = 5555, tls = true })`: {"tls+tcp://127.0.0.1:5555"},
		`local_url({ tls = false })`:             {"tcp://127.0.0.1:0"},
		`host_url({ interface = "` + lo + `", family = "ipv4", port = 5555, tls = false })`:         {"tcp://127.0.0.1:5555"},
		`host_url({ interface = "` + lo + `", family = "ipv4", port = 5555 })`:                      {"tls+tcp://127.0.0.1:5555"},
		`host_url({ interface = ["` + lo + `", "` + lo + `"], family = "ipv4", tls = true })`:       {"tls+tcp://127.0.0.1:0"},
		`host_url({ interface = concat(["` + lo + `"], []), family = lower("IPv4"), tcp = false })`: {"tls+tcp://127.0.0.1:0"},
	} {
		if got, err := urls(t, expr); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v; want %q", expr, got, err, want)
		}
	}
	if got, err := urls(t, `host_url({ port = 7 })`); err != nil || len(got) == 0 || !strings.HasSuffix(got[0], ":7") {
		t.Errorf("all: %q, %v", got, err)
	}
}

func TestMistakesOfURLs(t *testing.T) {
	lo := loopback(t)
	for expr, want := range map[string]string{
		`host_url({ interface = "no0" })`:                                       `there is no interface "no0" here: there are ` + lo + " (127.0.0.1",
		`host_url({ interface = ["` + lo + `", "no0"] })`:                       `there is no interface "no0" here`,
		`host_url({ interface = 5 })`:                                           "interface is a name, or a list of names",
		`host_url({ interface = [5] })`:                                         "interface is a name, or a list of names",
		`host_url({ interface = [null] })`:                                      "interface is a name, or a list of names",
		`host_url({ interface = null })`:                                        "interface is a name, or a list of names",
		`host_url({ interface = [] })`:                                          "interface is an empty list: name one, or leave it out for all",
		`host_url({ family = "inet" })`:                                         `"inet" is no family of addresses: it is "ipv4" or "ipv6"`,
		`host_url({ family = ["ipv4"] })`:                                       `family is "ipv4" or "ipv6"`,
		`host_url({ family = true ? null : "ipv4" })`:                           `family is "ipv4" or "ipv6"`,
		`host_url({ port = "5555" })`:                                           "port is a number",
		`host_url({ port = true ? null : 5 })`:                                  "port is a number",
		`host_url({ port = 5.5 })`:                                              "5.5 is no port",
		`host_url({ port = -1 })`:                                               "-1 is no port",
		`host_url({ port = 65536 })`:                                            "65536 is no port",
		`host_url({ tls = "yes" })`:                                             "tls is true or false",
		`host_url({ tcp = true ? null : true })`:                                "tcp is true or false",
		`host_url({ iface = "ib0" })`:                                           "there is no option iface here: there are family, interface, port, tcp, tls",
		`host_url("ib0")`:                                                       "options are written { port = 5555 }",
		`host_url({ port = 1 }, { tls = true })`:                                "all options are written in one object",
		`local_url({ interface = "` + lo + `" })`:                               "there is no option interface here: there are port, tcp, tls",
		`local_url({ family = "ipv4" })`:                                        "there is no option family here: there are port, tcp, tls",
		`host_url({ interface = env("MY_IF"), port = 1 })`:                      `there is no interface [redacted] here`,
		`host_url({ interface = { name = "ib0" } })`:                            "interface is a name, or a list of names",
		`host_url({ interface = format("%s", "` + lo + `"), family = "ipv5" })`: `"ipv5" is no family`,
	} {
		got, err := urls(t, expr)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "muster.hcl:2:") {
			t.Errorf("%s: %q, %v\nwant %s", expr, got, err, want)
		}
	}
}

// loopback is the name of this machine's loopback interface.
func loopback(t *testing.T) string {
	t.Helper()
	ifaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range ifaces {
		if i.Flags&net.FlagLoopback != 0 {
			return i.Name
		}
	}
	t.Fatal("this machine has no loopback")
	return ""
}
