package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"muster/internal/prompt"
	"muster/internal/state"
	safe "muster/internal/terminal"
	mtls "muster/tls"
)

// tlsOptions are the options of `muster tls`.
type tlsOptions struct {
	names                 cli.StringSlice
	out                   string
	days                  int
	cert, key, chain, crl string
	json                  bool
}

func newTLS(s streams) *cli.Command {
	var o tlsOptions
	return &cli.Command{
		Name:      "tls",
		Usage:     "make and check certificates, for dispatchers that are known by a CA",
		UsageText: "muster tls self-signed|request --name HOST [-o PREFIX]\n   muster tls check --cert FILE --name HOST [--key FILE] [--chain FILE] [--crl FILE]\n   muster tls pin [FILE...]",
		Description: `Nothing of this is needed: a dispatcher makes a key on first use, and its workers know
it by the pin of that key, which the join string has. Where a site wants certificates,
a tls block in the profile names one, and workers judge by the CA and the name.

self-signed makes a key, PREFIX.key, and a certificate that it signs itself, PREFIX.pem,
which is its own chain. request makes a key, and a request, PREFIX.csr, that your CA
makes a certificate of. Keys are P-256 and yours alone to read; no file is replaced.

   muster tls request --name head.example.org -o host
   muster tls check --cert host.pem --key host.key --chain ca.pem --name head.example.org

   profile "cluster" {
     url = "tls+tcp://head.example.org:5555"
     tls {
       cert  = file("host.pem")
       key   = file("host.key")
       chain = file("ca.pem") # or chain_path, a file on the workers' machines
     }
   }

check says what is wrong with a certificate before workers do, or how long it is valid
and how many bytes the chain adds to a join string. pin shows the pins of certificates
and keys, of this user's dispatchers without a FILE.`,
		Flags: append([]cli.Flag{
			&cli.StringSliceFlag{Name: "name", Destination: &o.names, Usage: "the certificate is for `HOST`, a name or an address; may be given again"},
			&cli.StringFlag{Name: "o", Destination: &o.out, Usage: "write `PREFIX`.pem or .csr, and .key", DefaultText: "the first name"},
			&cli.IntFlag{Name: "days", Destination: &o.days, Value: 365, Usage: "self-signed: valid for `N` days"},
			&cli.StringFlag{Name: "cert", Destination: &o.cert, Usage: "check: the certificate in `FILE`, PEM"},
			&cli.StringFlag{Name: "key", Destination: &o.key, Usage: "check: its key is in `FILE`", DefaultText: "not looked at, unless --cert has it"},
			&cli.StringFlag{Name: "chain", Destination: &o.chain, Usage: "check: workers trust the CA in `FILE`"},
			&cli.StringFlag{Name: "crl", Destination: &o.crl, Usage: "check: the CA's revocation list is in `FILE`"},
			&cli.BoolFlag{Name: "json", Destination: &o.json, Usage: "print JSON"},
		}, logFlags("", "")...),
		Action: func(c *cli.Context) error {
			what, err := subcommand("tls", c.Args().Slice(), subcommands["tls"])
			switch {
			case err != nil:
				return err
			case what == "pin":
				return s.showPins(c, c.Args().Tail(), o.json)
			case c.Args().Len() > 1:
				return tooMany("tls "+what, c.Args().Get(1), "files and names are given by options: `muster tls --help`")
			case what == "check":
				return s.checkTLS(c, o)
			}
			return s.makeTLS(o, what)
		},
	}
}

// makeTLS makes a key with a certificate or a request.
func (s streams) makeTLS(o tlsOptions, what string) error {
	names := o.names.Value()
	var text, key []byte
	var err error
	end := ".csr"
	if what == "request" {
		text, key, err = mtls.Request(names)
	} else {
		end = ".pem"
		if o.days < 1 || o.days > 36500 {
			return usagef("--days %d: 1 to 36500", o.days)
		}
		now := time.Now()
		text, key, err = mtls.SelfSigned(names, now.AddDate(0, 0, -1), now.AddDate(0, 0, o.days))
	}
	if err != nil {
		return usageError{hinted{fmt.Errorf("tls %s: %w", what, err), "--name HOST, once for each"}}
	}
	prefix := o.out
	if prefix == "" {
		prefix = strings.NewReplacer("*", "_", ":", "_").Replace(mtls.CleanName(names[0]))
	}
	if err := writeNew(prefix+".key", key, 0o600); err != nil {
		return err
	}
	if err := writeNew(prefix+end, text, 0o644); err != nil {
		return errors.Join(err, os.Remove(prefix+".key"))
	}
	if o.json {
		return writeJSON(s.out, map[string]string{strings.TrimPrefix(end, "."): prefix + end, "key": prefix + ".key"})
	}
	s.err.Say("wrote %s%s and %s.key, which is a secret", prefix, end, prefix)
	if end == ".csr" {
		s.err.Say("have your CA sign %s.csr; `muster tls check --cert FILE --key %s.key --chain CA --name %s` checks what comes back", prefix, prefix, mtls.CleanName(names[0]))
	} else {
		s.err.Say("in the profile: tls { cert = file(\"%s.pem\"), key = file(\"%s.key\"), chain = file(\"%s.pem\") }, a line each", prefix, prefix, prefix)
	}
	return nil
}

