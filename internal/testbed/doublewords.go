package testbed

import (
	"fmt"
	"regexp"
	"strings"
)

// option is one of a command line, with its value if it takes one.
type option struct{ name, value string }

// getopt takes a command line apart by the letters of getopt(3): one with a colon
// takes a value. What is no option ends them.
func getopt(letters string, words []string) (list []option, rest []string, err error) {
	for len(words) > 0 {
		w := words[0]
		if len(w) < 2 || w[0] != '-' {
			break
		}
		words = words[1:]
		if w == "--" {
			break
		}
		for cluster := w[1:]; cluster != ""; {
			name := cluster[:1]
			cluster = cluster[1:]
			at := strings.Index(letters, name)
			if name == ":" || at < 0 {
				return nil, nil, fmt.Errorf("invalid option -- '%s'", name)
			}
			o := option{name: name}
			if strings.HasPrefix(letters[at+1:], ":") {
				if o.value = cluster; o.value == "" {
					if len(words) == 0 {
						return nil, nil, fmt.Errorf("option requires an argument -- '%s'", name)
					}
					o.value, words = words[0], words[1:]
				}
				cluster = ""
			}
			list = append(list, o)
		}
	}
	return list, words, nil
}

// has reports whether an option was given, and its last value.
func has(list []option, name string) (value string, ok bool) {
	for _, o := range list {
		if o.name == name {
			value, ok = o.value, true
		}
	}
	return value, ok
}

// directives returns the lines that are the scheduler's, without their prefix:
// they end at the first line that is neither blank nor a comment.
func directives(script, prefix string) []string {
	var list []string
	for line := range strings.Lines(script) {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, prefix); ok {
			list = append(list, rest)
		} else if line != "" && line[0] != '#' && line[0] != ':' {
			break
		}
	}
	return list
}

var word = regexp.MustCompile(`(?:"[^"]*"|'[^']*'|[^\s"'])+`)

// words splits a line at blanks outside of quotes, and takes the quotes away.
func words(line string) []string {
	var list []string
	for _, w := range word.FindAllString(line, -1) {
		var b strings.Builder
		var quote rune
		for _, r := range w {
			switch {
			case quote == 0 && (r == '"' || r == '\''):
				quote = r
			case r == quote:
				quote = 0
			default:
				b.WriteRune(r)
			}
		}
		list = append(list, b.String())
	}
	return list
}
