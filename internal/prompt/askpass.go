package prompt

import (
	"context"
	"fmt"
	"io"
	"strings"
)

// askpassVar is the variable that makes a program which was started with one
// word ask it, as OpenSSH starts the program in SSH_ASKPASS.
const askpassVar = "MUSTER_ASKPASS"

// AskpassEnv is what makes OpenSSH (8.4 and later, ssh(1), SSH_ASKPASS_REQUIRE)
// ask by way of the socket at path, with program in between.
func AskpassEnv(path, program string) []string {
	return []string{askpassVar + "=" + path, "SSH_ASKPASS=" + program, "SSH_ASKPASS_REQUIRE=force"}
}

// Askpass reports whether args and the environment are those of a program that
// OpenSSH has started to ask something, and if so asks it and prints the answer.
func Askpass(args []string, getenv func(string) string, out io.Writer) (asked bool, err error) {
	path := getenv(askpassVar)
	if path == "" || len(args) != 2 || getenv("SSH_ASKPASS_REQUIRE") == "" {
		return false, nil
	}
	text, kind := args[1], getenv("SSH_ASKPASS_PROMPT")
	if kind == "none" {
		return true, nil // it only tells that a key waits to be touched
	}
	answer, err := Dial(path)(context.Background(), Question{Text: spaced(text), Echo: kind == "confirm" || confirms(text)})
	if err != nil {
		return true, fmt.Errorf("ask %q: %w", text, err)
	}
	_, err = fmt.Fprintln(out, answer)
	return true, err
}

// confirms reports whether OpenSSH asks for yes or no: whether a host's key is
// right (sshconnect.c, confirm).
func confirms(text string) bool { return strings.Contains(text, "(yes/no") }

func spaced(text string) string {
	if strings.HasSuffix(text, " ") {
		return text
	}
	return text + " "
}
