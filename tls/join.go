package tls

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Join is all that a worker needs to find, recognise and convince a dispatcher.
type Join struct {
	Addrs  []string // tcp:HOST:PORT or unix:PATH, all tried side by side
	Pin    Pin
	Launch string
	Token  Token
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
}

// Encode returns the join string: one line, a secret.
func (j Join) Encode() string {
	b, err := json.Marshal(joinText{j.Addrs, j.Pin.String(), j.Launch, j.Token.Encode()})
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
	j.Addrs, j.Launch = t.Addrs, t.Launch
	return j, nil
}

// WriteJoinFile writes a join string to path, mode 0600, in one step. Whatever
// path was before, a link too, is replaced and not followed.
func WriteJoinFile(path string, j Join) error {
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

// ReadJoinFile reads a join file, which must be its owner's alone.
func ReadJoinFile(path string) (Join, error) {
	f, err := os.Open(path)
	if err != nil {
		return Join{}, fmt.Errorf("read the join file: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return Join{}, fmt.Errorf("read the join file: %w", err)
	}
	if st.Mode().IsRegular() && st.Mode().Perm()&0o077 != 0 {
		return Join{}, fmt.Errorf("read the join file: others can read %s (mode %04o), and it is a secret: chmod 600 it", path, st.Mode().Perm())
	}
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
