package tls

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"

	"muster/internal/owner"
)

// Join is all that a worker needs to find, recognise and convince a dispatcher.
type Join struct {
	Addrs  []string // tcp:HOST:PORT or unix:PATH, all tried side by side
	Pin    Pin
	Launch string
	Token  Token
	// Authority is of a profile that has a certificate of a CA; nil of others.
	Authority *Authority
}

const (
	joinPrefix = "muster1:"
	maxJoin    = 16 << 10
	maxAddrs   = 64
)

// joinText is the JSON inside a join string; its names never change.
type joinText struct {
	Addrs  []string `json:"a"`
	Pin    string   `json:"p"`
	Launch string   `json:"l"`
	Token  string   `json:"t"`

	Authority *Authority `json:"c,omitempty"`
}

// Encode returns the join string: one line, a secret.
func (j Join) Encode() string {
	b, err := json.Marshal(joinText{j.Addrs, j.Pin.String(), j.Launch, j.Token.Encode(), j.Authority})
	if err != nil {
		panic(err) // strings always marshal
	}
	return joinPrefix + base64.RawURLEncoding.EncodeToString(b)
}

// ParseJoin reads a join string. Errors do not repeat any of it.
func ParseJoin(s string) (Join, error) {
	var j Join
	text, ok := strings.CutPrefix(s, joinPrefix)
	if !ok || len(s) > maxJoin {
		return j, errors.New("this is no join string, which starts with " + joinPrefix + " and is one line")
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return j, errors.New("the join string is damaged: it is not base64url; was it cut in two?")
	}
	var t joinText
	if err := json.Unmarshal(b, &t); err != nil {
		return j, errors.New("the join string is damaged: what it holds is not whole")
	}
	if j.Pin, err = ParsePin(t.Pin); err != nil {
		return Join{}, fmt.Errorf("the join string is damaged: %w", err)
	}
	if j.Token, err = ParseToken(t.Token); err != nil {
		return Join{}, fmt.Errorf("the join string is damaged: %w", err)
	}
	if len(t.Addrs) == 0 || len(t.Addrs) > maxAddrs {
		return Join{}, fmt.Errorf("the join string names %d addresses; 1 to %d are possible", len(t.Addrs), maxAddrs)
	}
	if t.Authority != nil && t.Authority.Name == "" {
		return Join{}, errors.New("the join string is damaged: it has a certificate to look for and no name")
	}
	j.Addrs, j.Launch, j.Authority = t.Addrs, t.Launch, t.Authority
	return j, nil
}

// SameDispatcher reports whether two join strings are of one dispatcher: of one key, or
// of one name by the same authority.
func (j Join) SameDispatcher(as Join) bool {
	return j.Pin == as.Pin || j.Authority != nil && reflect.DeepEqual(j.Authority, as.Authority)
}

// WriteJoinFile writes a join string to path, mode 0600, in one step. Whatever
// path was before, a link too, is replaced and not followed. The folder is not open to
// others, who could put another join string in the place of this one.
func WriteJoinFile(path string, j Join) error {
	if err := judgeFolder(path); err != nil {
		return fmt.Errorf("write the join file: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".join-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write the join file: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = io.WriteString(tmp, j.Encode()+"\n")
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write the join file: %w", err)
	}
	return nil
}

// ReadJoinFile reads a join file. Whoever could have written it would have the worker
// run their tasks, and whoever can read it has a secret. So it is a regular file of the
// user's or root's, which nobody else can read, write, or replace in its folder, and no
// link. What is judged is the opened file.
func ReadJoinFile(path string) (Join, error) {
	f, err := openPrivate(path)
	if err != nil {
		return Join{}, fmt.Errorf("read the join file: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxJoin+1))
	if err != nil {
		return Join{}, fmt.Errorf("read the join file: %w", err)
	}
	j, err := ParseJoin(strings.TrimSpace(string(b)))
	if err != nil {
		return Join{}, fmt.Errorf("%s: %w", path, err)
	}
	return j, nil
}

// openPrivate opens a file that is the user's alone, without waiting for anybody.
func openPrivate(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW|syscall.O_NOCTTY, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("%s is a link, which may be made to lead elsewhere: name the file itself, or give the text on standard input (-)", path)
	}
	if err != nil {
		return nil, err
	}
	if err := whose(f, path); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// whose says who else has to do with an opened file.
func whose(f *os.File, path string) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file, so anybody may have put it there: give the text on standard input (-) if it comes from a program", path)
	}
	who, err := owner.Readers(f)
	if err != nil {
		return err
	}
	if who != "" {
		return fmt.Errorf("%s is a secret, and not yours alone but there for %s: chown it to yourself and chmod 600 it", path, who)
	}
	return judgeFolder(path)
}

// judgeFolder says who else can put a file in the place of one.
func judgeFolder(path string) error {
	dir := filepath.Dir(path)
	who, err := owner.Replacers(dir)
	if err != nil {
		return err
	}
	if who != "" {
		return fmt.Errorf("%s may be put there by others than you: the folder %s is open to %s; chmod go-w it, or put the file elsewhere", path, dir, who)
	}
	return nil
}
