package tls

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Token is the secret that lets workers join. It prints as [redacted];
// Encode gives its text.
type Token [32]byte

// NewToken returns a random token.
func NewToken() Token {
	var t Token
	rand.Read(t[:]) // never fails; it ends the program instead
	return t
}

// Format keeps every verb of fmt from printing the secret.
func (Token) Format(f fmt.State, _ rune) { f.Write([]byte("[redacted]")) }

// Encode returns the token's text, 43 characters of base64url.
func (t Token) Encode() string { return base64.RawURLEncoding.EncodeToString(t[:]) }

// ParseToken reads what Encode wrote. Its error does not repeat the text.
func ParseToken(s string) (Token, error) {
	var t Token
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != len(t) {
		return t, errors.New("a token is 43 characters of base64url")
	}
	copy(t[:], b)
	return t, nil
}

// exporterLabel names the keying material that proofs are bound to.
const exporterLabel = "EXPORTER-muster-join"

// Proof proves knowledge of token on this very connection: an HMAC-SHA256,
// keyed with it, over the connection's exported keying material and context.
// A relay in the middle that terminates TLS has other material on each side.
func Proof(c *Conn, token Token, context []byte) ([]byte, error) {
	cs := c.ConnectionState()
	material, err := cs.ExportKeyingMaterial(exporterLabel, context, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("prove the join token: %w", err)
	}
	mac := hmac.New(sha256.New, token[:])
	mac.Write(material)
	return mac.Sum(nil), nil
}

// ErrProof says that a peer does not know the token.
var ErrProof = errors.New("its join token is wrong")

// CheckProof checks a peer's Proof in constant time.
func CheckProof(c *Conn, token Token, context, proof []byte) error {
	want, err := Proof(c, token, context)
	if err != nil {
		return err
	}
	if !hmac.Equal(want, proof) {
		return ErrProof
	}
	return nil
}

// Why Admit refuses.
var (
	ErrTokenExpired = errors.New("its join token has expired; `muster launch --print` and `muster join new` make others")
	ErrTokenSpent   = errors.New("its join token has admitted as many workers as it may; `muster launch --print` and `muster join new` make others")
	ErrRevoked      = errors.New("its launch has ended")
	ErrOnce         = errors.New("its identity has been here, and its join token, which others may have read, admits each once; `muster launch` starts another worker")
	ErrLive         = errors.New("a worker of the same identity is connected; --element gives it another")
	ErrRestarts     = fmt.Errorf("its restart number is beyond %d, to which no scheduler counts", MaxRestart)
	ErrOften        = errors.New("its identity comes too often; it may try again")
)

// Bounds on how an identity may come again.
const (
	// MaxRestart is the highest restart number: so often a worker may take the place of
	// one of its identity that is connected.
	MaxRestart = 10_000
	// An identity may come joinsAtOnce times at once, and then once in joinEvery.
	joinsAtOnce = 60
	joinEvery   = time.Second
)

// Launch is what a token lets in: at most so many distinct identities, one
// live session each. It is safe for concurrent use.
type Launch struct {
	id    string
	token Token
	Terms

	mu       sync.Mutex // guards all below
	revoked  bool
	elements map[string]*element
}

type element struct {
	restart uint32
	live    bool
	paid    time.Time // each time that it is let in, or goes on, moves this on by joinEvery
}

// Terms are on which a launch lets workers in.
type Terms struct {
	Uses  int       // identities
	Until time.Time // zero for as long as the launch
	// Once says that no identity is let in again: not after it has left, and not with a
	// higher restart number.
	Once bool
}

// NewLaunch returns a launch with a new token.
func NewLaunch(id string, t Terms) *Launch {
	return &Launch{id: id, token: NewToken(), Terms: t, elements: map[string]*element{}}
}

// ID returns the launch's name.
func (l *Launch) ID() string { return l.id }

// Token returns the launch's secret.
func (l *Launch) Token() Token { return l.token }

// Admit lets an identity in. The same identity may come again after it has
// left, or with a higher restart number, as a requeued job does, unless each is let in
// once. now is the dispatcher's clock, by which alone a token expires.
func (l *Launch) Admit(name string, restart uint32, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.elements[name]
	switch {
	case l.revoked:
		return ErrRevoked
	case !l.Until.IsZero() && now.After(l.Until):
		return ErrTokenExpired
	case e == nil && len(l.elements) >= l.Uses:
		return ErrTokenSpent
	case e != nil && l.Once:
		return ErrOnce
	case restart > MaxRestart:
		return ErrRestarts
	case e != nil && e.live && restart <= e.restart:
		return ErrLive
	}
	if e == nil {
		e = &element{}
	}
	if !e.pay(now) {
		return ErrOften
	}
	e.restart, e.live = restart, true
	l.elements[name] = e
	return nil
}

// Again counts that an identity that was let in goes on with its session over another
// connection; it may as often as it may come.
func (l *Launch) Again(name string, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.elements[name]; e != nil && !e.pay(now) {
		return ErrOften
	}
	return nil
}

// pay reports whether an identity may come now, and counts it if so.
func (e *element) pay(now time.Time) bool {
	paid := e.paid
	if paid.Before(now) {
		paid = now
	}
	if paid.Sub(now) > (joinsAtOnce-1)*joinEvery {
		return false
	}
	e.paid = paid.Add(joinEvery)
	return true
}

// Holds reports whether the session of an identity that was let in last, and has not
// ended, is the one with this restart number.
func (l *Launch) Holds(name string, restart uint32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.elements[name]
	return e != nil && e.live && e.restart == restart
}

// Release ends the session of an identity, unless a later one has replaced it.
func (l *Launch) Release(name string, restart uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.elements[name]; e != nil && e.restart == restart {
		e.live = false
	}
}

// Retract is Release for an identity that may not know that it was let in: it may come
// again, even if each is let in once.
func (l *Launch) Retract(name string, restart uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.elements[name]
	switch {
	case e == nil || e.restart != restart:
	case l.Once:
		delete(l.elements, name)
	default:
		e.live = false
	}
}

// Seen reports whether an identity has ever been admitted.
func (l *Launch) Seen(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.elements[name] != nil
}

// Live reports whether an identity has a session.
func (l *Launch) Live(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.elements[name]
	return e != nil && e.live
}

// Used returns how many identities have been admitted.
func (l *Launch) Used() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.elements)
}

// Revoke ends the launch: nobody is admitted any more.
func (l *Launch) Revoke() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.revoked = true
}
