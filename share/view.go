package share

import (
	"fmt"
	"os"
	"reflect"
	"unsafe"
)

// View is a segment that is mapped into this process, read-only: a write to it ends
// the program. It is safe for concurrent use but for Close.
type View struct {
	ref Ref
	m   *mapping
}

// Open maps a segment. The mapping lasts until Close, whatever becomes of the
// segment's owner.
func Open(r Ref) (*View, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	if err := r.here(); err != nil {
		return nil, err
	}
	m, err := mappings.take(r)
	if err != nil {
		return nil, err
	}
	return &View{ref: r, m: m}, nil
}

// Bytes returns the segment's bytes, which nobody copies. They are valid until Close,
// and must not be written to.
func (v *View) Bytes() []byte { return v.m.data }

// Close gives the view up. What Bytes and Slice have returned must not be used any
// more.
func (v *View) Close() {
	if v.m != noMapping {
		mappings.giveBack(v.m)
		v.m = noMapping
	}
}

// PutSlice shares a copy of a slice's elements, whose type must hold no pointers:
// numbers, and arrays and structs of numbers.
func PutSlice[T any](s []T) (*Segment, error) {
	t := reflect.TypeFor[T]()
	if err := plain(t); err != nil {
		return nil, err
	}
	size := int(t.Size()) * len(s)
	return put(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), size), t.String())
}

// Slice returns a view's bytes as elements, without copying them, under the rules of
// View.Bytes. They must be what PutSlice was given; bytes that were put can be read as
// elements of any type whose size divides their number.
func Slice[T any](v *View) ([]T, error) {
	t := reflect.TypeFor[T]()
	if err := plain(t); err != nil {
		return nil, err
	}
	data := v.Bytes()
	if int64(len(data)) != v.ref.Bytes {
		return nil, fmt.Errorf("read a share as elements of %v: the view: %w", t, os.ErrClosed)
	}
	if v.ref.Type != "" && v.ref.Type != t.String() {
		return nil, fmt.Errorf("read a share as elements of %v: it has elements of %s", t, v.ref.Type)
	}
	if len(data)%int(t.Size()) != 0 {
		return nil, fmt.Errorf("read a share as elements of %v: it has %d bytes, and each of these has %d", t, len(data), t.Size())
	}
	if len(data) == 0 {
		return nil, nil
	}
	// A mapping begins at a page, which is aligned for every type.
	return unsafe.Slice((*T)(unsafe.Pointer(&data[0])), len(data)/int(t.Size())), nil
}

// plain refuses a type whose values mean nothing in another process.
func plain(t reflect.Type) error {
	if t.Size() == 0 || !flat(t) {
		return fmt.Errorf("share elements of %v: they must be numbers, or arrays or structs of numbers, without pointers", t)
	}
	return nil
}

// flat reports whether values of a type hold no pointers.
func flat(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Array:
		return flat(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if !flat(t.Field(i).Type) {
				return false
			}
		}
		return true
	}
	return t.Kind() >= reflect.Bool && t.Kind() <= reflect.Complex128 && t.Kind() != reflect.Uintptr
}
