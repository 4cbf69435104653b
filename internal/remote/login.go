package remote

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	mssh "muster/ssh"
)

// Login says how another machine is reached and where muster's things are on
// it. It is a value that travels in plans and is kept in launch records: there
// is no secret in it.
type Login struct {
	Target    mssh.Target   `json:"target"`
	Jump      []mssh.Target `json:"jump,omitempty"` // nil is what ssh_config says
	Client    string        `json:"client,omitempty"`
	Command   string        `json:"command,omitempty"` // of OpenSSH's client, with options
	Timeout   time.Duration `json:"timeout,omitempty"`
	AcceptNew bool          `json:"accept_new,omitempty"`
	State     string        `json:"state,omitempty"`     // muster's folder there; empty is that of a muster typed there
	Muster    string        `json:"muster,omitempty"`    // the program there; empty is a copy of Binary
	Binary    string        `json:"binary,omitempty"`    // the program here to copy; empty is this one
	Addresses []string      `json:"addresses,omitempty"` // by which other machines reach it; empty is all that it has
}

// key tells logins apart that may not share a link.
func (l Login) key() string {
	b, err := json.Marshal(l)
	if err != nil {
		panic(err) // strings and numbers always marshal
	}
	return string(b)
}

// digest is the key in a few characters.
func (l Login) digest() string {
	sum := sha256.Sum256([]byte(l.key()))
	return hex.EncodeToString(sum[:4])
}

// Name is the machine as messages call it.
func (l Login) Name() string { return l.Target.Host }
