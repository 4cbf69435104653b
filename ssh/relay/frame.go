package relay

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
)

// A stream that the near side opens carries one request and its answer: a u32
// length, that much JSON, and as many raw bytes as the JSON's Bulk says, in each
// direction. What it opens and then closes before the answer is cancelled. The
// streams of listen and of hello, on which notices go, stay open.
//
// A stream that the far side opens is a TCP connection: a length and an arrival
// in JSON first, then what the peer sends. The near side sends the byte taken
// when somebody has accepted it, then what the peer is to get.
//
// A notice is the u32 number of such a stream. From the far side it says that the
// peer has reset the connection; from the near side, that nobody there reads it
// any more. yamux has neither: its Close is only the end of what one side sends.
const (
	maxHeader = 1 << 20  // bytes of JSON of a request or answer
	maxBrief  = 4 << 10  // bytes of JSON of an arrival
	maxStream = 64 << 20 // bytes of a command's input, output and error output each
	maxFile   = 1 << 30  // bytes of a written file
	maxTail   = 1 << 20  // bytes that Tail returns

	// chunk is the most that is written at a time, so that one stream holds up
	// others and the keepalive on a slow link for no longer than that takes.
	chunk = 32 << 10

	taken = 1
)

type request struct {
	Op   string
	Args json.RawMessage
	Bulk int64 // raw bytes that follow
}

type answer struct {
	Fault  *fault `json:",omitempty"`
	Result json.RawMessage
	Bulk   int64
}

type arrival struct {
	Listener uint32
	Peer     string // address and port
}

// octets are a string that need not be UTF-8, as arguments and paths are: JSON
// would put something else in place of what is not.
type octets string

func (o octets) MarshalText() ([]byte, error) {
	return base64.StdEncoding.AppendEncode(nil, []byte(o)), nil
}

func (o *octets) UnmarshalText(text []byte) error {
	b, err := base64.StdEncoding.AppendDecode(nil, text)
	*o = octets(b)
	return err
}

func toOctets(s []string) []octets {
	o := make([]octets, len(s))
	for i := range s {
		o[i] = octets(s[i])
	}
	return o
}

func fromOctets(o []octets) []string {
	s := make([]string, len(o))
	for i := range o {
		s[i] = string(o[i])
	}
	return s
}

// writeHeader writes v with its length in one call.
func writeHeader(w io.Writer, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(text) > maxHeader {
		return fmt.Errorf("its header has %d bytes; %d are possible", len(text), maxHeader)
	}
	return writeBulk(w, append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...))
}

func readHeader(r io.Reader, most int64, v any) error {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return err
	}
	text, err := readBulk(r, int64(binary.BigEndian.Uint32(size[:])), most)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}

func writeBulk(w io.Writer, b []byte) error {
	for len(b) > 0 {
		n, err := w.Write(b[:min(len(b), chunk)])
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// readBulk reads size bytes, for which memory is taken only as they come.
func readBulk(r io.Reader, size, most int64) ([]byte, error) {
	if size < 0 || size > most {
		return nil, fmt.Errorf("%d bytes were announced; %d are possible", size, most)
	}
	var b bytes.Buffer
	if _, err := io.CopyN(&b, r, size); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return b.Bytes(), nil
}
