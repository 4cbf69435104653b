package ssh

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tokens are what a % stands for (ssh_config(5), TOKENS), once user, name and
// port are known.
func (f *filler) tokens() map[byte]string {
	local, _ := os.Hostname()
	short, _, _ := strings.Cut(local, ".")
	h := f.h
	return map[byte]string{'d': f.r.home, 'h': h.Host, 'i': strconv.Itoa(os.Getuid()), 'k': h.keyName(), 'L': short,
		'l': local, 'n': h.alias, 'p': strconv.Itoa(h.Port), 'r': h.User, 'u': f.r.localUser}
}

// expand replaces the % tokens of a value.
func (f *filler) expand(key, s string, tokens map[byte]string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i++; i == len(s) {
			f.fail(key, "%q ends with a %%", s)
			return ""
		}
		if s[i] == '%' {
			b.WriteByte('%')
			continue
		}
		v, ok := tokens[s[i]]
		if !ok {
			f.fail(key, `the native client does not know %%%c: choose client = "openssh"`, s[i])
			return ""
		}
		b.WriteString(v)
	}
	return b.String()
}

// path expands ~, ${NAME} and % in a file name. None at all stands for "none".
func (f *filler) path(key, s string) []string {
	if s == "none" || s == "" {
		return nil
	}
	if rest, ok := strings.CutPrefix(s, "~/"); ok {
		s = filepath.Join(f.r.home, rest)
	}
	for {
		start := strings.Index(s, "${")
		length := strings.Index(s[max(start, 0):], "}")
		if start < 0 || length < 0 {
			break
		}
		name := s[start+2 : start+length]
		v := f.getenv(name)
		if v == "" {
			f.fail(key, "%s is not set in the environment", name)
			return nil
		}
		s = s[:start] + strings.ReplaceAll(v, "${", "") + s[start+length+1:]
	}
	s = f.expand(key, s, f.tokens())
	if !filepath.IsAbs(s) {
		if abs, err := filepath.Abs(s); err == nil {
			s = abs
		}
	}
	return []string{s}
}

// paths expands the file names of one line.
func (f *filler) paths(key string, otherwise ...string) []string {
	v := f.r.values[key]
	if len(v) == 0 {
		return otherwise
	}
	var files []string
	for _, a := range v[0].args {
		files = append(files, f.path(key, a)...)
	}
	return files
}

func (f *filler) number(key string, otherwise, most int) int {
	v := f.r.first(key, "")
	if v == "" {
		return otherwise
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > most {
		f.fail(key, "%q is not a number from 1 to %d", v, most)
	}
	return n
}

func (f *filler) yes(key string, otherwise bool) bool {
	switch v := strings.ToLower(f.r.first(key, "")); v {
	case "":
		return otherwise
	case "yes", "true":
		return true
	case "no", "false":
		return false
	default:
		return otherwise // unbound, host-bound and the like are more than a yes
	}
}

// duration reads seconds, or a number with a unit as in 1h30m (sshd_config(5),
// TIME FORMATS). 0 and none mean otherwise.
func (f *filler) duration(key string, otherwise time.Duration) time.Duration {
	v := strings.ToLower(f.r.first(key, ""))
	if v == "" || v == "none" || v == "0" {
		return otherwise
	}
	d, err := parseTime(v)
	if err != nil {
		f.fail(key, "%w", err)
	}
	return d
}

func parseTime(s string) (time.Duration, error) {
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	var sum time.Duration
	for rest := s; rest != ""; {
		end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
		digits, unit := rest, time.Second
		if end >= 0 {
			digits, unit = rest[:end], units[rest[end]]
			rest = rest[end+1:]
		} else {
			rest = ""
		}
		n, err := strconv.Atoi(digits)
		if err != nil || unit == 0 || n > 1<<24 {
			return 0, fmt.Errorf("%q is not a time such as 30 or 1h30m", s)
		}
		sum += time.Duration(n) * unit
	}
	if sum <= 0 {
		return 0, errors.New("a time must be above 0")
	}
	return sum, nil
}
