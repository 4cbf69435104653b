package wire

import (
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"muster/rng"
	"muster/task"
)

// fields reads and writes protobuf wire format: every integer a varint, every
// text and byte string length-delimited. Zero values are left out.

func putUint(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

func putBool(b []byte, num protowire.Number, v bool) []byte {
	if !v {
		return b
	}
	return putUint(b, num, 1)
}

func putBytes(b []byte, num protowire.Number, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
}

func putString(b []byte, num protowire.Number, v string) []byte {
	if v == "" {
		return b
	}
	return putElement(b, num, v)
}

func putStream(b []byte, num protowire.Number, s rng.Stream) []byte {
	if s.IsZero() {
		return b
	}
	bytes, _ := s.AppendBinary(nil) // it has no error
	return putBytes(b, num, bytes)
}

// putElement writes one element of a list, which may be empty and still counts.
func putElement(b []byte, num protowire.Number, v string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), v)
}

// parseFields calls each with every varint (in v) or byte string (in s, a part
// of b) and skips fields of other types.
func parseFields(b []byte, each func(num protowire.Number, v uint64, s []byte)) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("malformed field: %w", protowire.ParseError(n))
		}
		b = b[n:]
		switch typ {
		case protowire.VarintType:
			v, m := protowire.ConsumeVarint(b)
			if n = m; n >= 0 {
				each(num, v, nil)
			}
		case protowire.BytesType:
			s, m := protowire.ConsumeBytes(b)
			if n = m; n >= 0 {
				each(num, 0, s)
			}
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return fmt.Errorf("malformed field %d: %w", num, protowire.ParseError(n))
		}
		b = b[n:]
	}
	return nil
}

// A Ref is fields 1 to 3 of every message that has one.
func appendRef(b []byte, r Ref) []byte {
	b = putUint(b, 1, uint64(r.Task))
	b = putUint(b, 2, uint64(r.Attempt))
	return putUint(b, 3, r.Epoch)
}

func refField(r *Ref, num protowire.Number, v uint64) {
	switch num {
	case 1:
		r.Task = task.ID(v)
	case 2:
		r.Attempt = clamp32(v)
	case 3:
		r.Epoch = v
	}
}

// clamp32 keeps a hostile number from wrapping around into a valid one.
func clamp32(v uint64) uint32 { return uint32(min(v, math.MaxUint32)) }

func clampInt(v uint64) int { return int(min(v, math.MaxInt32)) }

func appendErr(b []byte, num protowire.Number, e *task.ErrorValue) []byte {
	if e == nil {
		return b
	}
	var m []byte
	m = putUint(m, 1, uint64(e.Kind))
	m = putUint(m, 2, uint64(e.Code))
	m = putString(m, 3, e.Message)
	m = putString(m, 4, e.Signal)
	m = putString(m, 5, e.Evidence)
	m = putBytes(m, 6, e.Detail)
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), m)
}

func parseErr(b []byte) (*task.ErrorValue, error) {
	e := &task.ErrorValue{}
	err := parseFields(b, func(num protowire.Number, v uint64, s []byte) {
		switch num {
		case 1:
			e.Kind = task.Kind(min(v, math.MaxUint8))
		case 2:
			e.Code = clampInt(v)
		case 3:
			e.Message = string(s)
		case 4:
			e.Signal = string(s)
		case 5:
			e.Evidence = string(s)
		case 6:
			e.Detail = append([]byte(nil), s...)
		}
	})
	return e, err
}

func appendLack(b []byte, num protowire.Number, l *task.Lack) []byte {
	if l == nil {
		return b
	}
	var m []byte
	m = putUint(m, 1, uint64(l.Kind))
	m = putUint(m, 2, uint64(l.Code))
	m = putString(m, 3, l.Message)
	m = putString(m, 4, l.Evidence)
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), m)
}

func parseLack(b []byte) (*task.Lack, error) {
	l := &task.Lack{}
	err := parseFields(b, func(num protowire.Number, v uint64, s []byte) {
		switch num {
		case 1:
			l.Kind = task.LackKind(min(v, math.MaxUint8))
		case 2:
			l.Code = clampInt(v)
		case 3:
			l.Message = string(s)
		case 4:
			l.Evidence = string(s)
		}
	})
	return l, err
}

func appendShare(b []byte, num protowire.Number, s task.Share) []byte {
	m := putBool(putString(putString(nil, 1, s.Name), 2, s.Ref), 3, s.Needed)
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), m)
}

func parseShare(b []byte) (s task.Share, err error) {
	return s, parseFields(b, func(num protowire.Number, v uint64, text []byte) {
		switch num {
		case 1:
			s.Name = string(text)
		case 2:
			s.Ref = string(text)
		case 3:
			s.Needed = v != 0
		}
	})
}

func unixNano(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(t.UnixNano())
}

func fromNano(n uint64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(n))
}
