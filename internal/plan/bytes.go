package plan

import (
	"reflect"
	"strings"
	"unicode/utf8"
)

// JSON has no strings but those in UTF-8, and paths and a user's own lines may be in
// other encodings. In a plan's JSON byteRunes + B stands for a byte B that is no
// UTF-8. A character that is one of these stands there by its bytes.
const byteRunes = 0x10FF00

// escape makes UTF-8 of any string, from which unescape makes the string again.
func escape(s string) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, isByte) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 || isByte(r) {
			for i := range n {
				b.WriteRune(byteRunes + rune(s[i]))
			}
		} else {
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

func unescape(s string) string {
	if !strings.ContainsFunc(s, isByte) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if isByte(r) {
			b.WriteByte(byte(r - byteRunes))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func isByte(r rune) bool { return r >= byteRunes }

// strung returns a copy of v with each string in it, however deep, as f makes it.
func strung[T any](v T, f func(string) string) T {
	return restring(reflect.ValueOf(&v).Elem(), f).Interface().(T)
}

func restring(v reflect.Value, f func(string) string) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	out.Set(v)
	switch v.Kind() {
	case reflect.String:
		out.SetString(f(v.String()))
	case reflect.Struct:
		for i := range v.NumField() {
			if out.Field(i).CanSet() {
				out.Field(i).Set(restring(v.Field(i), f))
			}
		}
	case reflect.Pointer:
		if !v.IsNil() {
			out.Set(reflect.New(v.Type().Elem()))
			out.Elem().Set(restring(v.Elem(), f))
		}
	case reflect.Interface:
		if !v.IsNil() {
			out.Set(restring(v.Elem(), f))
		}
	case reflect.Slice:
		if !v.IsNil() && v.Type().Elem().Kind() != reflect.Uint8 {
			out.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
			for i := range v.Len() {
				out.Index(i).Set(restring(v.Index(i), f))
			}
		}
	}
	return out
}
