package dispatcher_test

import (
	"fmt"
	"strings"
	"sync"
	"testing/synctest"
)

// said is what the dispatcher has told its user.
type said struct {
	mu    sync.Mutex
	lines []string
}

func (s *said) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
}

func (s *said) all() []string {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lines
}

// text is all that was said, a line each.
func (s *said) text() string { return strings.Join(s.all(), "\n") }
