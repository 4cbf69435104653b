package main

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// screen is what a person sees of a terminal. It knows the few sequences that muster
// uses (ECMA-48: CUU, CUP, ED, EL; DEC: IND, DECSC, DECRC), and takes note of others.
type screen struct {
	columns, rows int
	lines         []line // of the screen, rows many
	gone          []line // that were scrolled off
	x, y          int
	full          bool // the cursor is behind the last column
	savedX        int
	savedY        int
	rest          []byte   // the beginning of a character or a sequence
	sequences     int      // that came
	strange       []string // those that it does not know
}

// line is one row. A wide character has an empty cell behind it.
type line struct {
	cells []string
	goes  bool // on in the next row, since there was no room
}

func (l line) String() string { return strings.Join(l.cells, "") }

func newScreen(columns, rows int) *screen {
	return &screen{columns: columns, rows: rows, lines: make([]line, rows)}
}

// visible returns the rows to the last that has something.
func (s *screen) visible() []string { return texts(s.lines) }

// all returns visible and what was scrolled off, what was folded in one piece.
func (s *screen) all() []string {
	var list []string
	goes := false
	for _, l := range append(append([]line(nil), s.gone...), s.lines...) {
		if goes {
			list[len(list)-1] += l.String()
		} else {
			list = append(list, l.String())
		}
		goes = l.goes
	}
	return trimmed(list)
}

// texts returns what lines say.
func texts(lines []line) []string {
	var list []string
	for _, l := range lines {
		list = append(list, l.String())
	}
	return trimmed(list)
}

// trimmed returns a list without the spaces at the ends of lines, and the empty lines
// at its end.
func trimmed(list []string) []string {
	for i := range list {
		list[i] = strings.TrimRight(list[i], " ")
	}
	for len(list) > 0 && list[len(list)-1] == "" {
		list = list[:len(list)-1]
	}
	return list
}

func (s *screen) Write(p []byte) (int, error) {
	b := append(s.rest, p...)
	for len(b) > 0 {
		n := s.step(b)
		if n == 0 {
			break
		}
		b = b[n:]
	}
	s.rest = append([]byte(nil), b...)
	return len(p), nil
}

// step does what b begins with, and returns how long that is; 0 if it is not whole.
func (s *screen) step(b []byte) int {
	switch b[0] {
	case '\r':
		s.x, s.full = 0, false
		return 1
	case '\n':
		s.down()
		return 1
	case '\t':
		s.x = min((s.x/8+1)*8, s.columns-1)
		return 1
	case 0x1b:
		return s.escape(b)
	}
	if b[0] < ' ' {
		s.strange = append(s.strange, fmt.Sprintf("%q", b[0]))
		return 1
	}
	if !utf8.FullRune(b) {
		return 0
	}
	_, n := utf8.DecodeRune(b)
	s.put(string(b[:n]))
	return n
}

func (s *screen) escape(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	s.sequences++
	switch b[1] {
	case 'D':
		s.down()
	case '7':
		s.savedX, s.savedY = s.x, s.y
	case '8':
		s.x, s.y, s.full = s.savedX, s.savedY, false
	case '[':
		return s.control(b)
	default:
		s.strange = append(s.strange, fmt.Sprintf("%q", b[:2]))
	}
	return 2
}

func (s *screen) control(b []byte) int {
	end := 2
	for end < len(b) && (b[end] < '@' || b[end] > '~') {
		end++
	}
	if end == len(b) {
		return 0
	}
	n, _ := strconv.Atoi(string(b[2:end]))
	s.full = false
	switch what := string(b[2 : end+1]); {
	case b[end] == 'A':
		s.y = max(0, s.y-max(n, 1))
	case what == "H":
		s.x, s.y = 0, 0
	case what == "J":
		s.eraseRight()
		for i := s.y + 1; i < s.rows; i++ {
			s.lines[i] = line{}
		}
	case what == "2J":
		clear(s.lines)
	case what == "K":
		s.eraseRight()
	default:
		s.strange = append(s.strange, fmt.Sprintf("%q", b[:end+1]))
	}
	return end + 1
}

func (s *screen) eraseRight() {
	l := &s.lines[s.y]
	l.cells, l.goes = l.cells[:min(s.x, len(l.cells))], false
}

func (s *screen) down() {
	if s.full = false; s.y < s.rows-1 {
		s.y++
		return
	}
	s.gone = append(s.gone, s.lines[0])
	s.lines = append(s.lines[1:], line{})
}

func (s *screen) put(r string) {
	width := uniseg.StringWidth(r)
	if s.full || s.x+width > s.columns {
		s.lines[s.y].goes = true
		s.x = 0
		s.down()
	}
	l := &s.lines[s.y]
	for len(l.cells) < s.x+width {
		l.cells = append(l.cells, " ")
	}
	l.cells[s.x] = r
	for i := 1; i < width; i++ {
		l.cells[s.x+i] = ""
	}
	s.x += width
	if s.full = s.x >= s.columns; s.full {
		s.x = s.columns - 1
	}
}

// narrow makes the screen narrower, and folds the lines that do not fit any more, as
// most terminals do. The cursor stays at the character where it is.
func (s *screen) narrow(columns int) {
	var lines []line
	at := 0
	for y, l := range s.lines[:max(s.y+1, len(s.visible()))] {
		if y == s.y {
			at = len(lines) + s.x/columns
		}
		for len(l.cells) > columns {
			lines = append(lines, line{l.cells[:columns:columns], true})
			l.cells = l.cells[columns:]
		}
		lines = append(lines, l)
	}
	over := max(0, len(lines)-s.rows)
	s.gone = append(s.gone, lines[:over]...)
	s.lines = make([]line, s.rows)
	copy(s.lines, lines[over:])
	s.x, s.y, s.columns, s.full = s.x%columns, at-over, columns, false
}
