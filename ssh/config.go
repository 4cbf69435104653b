package ssh

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// What OpenSSH allows in its files (readconf.c).
const (
	maxConfigLine    = 64 << 10
	maxConfigFile    = 4 << 20
	maxConfigInclude = 16 // depth
)

// setting is one line of an ssh_config file that applies.
type setting struct {
	args []string
	file string
	line int
}

func (s setting) String() string { return fmt.Sprintf("%s:%d", s.file, s.line) }

// several are the keywords of which every line counts and not the first alone
// (ssh_config(5)), as far as this package reads them.
func several(key string) bool { return key == "identityfile" || key == "certificatefile" }

// reader reads ssh_config files for one host, as readconf.c does: from the top
// down, and the first value that applies wins. Each value keeps its place, so
// that messages can name it.
type reader struct {
	target    Target // as asked for, HostName not applied
	localUser string
	home      string
	log       hclog.Logger
	values    map[string][]setting // by keyword in lower case
	size      int                  // bytes read, over all files
}

// read reads the files that Options name.
func (r *reader) read(config string) error {
	switch config {
	case "none":
		return nil
	case "":
		if err := r.file(filepath.Join(r.home, ".ssh", "config"), false, true, 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := r.file("/etc/ssh/ssh_config", true, true, 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	return r.file(config, false, true, 0)
}

// file reads one file. What is in it applies only while active; system says
// that it is one of the machine's, below /etc/ssh.
func (r *reader) file(name string, system, active bool, depth int) error {
	if depth > maxConfigInclude {
		return fmt.Errorf("read %s: more than %d files include one another", name, maxConfigInclude)
	}
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("read ssh_config: %w", err)
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && !system && st.Mode().IsRegular() && st.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("read %s: others may write it (mode %04o): chmod 600 it", name, st.Mode().Perm())
	}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, maxConfigLine)
	host := active // whether the block that we are in applies
	for n := 1; lines.Scan(); n++ {
		if r.size += len(lines.Bytes()) + 1; r.size > maxConfigFile {
			return fmt.Errorf("read %s: more than %d bytes", name, maxConfigFile)
		}
		if host, err = r.line(setting{file: name, line: n}, lines.Text(), system, active, host, depth); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

// line reads one line and returns whether the lines that follow apply.
func (r *reader) line(at setting, text string, system, outer, active bool, depth int) (bool, error) {
	key, args, err := splitLine(text)
	if err != nil {
		return false, fmt.Errorf("%s: %w", at, err)
	}
	if key == "" {
		return active, nil
	}
	if len(args) == 0 {
		return false, fmt.Errorf("%s: %s has no value", at, key)
	}
	if args[0] == "" && !mayBeEmpty(key) {
		return false, fmt.Errorf("%s: %s has an empty value, which OpenSSH refuses: remove the line, or give it a value", at, key)
	}
	at.args = args
	switch key {
	case "host":
		return outer && matchList(r.target.Host, args), nil
	case "match":
		matches, err := r.match(at)
		return outer && matches, err
	case "include":
		return active, r.include(at, system, active, depth)
	}
	if active {
		r.store(key, at)
	}
	return active, nil
}

// mayBeEmpty reports whether OpenSSH takes "" for a keyword's value.
func mayBeEmpty(key string) bool {
	return slices.Contains([]string{"match", "proxyjump", "proxycommand", "localcommand", "remotecommand", "knownhostscommand"}, key)
}

// store keeps a value unless an earlier one wins. Of ProxyJump and ProxyCommand
// the first wins over the other too.
func (r *reader) store(key string, s setting) {
	taken := len(r.values[key]) > 0 && !several(key)
	switch key {
	case "proxyjump":
		taken = taken || len(r.values["proxycommand"]) > 0
	case "proxycommand":
		taken = taken || len(r.values["proxyjump"]) > 0
	}
	if !taken {
		r.values[key] = append(r.values[key], s)
	}
}

// include reads the files of an Include line. Those that do not exist are no
// error, as in OpenSSH. Files are read even where nothing in them applies, so
// that a mistake in one is found whatever the host.
func (r *reader) include(at setting, system, active bool, depth int) error {
	for _, pattern := range at.args {
		name := pattern
		switch {
		case strings.HasPrefix(name, "~/"):
			name = filepath.Join(r.home, name[2:])
		case filepath.IsAbs(name):
		case system:
			name = filepath.Join("/etc/ssh", name)
		default:
			name = filepath.Join(r.home, ".ssh", name)
		}
		files, err := filepath.Glob(name)
		if err != nil {
			return fmt.Errorf("%s: Include %s: %w", at, pattern, err)
		}
		for _, f := range files {
			if err := r.file(f, system, active, depth+1); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// match decides a Match line. Conditions are looked at in order up to the first
// that does not hold, so that one which only ssh can decide matters only for
// the hosts that it is about.
func (r *reader) match(at setting) (bool, error) {
	for args := at.args; len(args) > 0; {
		word := strings.ToLower(args[0])
		args = args[1:]
		condition, negated := strings.CutPrefix(word, "!")
		holds := true
		switch condition {
		case "all":
		case "canonical", "final":
			// These are for a second reading, which the native client never does.
			r.log.Debug("a Match block is for a second reading of ssh_config and is left out", "at", at)
			holds = false
		case "host", "originalhost", "user", "localuser":
			if len(args) == 0 {
				return false, fmt.Errorf("%s: Match %s has no value", at, condition)
			}
			holds = matchList(r.subject(condition), strings.Split(args[0], ","))
			args = args[1:]
		default:
			return false, fmt.Errorf(`%s: only ssh itself can decide Match %s: choose client = "openssh", or move the block behind the Host block of this machine`, at, condition)
		}
		if holds == negated {
			return false, nil
		}
	}
	return true, nil
}

// subject returns what a condition of Match is compared with.
func (r *reader) subject(condition string) string {
	switch condition {
	case "originalhost":
		return r.target.Host
	case "user":
		if r.target.User != "" {
			return r.target.User
		}
		return r.first("user", r.localUser)
	case "localuser":
		return r.localUser
	}
	return strings.ReplaceAll(r.first("hostname", r.target.Host), "%h", r.target.Host)
}

// first returns the first word of a value, or otherwise.
func (r *reader) first(key, otherwise string) string {
	if v := r.values[key]; len(v) > 0 {
		return v[0].args[0]
	}
	return otherwise
}

// matchList reports whether s matches one of the patterns and none that is
// negated with !. Host names are compared in lower case (match.c).
func matchList(s string, patterns []string) bool {
	found := false
	for _, p := range patterns {
		p, negated := strings.CutPrefix(p, "!")
		if !wildcard(strings.ToLower(p), strings.ToLower(s)) {
			continue
		}
		if negated {
			return false
		}
		found = true
	}
	return found
}

// wildcard matches * and ?, and nothing else (ssh_config(5), PATTERNS).
func wildcard(pattern, s string) bool {
	escape := strings.NewReplacer(`\`, `\\`, `[`, `\[`, "/", "\x00")
	ok, err := path.Match(escape.Replace(pattern), strings.ReplaceAll(s, "/", "\x00"))
	return ok && err == nil
}

// splitLine takes a line apart: the keyword in lower case, and its arguments.
// Both are "" and nil for an empty line or a comment.
func splitLine(text string) (key string, args []string, err error) {
	text = strings.Trim(text, " \t\r\f")
	if text == "" || text[0] == '#' {
		return "", nil, nil
	}
	end := strings.IndexAny(text, " \t=")
	if end < 0 {
		return strings.ToLower(text), nil, nil
	}
	key = strings.ToLower(text[:end])
	rest := strings.TrimLeft(text[end:], " \t")
	rest = strings.TrimLeft(strings.TrimPrefix(rest, "="), " \t")
	if key == "" {
		return "", nil, errors.New("a keyword is missing before =")
	}
	if key == "proxycommand" || key == "localcommand" || key == "remotecommand" {
		if rest == "" {
			return key, nil, nil
		}
		return key, []string{rest}, nil // the rest of the line, quotes and all
	}
	args, err = splitArgs(rest)
	return key, args, err
}

// splitArgs takes arguments apart at blanks, with quotes, backslashes before
// quotes and backslashes, and a comment at the end (misc.c, argv_split).
func splitArgs(s string) ([]string, error) {
	var args []string
	for s = strings.TrimLeft(s, " \t"); s != "" && s[0] != '#'; s = strings.TrimLeft(s, " \t") {
		word, rest, err := nextArg(s)
		if err != nil {
			return nil, err
		}
		args, s = append(args, word), rest
	}
	return args, nil
}

func nextArg(s string) (word, rest string, err error) {
	var b strings.Builder
	var quote byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && i+1 < len(s) && (strings.IndexByte(`"'\`, s[i+1]) >= 0 || quote == 0 && s[i+1] == ' '):
			i++
			b.WriteByte(s[i])
		case quote == 0 && (c == ' ' || c == '\t'):
			return b.String(), s[i:], nil
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case c == quote && quote != 0:
			quote = 0
		default:
			b.WriteByte(c)
		}
	}
	if quote != 0 {
		return "", "", fmt.Errorf("the quote %c is not closed", quote)
	}
	return b.String(), "", nil
}