// writeNew writes a file that is not there yet.
func writeNew(path string, text []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return usageError{hinted{fmt.Errorf("%s is there already, and is left as it is", path), "-o PREFIX writes elsewhere"}}
	}
	if err != nil {
		return fmt.Errorf("write it: %w", err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(path))
	}
	return nil
}

// verdict is what was found of a certificate.
type tlsVerdict struct {
	OK           bool         `json:"ok"`
	Error        string       `json:"error,omitempty"`
	Certificates []mtls.Facts `json:"certificates"`
	JoinBytes    int          `json:"join_bytes,omitempty"`
}

// checkTLS checks a certificate as a profile's is checked.
func (s streams) checkTLS(c *cli.Context, o tlsOptions) error {
	names := o.names.Value()
	if o.cert == "" || len(names) != 1 {
		return usageError{hinted{errors.New("tls check: it needs a certificate, and the name that workers look for"), "muster tls check --cert host.pem --chain ca.pem --name head.example.org"}}
	}
	set := mtls.Settings{Name: mtls.CleanName(names[0])}
	var bad []error
	for _, f := range []struct {
		to         *mtls.Text
		what, path string
	}{{&set.Cert, "cert", o.cert}, {&set.Key, "key", o.key}, {&set.Chain, "chain", o.chain}, {&set.CRL, "crl", o.crl}} {
		var err error
		*f.to, err = mtls.ReadText(f.what, f.path)
		bad = append(bad, err)
	}
	err := errors.Join(bad...)
	var v tlsVerdict
	if err == nil {
		v, err = s.judgeTLS(c, set)
	}
	if v.OK = err == nil; err != nil {
		v.Error = err.Error()
	}
	if o.json {
		if v.Certificates == nil {
			v.Certificates = []mtls.Facts{}
		}
		err = errors.Join(usage(err), writeJSON(s.out, v))
		return err
	}
	if err != nil {
		return usage(err)
	}
	own := v.Certificates[0]
	safe.Fprintf(s.out, "%s: ok for %s, until %s\n", o.cert, set.Name, own.Until.Format(time.DateTime+" UTC"))
	if v.JoinBytes > 0 {
		safe.Fprintf(s.out, "a join string has %d bytes more with it\n", v.JoinBytes)
	}
	if o.chain == "" {
		safe.Fprintf(s.out, "not checked: whether a CA that workers trust has signed it; --chain FILE says which\n")
	}
	return nil
}

// usage says of an error that it is the user's.
func usage(err error) error {
	if err == nil {
		return nil
	}
	return usageError{err}
}

// judgeTLS checks settings, and asks for the passphrase of the key if it needs one.
func (s streams) judgeTLS(c *cli.Context, set mtls.Settings) (v tlsVerdict, err error) {
	if v.Certificates, err = set.Facts(); err != nil {
		return v, err
	}
	if set.Encrypted() {
		text, err := (&prompt.Terminal{}).Ask(c.Context, prompt.Question{Text: "Passphrase of the key: "})
		if err != nil && !errors.Is(err, prompt.ErrNobody) {
			return v, err
		}
		set.Passphrase = mtls.Secret(text)
	}
	if set.Key.Text == "" && !set.HasKey() {
		return v, set.Check(false)
	}
	cert, err := mtls.LoadCertificate(set, func(string, ...any) {})
	if err == nil && set.Chain.Text != "" {
		v.JoinBytes = cert.JoinBytes()
	}
	return v, err
}

// showPins prints the pins of files.
func (s streams) showPins(c *cli.Context, paths []string, asJSON bool) error {
	if len(paths) == 0 {
		dir, err := state.Dir(os.Getenv)
		if err != nil {
			return err
		}
		paths = []string{filepath.Join(dir, "id", mtls.IdentityFile)}
		if _, err := os.Stat(paths[0]); errors.Is(err, fs.ErrNotExist) {
			return hinted{errors.New("this user's dispatchers have no key yet: the first one makes it"), "muster up"}
		}
	}
	all := map[string][]mtls.Facts{}
	for _, path := range paths {
		list, err := mtls.ReadFacts(path, "")
		if errors.Is(err, mtls.ErrPassphrase) {
			var text string
			if text, err = (&prompt.Terminal{}).Ask(c.Context, prompt.Question{Text: "Passphrase of " + path + ": "}); err == nil {
				list, err = mtls.ReadFacts(path, mtls.Secret(text))
			}
		}
		if err != nil {
			return usageError{err}
		}
		all[path] = list
		for _, f := range list {
			if !asJSON {
				safe.Fprintf(s.out, "%s  %s\n", f.Pin, strings.TrimSpace(path+"  "+f.Subject))
			}
		}
	}
	if asJSON {
		return writeJSON(s.out, all)
	}
	return nil
}
