package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/hashicorp/go-hclog"
	"github.com/urfave/cli/v2"

	"muster/internal/address"
	"muster/internal/control"
	"muster/internal/host"
	safe "muster/internal/terminal"
)

func newURL(s streams) *cli.Command {
	asJSON := false
	return &cli.Command{
		Name:      "url",
		Usage:     "list the addresses under which workers may reach this machine",
		UsageText: "muster url [--interface NAME] [--family ipv4|ipv6] [--json]",
		Description: `Those of the dispatcher, if one is up; else what it could listen on, by interface,
with port 0, which takes a free one: for url in a config, or muster up --url. Best
first, as host_url() has them: the host name, then each interface.

   muster url --interface ib0
   muster up --url "$(muster url --interface ib0 --family ipv4 | cut -f1 -d' ')"`,
		Flags: append(append(dispatcherFlags(),
			&cli.StringSliceFlag{Name: "interface", Usage: "those of the interface `NAME` alone"},
			choiceFlag("family", nil, "", "those of `FAMILY` alone, ipv4 or ipv6", "ipv4", "ipv6"),
			&cli.BoolFlag{Name: "json", Destination: &asJSON, Usage: "print JSON"}), logFlags("", "")...),
		Action: func(c *cli.Context) error {
			if err := optionsOnly(c); err != nil {
				return err
			}
			list, err := urlCandidates(c)
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(s.out, list)
			}
			t := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
			for _, u := range list {
				safe.Fprintf(t, "%s\t%s\n", u.URL, u.Interface)
			}
			return t.Flush()
		},
	}
}

// urlCandidates are the addresses that the options choose.
func urlCandidates(c *cli.Context) ([]host.Candidate, error) {
	choice := address.Choice{Interfaces: c.StringSlice("interface")}
	if c.IsSet("family") {
		choice.Family = address.Family(c.String("family"))
	}
	client, err := connect(c)
	if err != nil {
		return nil, err
	}
	st, err := client.Status(c.Context)
	up := !errors.Is(err, control.ErrUnreachable)
	if up && err != nil {
		return nil, answered(err)
	}
	if up && !choice.Some() {
		return st.URLs, nil
	}
	var names address.Names
	if !choice.Some() {
		names = address.LookUp(c.Context)
	}
	m, err := address.Here(names)
	if err != nil {
		return nil, err
	}
	list, err := m.Addresses(choice)
	if err != nil {
		return nil, usageError{err}
	}
	could := host.Candidates(list, 0)
	if !up {
		return could, nil
	}
	theirs := slices.DeleteFunc(slices.Clone(st.URLs), func(u host.Candidate) bool { return !u.Of(choice) })
	if len(theirs) == 0 {
		return nil, usageError{hinted{fmt.Errorf("workers of dispatcher %s dial no such address: they dial %s", st.Name, dialled(st.URLs)),
			"`muster up -p NAME --url " + could[0].URL + "` makes a profile whose workers do"}}
	}
	return theirs, nil
}

// dialled are addresses with the interfaces that have them, in words.
func dialled(list []host.Candidate) string {
	var texts []string
	for _, u := range list {
		text := u.Address
		switch {
		case u.Interface == "local":
			text = u.URL
		case u.Interface != address.HostName && u.Interface != "url" && u.Interface != "listen":
			text += " (" + u.Interface + ")"
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ", ")
}

// logDialled says where workers on other machines dial if there are several
// addresses, and how to choose among them.
func logDialled(log hclog.Logger, list []host.Candidate) {
	list = slices.DeleteFunc(slices.Clone(list), func(u host.Candidate) bool { return u.Interface == "local" })
	if len(list) < 2 {
		return
	}
	text := "workers dial " + dialled(list)
	switch how := chooser(list); {
	case how != "":
		text += "; url = host_url({ " + how + " }) in the profile chooses"
	case !slices.ContainsFunc(list, func(u host.Candidate) bool { return !elsewhere(u) }):
		text += "; addresses = [...] in the launcher of that machine chooses"
	}
	log.Info(text)
}

// elsewhere reports whether an address is that of another machine, which passes on
// what comes in there.
func elsewhere(u host.Candidate) bool { return strings.HasPrefix(u.Interface, "via ") }

// chooser is an option of host_url that leaves out some of the addresses, but not what
// is likely to be the best. It is empty if there is none.
func chooser(list []host.Candidate) string {
	var interfaces []string
	var families []address.Family
	for _, u := range list {
		if u.Family == address.Any || elsewhere(u) {
			continue
		}
		if !slices.Contains(interfaces, u.Interface) && u.Interface != "url" {
			interfaces = append(interfaces, u.Interface)
		}
		if !slices.Contains(families, u.Family) {
			families = append(families, u.Family)
		}
	}
	reached := slices.DeleteFunc(slices.Clone(interfaces), address.Virtual)
	switch {
	case len(interfaces) > 1 && len(reached) > 0:
		return fmt.Sprintf("interface = %q", reached[len(reached)-1])
	case len(interfaces) == 1 && len(families) > 1:
		return fmt.Sprintf("family = %q", families[0])
	}
	return ""
}

// tellDialled logs where workers of a dispatcher dial, of the addresses that wanted
// is true for.
func (s streams) tellDialled(c *cli.Context, client *control.Client, wanted func(host.Candidate) bool) error {
	log, err := logger(c, s.err)
	if err != nil || !log.IsInfo() {
		return err
	}
	st, err := client.Status(c.Context)
	if err != nil {
		return answered(err)
	}
	logDialled(log, slices.DeleteFunc(st.URLs, func(u host.Candidate) bool { return !wanted(u) }))
	return nil
}
