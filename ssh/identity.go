package ssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// maxKeyFile bounds what is read of a key file; an RSA key of 16384 bits takes
// 12 KiB.
const maxKeyFile = 256 << 10

// agentTimeout bounds the wait for an agent's list of keys. To sign it may need
// a person, so that is bounded by the login alone.
const agentTimeout = 5 * time.Second

// identity is a key to try.
type identity struct {
	name   string // for messages
	public gossh.PublicKey
	signer func(context.Context) (gossh.Signer, error) // may ask for a passphrase
}

// identities finds the keys to offer, in OpenSSH's order (sshconnect2.c,
// pubkey_prepare): those of the agent that ssh_config names, the agent's other
// ones, then key files. A certificate goes before its key.
type identities struct {
	h      *host
	ask    Prompt
	agent  net.Conn // nil if there is none
	report func(string)
	dialed func(net.Conn) // is told of the agent's connection
}

// list returns them. Who calls it closes the agent's connection afterwards.
func (s *identities) list() []identity {
	held := s.fromAgent()
	var named, files []identity
	for _, path := range s.h.identities {
		id, ok := s.fromFile(path)
		if !ok {
			continue
		}
		if i := slices.IndexFunc(held, func(k identity) bool { return samePublic(k.public, id.public) }); i >= 0 {
			named = append(named, held[i])
			held = slices.Delete(held, i, i+1)
		} else if id.signer != nil {
			files = append(files, id)
		} else {
			s.report(path + ": its private half is neither there nor in an agent")
		}
	}
	if s.h.onlyThese {
		held = slices.DeleteFunc(held, func(k identity) bool { return !s.certified(k.public) })
	}
	return s.withCertificates(slices.Concat(named, held, files))
}

func samePublic(a, b gossh.PublicKey) bool {
	return a != nil && b != nil && bytes.Equal(a.Marshal(), b.Marshal())
}

func (s *identities) fromAgent() []identity {
	if s.h.agent == "" {
		return nil
	}
	conn, err := net.DialTimeout("unix", s.h.agent, agentTimeout)
	if err != nil {
		s.report(fmt.Sprintf("agent: %v", err))
		return nil
	}
	s.agent = conn
	s.dialed(conn)
	conn.SetDeadline(time.Now().Add(agentTimeout))
	client := agent.NewClient(conn)
	signers, err := client.Signers()
	conn.SetDeadline(time.Time{})
	if err != nil {
		s.report(fmt.Sprintf("agent: %v", err))
		return nil
	}
	if len(signers) == 0 {
		s.report("agent: no keys")
	}
	var keys []identity
	for _, k := range signers {
		keys = append(keys, identity{name: "agent's " + fingerprint(k.PublicKey()), public: k.PublicKey(),
			signer: func(context.Context) (gossh.Signer, error) { return k, nil }})
	}
	return keys
}

// fromFile reads a key file as far as no passphrase is needed. An identity
// without a signer is a public key, whose other half only an agent can have.
func (s *identities) fromFile(path string) (identity, bool) {
	text, err := readKeyFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.report(fmt.Sprintf("%s: %v", path, plainError(err)))
		return identity{}, false
	}
	public := readPublic(path + ".pub")
	if err != nil { // only the public half is here, or nothing
		if public == nil && !s.h.defaultKeys {
			s.report(path + ": there is no such file")
		}
		return identity{name: path, public: public}, public != nil
	}
	if key := parsePublic(text); key != nil {
		return identity{name: path, public: key}, true
	}
	id := identity{name: path, public: public}
	signer, err := gossh.ParsePrivateKey(text)
	var locked *gossh.PassphraseMissingError
	switch {
	case err == nil:
		id.public = signer.PublicKey()
		id.signer = func(context.Context) (gossh.Signer, error) { return signer, nil }
	case errors.As(err, &locked):
		if locked.PublicKey != nil {
			id.public = locked.PublicKey
		}
		id.signer = func(ctx context.Context) (gossh.Signer, error) { return s.unlock(ctx, path, text) }
	case public != nil && strings.HasPrefix(public.Type(), "sk-"):
		s.report(path + `: its key is in a security key: client = "openssh" can use it, or add it to an agent`)
		return id, s.agent != nil
	default:
		s.report(fmt.Sprintf("%s: %v", path, err))
		return id, public != nil
	}
	return id, true
}

// readKeyFile refuses a key that others can read, as ssh does for a user's own
// files (authfile.c, sshkey_perm_ok).
func readKeyFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.IsDir() {
		return nil, errors.New("it is a folder")
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, err
	}
	owner, ok := st.Sys().(*syscall.Stat_t)
	own := ok && int(owner.Uid) == os.Getuid()
	if own && st.Mode().Perm()&0o077 != 0 && parsePublic(text) == nil {
		return nil, fmt.Errorf("others can read it (mode %04o), so it is not used: chmod 600 it", st.Mode().Perm())
	}
	return text, nil
}

