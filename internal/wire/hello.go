package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Hello is what a worker says first.
type Hello struct {
	Version, MinVersion uint32
	Launch              string // the launch that its token belongs to
	Element             string // which of the launch's workers it is
	Restart             uint32 // how often its scheduler has restarted this element
	Proof               []byte // HMAC over the TLS exporter, keyed with the token
	Host                string
	Pid                 uint32
	Slots               uint32
	Build               string // muster's version, for messages only

	Lease    bool   // the worker can outlive its connection: see Writer.Retain
	Resume   bool   // this connection goes on with a session; Proof is of its key
	Received uint64 // frames of that session that have come from the dispatcher
}

// ProofContext is what of a hello the proof of its token covers, so that an
// honest worker's proof does not serve for another identity.
func (m *Hello) ProofContext() []byte {
	return fmt.Appendf(nil, "%d:%s%d:%s%d", len(m.Launch), m.Launch, len(m.Element), m.Element, m.Restart)
}

// ResumeContext is what of a hello the proof of a session's key covers.
func (m *Hello) ResumeContext() []byte {
	return fmt.Appendf(m.ProofContext(), ":%d", m.Received)
}

// Welcome is the dispatcher's answer: either Refused says why not, or the
// worker is in.
type Welcome struct {
	Version   uint32
	Refused   string        // empty if admitted
	Later     bool          // the refusal may pass: try again
	WorkerID  string        // what users see
	Heartbeat time.Duration // how often the dispatcher pings; a peer silent for four of these is gone
	Profile   string        // whose tasks it gets
	Lease     time.Duration // how long the session outlives a broken connection; 0 is not at all
	Received  uint64        // of a session that goes on: frames that have come from the worker
}

func (m *Hello) append(b []byte) []byte {
	b = putUint(b, 1, uint64(m.Version))
	b = putUint(b, 2, uint64(m.MinVersion))
	b = putString(b, 3, m.Launch)
	b = putString(b, 4, m.Element)
	b = putUint(b, 5, uint64(m.Restart))
	b = putBytes(b, 6, m.Proof)
	b = putString(b, 7, m.Host)
	b = putUint(b, 8, uint64(m.Pid))
	b = putUint(b, 9, uint64(m.Slots))
	b = putString(b, 10, m.Build)
	b = putBool(b, 11, m.Lease)
	b = putBool(b, 12, m.Resume)
	return putUint(b, 13, m.Received)
}

func (m *Hello) parse(b []byte) error {
	return parseFields(b, func(num protowire.Number, v uint64, s []byte) {
		switch num {
		case 1:
			m.Version = clamp32(v)
		case 2:
			m.MinVersion = clamp32(v)
		case 3:
			m.Launch = string(s)
		case 4:
			m.Element = string(s)
		case 5:
			m.Restart = clamp32(v)
		case 6:
			m.Proof = append([]byte(nil), s...)
		case 7:
			m.Host = string(s)
		case 8:
			m.Pid = clamp32(v)
		case 9:
			m.Slots = clamp32(v)
		case 10:
			m.Build = string(s)
		case 11:
			m.Lease = v != 0
		case 12:
			m.Resume = v != 0
		case 13:
			m.Received = v
		}
	})
}

func (m *Welcome) append(b []byte) []byte {
	b = putUint(b, 1, uint64(m.Version))
	b = putString(b, 2, m.Refused)
	b = putString(b, 3, m.WorkerID)
	b = putUint(b, 4, uint64(m.Heartbeat))
	b = putString(putBool(b, 5, m.Later), 6, m.Profile)
	b = putUint(b, 7, uint64(m.Lease))
	return putUint(b, 8, m.Received)
}

func (m *Welcome) parse(b []byte) error {
	return parseFields(b, func(num protowire.Number, v uint64, s []byte) {
		switch num {
		case 1:
			m.Version = clamp32(v)
		case 2:
			m.Refused = string(s)
		case 3:
			m.WorkerID = string(s)
		case 4:
			m.Heartbeat = time.Duration(min(v, uint64(time.Hour)))
		case 5:
			m.Later = v != 0
		case 6:
			m.Profile = string(s)
		case 7:
			m.Lease = time.Duration(min(v, uint64(MaxLease)))
		case 8:
			m.Received = v
		}
	})
}

// WriteHello sends the opening message: *Hello by the client, *Welcome by the
// server.
func WriteHello(w io.Writer, m Message) error {
	b := append([]byte(magic), 0, 0, 0, 0)
	b = m.append(b)
	if n := len(b) - 12; n > MaxHello {
		return fmt.Errorf("hello of %d bytes; at most %d are allowed", n, MaxHello)
	}
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
	_, err := w.Write(b)
	return err
}

// ReadHello reads the peer's opening message into m and nothing beyond it.
// The caller sets a deadline on the connection.
func ReadHello(r io.Reader, m Message) error {
	var head [12]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return fmt.Errorf("read hello: %w", err)
	}
	if string(head[:8]) != magic {
		return errors.New("the peer does not speak muster's protocol")
	}
	n := binary.BigEndian.Uint32(head[8:])
	if n > MaxHello {
		return fmt.Errorf("the peer's hello has %d bytes; at most %d are allowed", n, MaxHello)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return fmt.Errorf("read hello: %w", err)
	}
	return m.parse(b)
}
