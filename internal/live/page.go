package live

import (
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/term"
)

// Page fills a terminal with a text, from its first row on. It is drawn again when the
// terminal has become another size, and not while this process is in the background.
type Page struct {
	out     *os.File
	signals chan os.Signal
	over    chan struct{}

	mu   sync.Mutex // guards text, and is held while it is written
	text string
}

// NewPage returns a page on a terminal. Close ends it.
func NewPage(out *os.File) *Page {
	p := &Page{out: out, signals: make(chan os.Signal, 4), over: make(chan struct{})}
	signal.Notify(p.signals, syscall.SIGWINCH, syscall.SIGCONT)
	go p.keep()
	return p
}

func (p *Page) keep() {
	for {
		select {
		case <-p.over:
			return
		case <-p.signals:
			p.mu.Lock()
			p.draw(erasePage)
			p.mu.Unlock()
		}
	}
}

// Close leaves the terminal to others, below the text.
func (p *Page) Close() {
	signal.Stop(p.signals)
	close(p.over)
}

// Show shows a text in the place of the one before.
func (p *Page) Show(text string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	from := home
	if p.text == "" {
		from = erasePage
	}
	p.text = text
	return p.draw(from)
}

// How a page begins (ECMA-48, CUP and ED): over the one before, or on an empty screen.
const (
	home      = "\x1b[H"
	erasePage = "\x1b[H\x1b[2J"
)

// draw writes the text. It needs mu.
func (p *Page) draw(from string) error {
	if p.text == "" || !Front(p.out) {
		return nil
	}
	columns, rows, err := term.GetSize(int(p.out.Fd()))
	if err != nil || columns <= 0 || rows <= 0 {
		columns, rows = elseColumns, elseRows
	}
	_, err = p.out.WriteString(from + page(p.text, columns, rows))
	return err
}

// elseRows is how high a terminal is taken to be that does not say it.
const elseRows = 24

// page returns what shows as much of a text as fits, and how much that leaves out.
func page(text string, columns, rows int) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if most := max(rows-1, 1); len(lines) > most {
		left := len(lines) - most + 1
		lines = append(lines[:most-1:most-1], fmt.Sprintf("and %d more lines, for which there is no room", left))
	}
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(Fit(l, columns-1) + "\x1b[K\r\n")
	}
	return b.String() + "\x1b[J"
}
