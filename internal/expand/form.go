package expand

import "strings"

// form is which part of a path a placeholder stands for.
type form uint8

const (
	asIs      form = iota
	noExt          // {.}
	base           // {/}
	dir            // {//}
	baseNoExt      // {/.}
)

// splitForm takes the form's mark off a placeholder's end.
func splitForm(s string) (string, form) {
	for _, f := range []struct {
		mark string
		form form
	}{{"//", dir}, {"/.", baseNoExt}, {"/", base}, {".", noExt}} {
		if rest, ok := strings.CutSuffix(s, f.mark); ok {
			return rest, f.form
		}
	}
	return s, asIs
}

func (f form) of(v string) string {
	switch f {
	case noExt:
		return trimExt(v)
	case base:
		return trimDir(v)
	case dir:
		return dirname(v)
	case baseNoExt:
		return trimExt(trimDir(v))
	}
	return v
}

// trimExt is GNU parallel's s:\.[^/.]*$:: (perl). A dot file is all extension.
func trimExt(v string) string {
	i := strings.LastIndexAny(v, "./")
	if i < 0 || v[i] == '/' {
		return v
	}
	return v[:i]
}

// trimDir is GNU parallel's s:.*/:: (perl), whose . is no newline: what goes is
// the path up to the last slash of the first line that has one.
func trimDir(v string) string {
	first := strings.IndexByte(v, '/')
	if first < 0 {
		return v
	}
	start := strings.LastIndexByte(v[:first], '\n') + 1
	end := len(v)
	if n := strings.IndexByte(v[first:], '\n'); n >= 0 {
		end = first + n
	}
	last := strings.LastIndexByte(v[:end], '/')
	return v[:start] + v[last+1:]
}

// dirname is that of perl's File::Basename, which GNU parallel uses: the
// trailing slashes do not count, and what has no directory is in ".".
func dirname(v string) string {
	d, b := split(v)
	d = trimSlashes(d)
	if b == "" {
		d, _ = split(d)
		d = trimSlashes(d)
	}
	return d
}

func split(v string) (dir, base string) {
	i := strings.LastIndexByte(v, '/')
	if i < 0 {
		return "./", v
	}
	return v[:i+1], v[i+1:]
}

// trimSlashes leaves at least one character.
func trimSlashes(v string) string {
	for len(v) > 1 && v[len(v)-1] == '/' {
		v = v[:len(v)-1]
	}
	return v
}