// plainError leaves out the path that an *fs.PathError repeats.
func plainError(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func readPublic(path string) gossh.PublicKey {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil
	}
	return parsePublic(text)
}

func parsePublic(text []byte) gossh.PublicKey {
	key, _, _, _, err := gossh.ParseAuthorizedKey(text)
	if err != nil {
		return nil
	}
	return key
}

// unlock asks for a key's passphrase, as often as ssh would.
func (s *identities) unlock(ctx context.Context, path string, text []byte) (gossh.Signer, error) {
	if s.ask == nil {
		return nil, errors.New("it has a passphrase, and nobody can be asked for it: add it to an agent with ssh-add")
	}
	for range s.h.prompts {
		answer, err := s.ask(ctx, Question{Text: fmt.Sprintf("Enter passphrase for key '%s': ", path)})
		if err != nil {
			return nil, fmt.Errorf("its passphrase was not given: %w", err)
		}
		if answer == "" {
			return nil, errors.New("its passphrase was not given")
		}
		if signer, err := gossh.ParsePrivateKeyWithPassphrase(text, []byte(answer)); err == nil {
			return signer, nil
		}
	}
	return nil, errors.New("the passphrase was wrong")
}

// certified reports whether a certificate file of ssh_config is about key.
func (s *identities) certified(key gossh.PublicKey) bool {
	return slices.ContainsFunc(s.h.certs, func(path string) bool {
		cert, ok := readPublic(path).(*gossh.Certificate)
		return ok && (samePublic(cert.Key, key) || samePublic(cert, key))
	})
}

// withCertificates puts before each key the certificates for it, from
// ssh_config's CertificateFile and from KEY-cert.pub.
func (s *identities) withCertificates(keys []identity) []identity {
	paths := slices.Clone(s.h.certs)
	for _, key := range s.h.identities {
		paths = append(paths, strings.TrimSuffix(key, ".pub")+"-cert.pub")
	}
	var list []identity
	for _, path := range paths {
		cert, ok := readPublic(path).(*gossh.Certificate)
		if !ok || slices.ContainsFunc(list, func(k identity) bool { return samePublic(k.public, cert) }) {
			continue
		}
		if i := slices.IndexFunc(keys, func(k identity) bool { return samePublic(k.public, cert.Key) }); i >= 0 {
			list = append(list, certify(path, cert, keys[i]))
		}
	}
	return append(list, keys...)
}

func certify(path string, cert *gossh.Certificate, key identity) identity {
	return identity{name: path, public: cert, signer: func(ctx context.Context) (gossh.Signer, error) {
		signer, err := key.signer(ctx)
		if err != nil {
			return nil, err
		}
		return gossh.NewCertSigner(cert, signer)
	}}
}

// lazySigner is a key of which only the public half is needed until the server
// has said that it would take it.
type lazySigner struct {
	ctx    context.Context // of the login that the signer is made for
	id     identity
	failed func(error)
}

var _ gossh.MultiAlgorithmSigner = lazySigner{}

// PublicKey returns the key or certificate.
func (l lazySigner) PublicKey() gossh.PublicKey { return l.id.public }

// Algorithms returns the signatures that a key of this kind can make. RSA keys
// make SHA-2 ones, which RFC 8332 has; every server since OpenSSH 7.2 takes them.
func (l lazySigner) Algorithms() []string {
	key := l.id.public
	if cert, ok := key.(*gossh.Certificate); ok {
		key = cert.Key
	}
	if key.Type() == gossh.KeyAlgoRSA {
		return []string{gossh.KeyAlgoRSASHA512, gossh.KeyAlgoRSASHA256, gossh.KeyAlgoRSA}
	}
	return []string{key.Type()}
}

// Sign is for callers that know no algorithms.
func (l lazySigner) Sign(rand io.Reader, data []byte) (*gossh.Signature, error) {
	return l.SignWithAlgorithm(rand, data, "")
}

// SignWithAlgorithm gets hold of the private half, which may mean to ask for a
// passphrase, and signs.
func (l lazySigner) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*gossh.Signature, error) {
	signer, err := l.id.signer(l.ctx)
	if err != nil {
		l.failed(err)
		return nil, err
	}
	var sig *gossh.Signature
	if s, ok := signer.(gossh.AlgorithmSigner); ok && algorithm != "" {
		sig, err = s.SignWithAlgorithm(rand, data, algorithm)
	} else {
		sig, err = signer.Sign(rand, data)
	}
	if err != nil {
		l.failed(err)
	}
	return sig, err
}
