package tls

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
)

// SessionKey lets a worker go on with its session over another connection when
// the first has broken. Both sides derive it from the first (RFC 8446, section
// 7.5); it never travels, and prints as [redacted].
type SessionKey [sha256.Size]byte

// Format keeps every verb of fmt from printing the secret.
func (SessionKey) Format(f fmt.State, _ rune) { f.Write([]byte("[redacted]")) }

// The keying material that a session's key is, and that proofs of it are bound to.
const (
	sessionLabel = "EXPORTER-muster-session"
	resumeLabel  = "EXPORTER-muster-resume"
)

// NewSessionKey derives the key of the session that begins on c. Both sides
// give the same context, which says whose session it is.
func NewSessionKey(c *Conn, context []byte) (SessionKey, error) {
	var k SessionKey
	cs := c.ConnectionState()
	material, err := cs.ExportKeyingMaterial(sessionLabel, context, len(k))
	if err != nil {
		return k, fmt.Errorf("derive the session's key: %w", err)
	}
	copy(k[:], material)
	return k, nil
}

// Proof proves knowledge of the key on this very connection, which is another
// than the one that it comes from.
func (k SessionKey) Proof(c *Conn, context []byte) ([]byte, error) {
	cs := c.ConnectionState()
	material, err := cs.ExportKeyingMaterial(resumeLabel, context, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("prove the session's key: %w", err)
	}
	mac := hmac.New(sha256.New, k[:])
	mac.Write(material)
	return mac.Sum(nil), nil
}

// ErrSession says that a peer does not know the session's key.
var ErrSession = errors.New("its session is not the one that is known here")

// Check checks a peer's Proof in constant time.
func (k SessionKey) Check(c *Conn, context, proof []byte) error {
	want, err := k.Proof(c, context)
	if err != nil {
		return err
	}
	if !hmac.Equal(want, proof) {
		return ErrSession
	}
	return nil
}
