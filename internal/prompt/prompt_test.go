package prompt_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"muster/internal/prompt"
)

// TestMain makes the test binary serve as a program at a terminal too.
func TestMain(m *testing.M) {
	if what := os.Getenv(atTerminal); what != "" {
		ask(what)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const atTerminal = "PROMPT_TEST_AT_TERMINAL"

// late is how long a test waits for what should come at once.
const late = 20 * time.Second

func socket(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "p") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// serve has ask answer at a socket until the test ends.
func serve(t testing.TB, ask prompt.Ask) (path string) {
	t.Helper()
	path = socket(t)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(prompt.Serve(l, ask))
	return path
}

// answering gives the same answer always.
func answering(answer string, err error) prompt.Ask {
	return func(context.Context, prompt.Question) (string, error) { return answer, err }
}

func TestAnswersTravelAsTheyAre(t *testing.T) {
	for _, answer := range []string{"", "secret", " blanks around ", `"quotes' \and\ slashes`, "tab\tbell\a nul\x00", "<&>\u2028\u2029", "Grüße, 世界 🔑",
		"two\nlines\r\n", strings.Repeat("x", 60_000)} {
		var asked prompt.Question
		path := serve(t, func(_ context.Context, q prompt.Question) (string, error) {
			asked = q
			return answer, nil
		})
		for _, q := range []prompt.Question{{Text: "Password: "}, {Text: answer, Echo: true}} {
			got, err := prompt.Dial(path)(t.Context(), q)
			if err != nil || got != answer {
				t.Errorf("%.40q came as %.40q, %v", answer, got, err)
			}
			if asked != q {
				t.Errorf("%.40q was asked as %.40q", q.Text, asked.Text)
			}
		}
	}
}

func TestErrorsTravel(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "gone")
	for name, c := range map[string]struct {
		path, text string
		nobody     bool
	}{
		"no terminal":            {serve(t, answering("x", prompt.ErrNobody)), "", true},
		"no command any more":    {gone, "", true},
		"another":                {serve(t, answering("not this", errors.New("the cat sat on it"))), "the cat sat on it", false},
		"an answer without end":  {serve(t, answering(strings.Repeat("x", 64<<10), nil)), "", true},
		"an answer of one above": {serve(t, answering(strings.Repeat("\x00", 20_000), nil)), "", true}, // JSON is longer
	} {
		got, err := prompt.Dial(c.path)(t.Context(), prompt.Question{Text: "?"})
		if got != "" || err == nil || errors.Is(err, prompt.ErrNobody) != c.nobody || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %.40q, %v", name, got, err)
		}
	}
}

// TestQuestionIsTakenBack when whoever asked has gone, or is not interested any
// more, and the next one is answered.
func TestQuestionIsTakenBack(t *testing.T) {
	asked, taken := make(chan string, 1), make(chan error, 1)
	path := serve(t, func(ctx context.Context, q prompt.Question) (string, error) {
		if q.Text == "easy" {
			return "yes", nil
		}
		asked <- q.Text
		<-ctx.Done()
		taken <- ctx.Err()
		return "", ctx.Err()
	})
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-asked
		cancel(enough)
	}()
	if got, err := prompt.Dial(path)(ctx, prompt.Question{Text: "hard"}); got != "" || !errors.Is(err, enough) {
		t.Errorf("%q, %v", got, err)
	}
	expect(t, taken, "the question of one who waits no more")

	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, `{"text": "hard", "echo": true}`+"\n")
	expect(t, asked, "a question by hand")
	c.Close()
	expect(t, taken, "the question of one who hung up")
	if got, err := prompt.Dial(path)(t.Context(), prompt.Question{Text: "easy"}); got != "yes" || err != nil {
		t.Errorf("the next one is answered %q, %v", got, err)
	}
}

func expect[T any](t *testing.T, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(late):
		t.Fatalf("%s: nothing came", what)
	}
	return v
}

// TestEndTakesAllBack: who serves no more leaves no question behind.
func TestEndTakesAllBack(t *testing.T) {
	path := socket(t)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	asked, over := make(chan string, 1), make(chan error, 1)
	end := prompt.Serve(l, func(ctx context.Context, q prompt.Question) (string, error) {
		asked <- q.Text
		<-ctx.Done()
		return "", ctx.Err()
	})
	silent, err := net.Dial("unix", path) // asks nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	go func() {
		_, err := prompt.Dial(path)(t.Context(), prompt.Question{Text: "?"})
		over <- err
	}()
	expect(t, asked, "the question")
	ended := make(chan struct{})
	go func() {
		end()
		close(ended)
	}()
	expect(t, ended, "the end")
	if err := expect(t, over, "an error"); err == nil {
		t.Error("it was answered")
	}
	if _, err := prompt.Dial(path)(t.Context(), prompt.Question{}); !errors.Is(err, prompt.ErrNobody) {
		t.Errorf("after the end: %v", err)
	}
}

// TestGarbageIsNotAsked, and does not keep others from being answered.
func TestGarbageIsNotAsked(t *testing.T) {
	path := serve(t, func(_ context.Context, q prompt.Question) (string, error) {
		if q.Text != "right" {
			t.Errorf("%.40q was asked", q.Text)
		}
		return "yes", nil
	})
	for name, sent := range map[string]string{"nothing": "", "no JSON": "hello\n", "half a question": `{"text": "a`, "no line end": `{"text": "a"}`,
		"a list": "[]\n", "another type": `{"text": 5}` + "\n", "an empty line": "\n", "too much": `{"text": "` + strings.Repeat("x", 70<<10) + `"}` + "\n"} {
		if said := say(t, path, sent); said != "" {
			t.Errorf("%s is answered with %q", name, said)
		}
		if got, err := prompt.Dial(path)(t.Context(), prompt.Question{Text: "right"}); got != "yes" || err != nil {
			t.Fatalf("after %s: %q, %v", name, got, err)
		}
	}
}

