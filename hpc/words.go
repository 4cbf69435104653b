package hpc

import (
	"errors"
	"strings"
)

// word is one word of a line of options.
type word struct {
	text       string // without quotes
	at         []int  // where each byte of text stands in the line
	start, end int    // of the word in the line, quotes and all
	quoted     bool   // it does not stand there as text has it
}

// comment says where a # ends a line of options.
type comment uint8

const (
	noComment     comment = iota
	commentAtWord         // where a word would begin
	commentBare           // anywhere outside of quotes
	commentAlways         // anywhere
)

// quoting is how a scheduler splits a line of options into words.
type quoting struct {
	backslash bool    // takes the next byte as it is, in quotes too
	strict    bool    // a quote that is not closed is an error
	comment   comment // where a # begins a comment
}

var errOpenQuote = errors.New("a quote is not closed")

// words splits a line at blanks outside of quotes.
func (q quoting) words(line string) ([]word, error) {
	var list []word
	for i := 0; ; {
		for i < len(line) && blank(line[i]) {
			i++
		}
		if i == len(line) || line[i] == '#' && q.comment != noComment {
			return list, nil
		}
		w, closed := q.word(line, i)
		if !closed && q.strict {
			return nil, errOpenQuote
		}
		w.quoted = line[w.start:w.end] != w.text
		list = append(list, w)
		i = w.end
	}
}

func blank(b byte) bool { return b == ' ' || b >= '\t' && b <= '\r' }

// word reads the word that begins at i. It is not closed if the line ends in its
// quotes.
func (q quoting) word(line string, i int) (w word, closed bool) {
	w.start = i
	var quote byte
	var text []byte
	for ; i < len(line); i++ {
		b := line[i]
		escaped := q.backslash && b == '\\' && i+1 < len(line)
		if escaped {
			i++
			b = line[i]
		}
		switch {
		case escaped:
		case b == '#' && q.comment == commentAlways, quote == 0 && (blank(b) || b == '#' && q.comment == commentBare):
			w.text, w.end = string(text), i
			return w, quote == 0
		case b == quote:
			quote = 0
			continue
		case quote == 0 && (b == '"' || b == '\''):
			quote = b
			continue
		}
		text, w.at = append(text, b), append(w.at, i)
	}
	w.text, w.end = string(text), i
	return w, quote == 0
}

// cut returns line without what stands from start to end, and without the blanks
// after it unless they part the words on either side.
func cut(line string, start, end int) string {
	rest := strings.TrimLeft(line[end:], " \t")
	switch {
	case rest == "":
		return strings.TrimRight(line[:start], " \t")
	case start > 0 && !blank(line[start-1]):
		return line[:start] + " " + rest
	}
	return line[:start] + rest
}
