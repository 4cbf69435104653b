package cli

import (
	"cmp"
	"errors"
	"fmt"
	"net"

	"muster/internal/prompt"
	mtls "muster/tls"
)

// tlsSettings are what the profile's tls block says, checked as workers would check it;
// nil without one. A key whose passphrase is nowhere said has a person asked for it.
func (p *pool) tlsSettings(ask prompt.Ask) (*mtls.Settings, error) {
	s := p.tls()
	if s == nil {
		return nil, nil
	}
	if s.Encrypted() && s.Passphrase == "" {
		what := cmp.Or(s.Key.Path, s.Cert.Path, "the key")
		err := p.e.during(func() error {
			text, err := ask(p.e.ctx, prompt.Question{Text: "Passphrase of " + what + ", for profile " + p.name + ": "})
			s.Passphrase = mtls.Secret(text)
			return err
		})
		if err != nil && !errors.Is(err, prompt.ErrNobody) { // without one the check says what to do
			return nil, err
		}
	}
	return s, p.wrongTLS(s.Check(true))
}

// checkTLS checks the tls block without asking anybody and without what exec() prints,
// and says what it could not check.
func (p *pool) checkTLS() (unasked string, err error) {
	s := p.tls()
	for _, name := range []string{"cert", "chain", "crl", "name", "chain_path", "crl_path", "key", "passphrase"} {
		program, unknown := p.e.Unknown(&p.profile.Block, "tls."+name)
		if !unknown {
			continue
		}
		unasked = fmt.Sprintf("%s in the tls block is what %s prints, and a check runs nothing", name, program)
		if s != nil && (name == "key" || name == "passphrase") {
			err = p.wrongTLS(s.Check(false))
		}
		return unasked, err
	}
	if s == nil {
		return "", nil
	}
	if s.Encrypted() && s.Passphrase == "" {
		return "the key in the tls block is encrypted, and a check asks for no passphrase", p.wrongTLS(s.Check(false))
	}
	return "", p.wrongTLS(s.Check(true))
}

// tls are the settings of the tls block, nil if there are none.
func (p *pool) tls() *mtls.Settings {
	t := p.set.TLS
	s := &mtls.Settings{Cert: mtls.Text(t.Cert), Key: mtls.Text(t.Key), Passphrase: mtls.Secret(t.Passphrase), Chain: mtls.Text(t.Chain),
		ChainPath: t.ChainPath, CRL: mtls.Text(t.CRL), CRLPath: t.CRLPath, Name: mtls.CleanName(t.Name)}
	if *s == (mtls.Settings{}) {
		return nil
	}
	if s.Name == "" && len(p.hosts) > 0 {
		if ip := net.ParseIP(p.hosts[0]); ip == nil || !ip.IsUnspecified() {
			s.Name = mtls.CleanName(p.hosts[0])
		}
	}
	return s
}

// wrongTLS puts a mistake in the tls block where that stands.
func (p *pool) wrongTLS(err error) error {
	if err == nil {
		return nil
	}
	for _, name := range []string{"cert", "key", "chain", "chain_path", "crl", "crl_path", "name", "passphrase"} {
		if p.profile.Has("tls." + name) {
			return usageError{p.e.f.At(p.profile.Where("tls."+name), 0, "the tls block: "+err.Error(), "")}
		}
	}
	return usageError{fmt.Errorf("the tls block: %w", err)}
}