// say sends bytes, and an end, and returns what comes back.
func say(t testing.TB, path, text string) string {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(late))
	io.WriteString(c, text) // fails where the other side has seen enough
	c.(*net.UnixConn).CloseWrite()
	b, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%.40q is never answered", text)
	}
	return string(b)
}

// TestGarbageIsNoAnswer: a peer that is no muster has nobody to ask.
func TestGarbageIsNoAnswer(t *testing.T) {
	for _, sent := range []string{"", "hello\n", `{"answer": "half`, `{"answer": 5}` + "\n", "[]\n", strings.Repeat("x", 70<<10)} {
		path := socket(t)
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			c.Read(make([]byte, 1000))
			io.WriteString(c, sent)
		}()
		if got, err := prompt.Dial(path)(t.Context(), prompt.Question{Text: "?"}); got != "" || !errors.Is(err, prompt.ErrNobody) {
			t.Errorf("%.20q is taken as %q, %v", sent, got, err)
		}
		l.Close()
		<-done
	}
}

// FuzzServe: whatever comes, what is asked is what JSON says, and there is an
// answer to that alone.
func FuzzServe(f *testing.F) {
	for _, s := range []string{"", "\n", `{"text":"a","echo":true}` + "\n", `{"text":"a"}` + "\n" + `{"text":"b"}` + "\n", "null\n", "{}\n", "\x00\xff\n"} {
		f.Add([]byte(s))
	}
	asked := make(chan prompt.Question, 1)
	path := serve(f, func(_ context.Context, q prompt.Question) (string, error) {
		asked <- q
		return "yes", nil
	})
	f.Fuzz(func(t *testing.T, sent []byte) {
		answered := say(t, path, string(sent)) != ""
		line, _, whole := bytes.Cut(sent, []byte("\n"))
		var want prompt.Question
		valid := whole && json.Unmarshal(line, &want) == nil
		select {
		case q := <-asked:
			if !valid || q != want {
				t.Errorf("%q is asked as %q", sent, q.Text)
			}
		default:
			if valid || answered {
				t.Errorf("%q is not asked, and answered: %v", sent, answered)
			}
		}
	})
}

func TestAskpass(t *testing.T) {
	type asked = prompt.Question
	var got []asked
	answer := answering("an answer", nil)
	path := serve(t, func(ctx context.Context, q prompt.Question) (string, error) {
		got = append(got, q)
		return answer(ctx, q)
	})
	env := prompt.AskpassEnv(path, "/bin/muster")
	if !slices.Contains(env, "SSH_ASKPASS=/bin/muster") || !slices.Contains(env, "SSH_ASKPASS_REQUIRE=force") {
		t.Errorf("OpenSSH would not ask by way of muster: %q", env)
	}
	getenv := func(more ...string) func(string) string {
		return func(name string) string {
			for _, kv := range append(more, env...) {
				if value, ok := strings.CutPrefix(kv, name+"="); ok {
					return value
				}
			}
			return ""
		}
	}
	for name, c := range map[string]struct {
		args   []string
		getenv func(string) string
		asked  bool
		want   []asked
		out    string
	}{
		"a password":           {[]string{"muster", "me@host's password: "}, getenv(), true, []asked{{Text: "me@host's password: "}}, "an answer\n"},
		"no blank at the end":  {[]string{"muster", "PIN:"}, getenv(), true, []asked{{Text: "PIN: "}}, "an answer\n"},
		"a host key":           {[]string{"muster", "The key is x.\nAre you sure (yes/no/[fingerprint])? "}, getenv(), true, []asked{{Text: "The key is x.\nAre you sure (yes/no/[fingerprint])? ", Echo: true}}, "an answer\n"},
		"yes or no":            {[]string{"muster", "Please type 'yes' or 'no' (yes/no): "}, getenv(), true, []asked{{Text: "Please type 'yes' or 'no' (yes/no): ", Echo: true}}, "an answer\n"},
		"a confirmation":       {[]string{"muster", "Allow use of key?"}, getenv("SSH_ASKPASS_PROMPT=confirm"), true, []asked{{Text: "Allow use of key? ", Echo: true}}, "an answer\n"},
		"a key to be touched":  {[]string{"muster", "Confirm user presence"}, getenv("SSH_ASKPASS_PROMPT=none"), true, nil, ""},
		"muster's own command": {[]string{"muster", "run", "x"}, getenv(), false, nil, ""},
		"no word":              {[]string{"muster"}, getenv(), false, nil, ""},
		"no socket":            {[]string{"muster", "version"}, func(string) string { return "" }, false, nil, ""},
	} {
		got = nil
		var out strings.Builder
		asked, err := prompt.Askpass(c.args, c.getenv, &out)
		if asked != c.asked || err != nil || !slices.Equal(got, c.want) || out.String() != c.out {
			t.Errorf("%s: %v, %v, asked %+v, printed %q", name, asked, err, got, out.String())
		}
	}
	answer = answering("", errors.New("no"))
	var out strings.Builder
	if asked, err := prompt.Askpass([]string{"muster", "PIN:"}, getenv(), &out); !asked || err == nil || !strings.Contains(err.Error(), `ask "PIN:": no`) || out.Len() > 0 {
		t.Errorf("%v, %v, printed %q", asked, err, out.String())
	}
}
