package prompt_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"muster/internal/prompt"
)

// said is what a program at a terminal says of each question.
type said struct{ Answer, Error string }

var errEnough = errors.New("enough")

// ask is the program at the terminal: what says what it asks. It writes to its
// standard output, which is no terminal.
func ask(what string) {
	out := json.NewEncoder(os.Stdout)
	tell := func(answer string, err error) {
		s := said{Answer: answer}
		if err != nil {
			s.Error = err.Error()
		}
		out.Encode(s)
	}
	tty, _ := os.OpenFile("/dev/tty", os.O_WRONLY, 0)
	t := &prompt.Terminal{Before: func() { fmt.Fprint(tty, "[before]") }, After: func() { fmt.Fprint(tty, "[after]") }}
	ctx := context.Background()
	switch what {
	case "present":
		tell(fmt.Sprint(prompt.Present()), nil)
	case "one", "nobody":
		tell(t.Ask(ctx, prompt.Question{Text: "\x1b[31mName\x07\u009b:\n> ", Echo: true}))
	case "hidden":
		tell(t.Ask(ctx, prompt.Question{Text: "Password: "}))
		tell(t.Ask(ctx, prompt.Question{Text: "Again: ", Echo: true}))
	case "given up":
		ctx, cancel := context.WithCancelCause(ctx)
		go func() {
			b := make([]byte, 1)
			os.Stdin.Read(b)
			cancel(errEnough)
		}()
		tell(t.Ask(ctx, prompt.Question{Text: "Password: "}))
		tell(t.Ask(context.Background(), prompt.Question{Text: "Another: "}))
	case "two":
		done := make(chan struct{})
		for _, text := range []string{"First? ", "Second? "} {
			go func() {
				answer, err := t.Ask(ctx, prompt.Question{Text: text, Echo: true})
				tell(strings.TrimSpace(text)+answer, err)
				done <- struct{}{}
			}()
		}
		<-done
		<-done
	case "too late":
		over, cancel := context.WithCancelCause(ctx)
		cancel(errEnough)
		tell(t.Ask(over, prompt.Question{Text: "Never: "}))
		tell(t.Ask(ctx, prompt.Question{Text: "Name: ", Echo: true}))
	}
}
