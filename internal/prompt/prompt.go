// Package prompt asks a person, at the terminal of the command that was typed,
// what a login needs: passphrases, passwords, codes, whether a key is right. A
// dispatcher in the background, and the ssh that muster drives, ask by way of a
// socket which that command serves as long as it lives.
package prompt

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"muster/internal/terminal"
)

// Question is what a person is asked. The answer is shown as it is typed if
// Echo is set.
type Question struct {
	Text string `json:"text"`
	Echo bool   `json:"echo"`
}

// Ask asks a question and returns the line that was typed.
type Ask func(ctx context.Context, q Question) (string, error)

// ErrNobody says that there is no terminal at which anybody could be asked.
var ErrNobody = errors.New("nobody can be asked: there is no terminal")

// Terminal asks at this process's terminal, one question at a time.
type Terminal struct {
	// Before is called before a question is shown, to remove a line of progress, and
	// After when it was answered or given up.
	Before, After func()

	mu   sync.Mutex // held while a question is open
	left bool       // a question was given up on: what reads its answer still reads
}

// Present reports whether the process has a terminal.
func Present() bool {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	tty.Close()
	return true
}

// Ask shows the question and waits for a line or the end of ctx, after which it
// asks nothing more.
func (t *Terminal) Ask(ctx context.Context, q Question) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if ctx.Err() != nil {
		return "", context.Cause(ctx) // while another question was open
	}
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil || t.left {
		return "", ErrNobody
	}
	state, err := term.GetState(int(tty.Fd()))
	if err != nil {
		tty.Close()
		return "", ErrNobody
	}
	if t.Before != nil {
		t.Before()
	}
	if t.After != nil {
		defer t.After()
	}
	fmt.Fprint(tty, terminal.Block(q.Text))
	type answer struct {
		text string
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		text, err := readLine(tty, q.Echo)
		answered <- answer{text, err}
	}()
	select {
	case a := <-answered:
		if !q.Echo || a.err == io.EOF {
			fmt.Fprintln(tty)
		}
		tty.Close()
		return a.text, a.err
	case <-ctx.Done():
		t.left = true
		term.Restore(int(tty.Fd()), state)
		fmt.Fprintln(tty)
		return "", context.Cause(ctx)
	}
}

func readLine(tty *os.File, echo bool) (string, error) {
	if !echo {
		b, err := term.ReadPassword(int(tty.Fd()))
		return string(b), err
	}
	line, err := bufio.NewReader(tty).ReadString('\n')
	if err == io.EOF && line != "" {
		err = nil
	}
	return strings.TrimRight(line, "\r\n"), err
}

// maxMessage bounds a question or an answer on the socket, in bytes.
const maxMessage = 64 << 10

// reply is what the socket answers a question with.
type reply struct {
	Answer string `json:"answer,omitempty"`
	Error  string `json:"error,omitempty"`
}

// Serve has ask answer those who dial l, which must be this user's alone, and
// returns what ends that.
func Serve(l net.Listener, ask Ask) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var open sync.WaitGroup
	open.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() { answer(ctx, c, ask) })
		}
	})
	return func() {
		cancel()
		l.Close()
		open.Wait()
	}
}

// answer answers one question. A caller that hangs up takes it back.
func answer(ctx context.Context, c net.Conn, ask Ask) {
	defer c.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Now()) })
	defer stop()
	var q Question
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if err := read(c, &q); err != nil {
		return
	}
	c.SetDeadline(time.Time{})
	go func() {
		c.Read(make([]byte, 1)) // nothing comes but the end
		cancel()
	}()
	var r reply
	text, err := ask(ctx, q)
	if r.Answer = text; err != nil {
		r = reply{Error: err.Error()}
	}
	c.SetDeadline(time.Now().Add(10 * time.Second))
	write(c, r)
}

// Dial returns an Ask that asks by way of the socket at path.
func Dial(path string) Ask {
	return func(ctx context.Context, q Question) (string, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
		if err != nil {
			return "", ErrNobody // the command that was typed has ended
		}
		defer c.Close()
		stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Now()) })
		defer stop()
		var r reply
		if err = write(c, q); err == nil {
			err = read(c, &r)
		}
		switch {
		case ctx.Err() != nil:
			return "", context.Cause(ctx)
		case err != nil, r.Error == ErrNobody.Error():
			return "", ErrNobody
		case r.Error != "":
			return "", errors.New(r.Error)
		}
		return r.Answer, nil
	}
}

func write(c net.Conn, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(b) >= maxMessage {
		return fmt.Errorf("a question of %d bytes; fewer than %d are possible", len(b), maxMessage)
	}
	_, err = c.Write(append(b, '\n'))
	return err
}

func read(c net.Conn, v any) error {
	line, err := bufio.NewReader(io.LimitReader(c, maxMessage)).ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, v)
}
