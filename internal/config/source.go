package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"muster/internal/owner"
)

// Source is a config that may be read.
type Source struct {
	Path  string // empty if there is none
	Named bool   // by the user, who knows whose it is
}

// Find returns the config to read: the one named, else ./muster.hcl, else
// muster.hcl in $XDG_CONFIG_HOME/muster or ~/.config/muster, else a Source
// without a path.
func Find(named string, getenv func(string) string) (Source, error) {
	if named != "" {
		return Source{named, true}, nil
	}
	base := getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(base) {
		base = filepath.Join(getenv("HOME"), ".config")
	}
	const here = "muster.hcl"
	if _, err := os.Stat(here); err == nil {
		return Source{Path: here}, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return Source{}, fmt.Errorf("look for a config: %w", err)
	}
	own := filepath.Join(base, "muster", here)
	_, err := os.Stat(own)
	switch {
	case err == nil && filepath.IsAbs(own):
		return Source{Path: own}, nil
	case err == nil, errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ENOTDIR):
		return Source{}, nil // HOME may be another's, under su
	}
	return Source{}, fmt.Errorf("look for a config: %w", err)
}

// maxConfig bounds a config, and maxFile a file that one names, in bytes.
const (
	maxConfig = 1 << 20
	maxFile   = 4 << 20
)

// pipeWait is how long the writer of a pipe that is named as a config may take.
const pipeWait = time.Minute

// Load reads the config. Mistakes in it are an *Error.
//
// One that was not named is used only if nobody else can have written it, see
// judge: its expressions run programs.
func (s Source) Load(schema Schema) (*File, error) {
	src, dir, err := s.read()
	if err != nil {
		return nil, fmt.Errorf("read the config: %w", err)
	}
	f, err := Parse(s.Path, src, schema)
	if err != nil {
		return nil, err
	}
	f.dir = dir
	if st, err := os.Stat(s.Path); err == nil && st.Mode().IsRegular() && !descriptor(s.Path) {
		f.Full, _ = filepath.Abs(s.Path) // without it the config is not found again, which is said then
	}
	return f, nil
}

// Load reads the config that the user named. Mistakes in it are an *Error.
func Load(path string, schema Schema) (*File, error) {
	return Source{Path: path, Named: true}.Load(schema)
}

// read returns the text of the config, and the folder from which paths in it count.
func (s Source) read() (src []byte, dir string, err error) {
	if s.Named && s.Path == os.DevNull {
		return nil, ".", nil // a usual way to say: none
	}
	f, st, err := open(s.Path)
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	switch {
	case s.Named && st.Mode()&fs.ModeNamedPipe != 0: // -c <(COMMAND)
		src, err = readPipe(f)
		return src, ".", err
	case !st.Mode().IsRegular():
		return nil, "", notRegular(s.Path, st)
	case !s.Named:
		if err := judge(s.Path, f); err != nil {
			return nil, "", err
		}
	}
	src, err = readBounded(f, maxConfig)
	if dir = filepath.Dir(s.Path); descriptor(s.Path) {
		dir = "."
	}
	return src, dir, err
}

// judge says what is wrong with a config that was found and not named: others than the
// user and root can have written it. A link to it that is another's is theirs, since
// paths in the config count from the folder of the link.
func judge(path string, f *os.File) error {
	who, err := owner.Writers(f)
	if err != nil {
		return err
	}
	if link := owner.OfLink(path); link != "" {
		who = link + ", to whom the link belongs"
	}
	if who == "" {
		return nil
	}
	return fmt.Errorf("%s was found here and not named, and its expressions would run programs as you for %s: if you trust it, name it (-c %s); without a config: -c %s", path, who, path, os.DevNull)
}

// descriptor reports whether a path stands for a file that the command was given open,
// as -c /dev/stdin <FILE and a shell's here-document do.
func descriptor(path string) bool {
	if path == "/dev/stdin" || strings.HasPrefix(path, "/dev/fd/") {
		return true
	}
	fds, err := filepath.Match("/proc/*/fd/*", path)
	return err == nil && fds
}

// open opens a file for reading without waiting for anybody, and says what it is.
func open(path string) (*os.File, os.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, st, nil
}

// readText reads a file that a config names.
func readText(path string) (string, error) {
	f, st, err := open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if !st.Mode().IsRegular() {
		return "", notRegular(path, st)
	}
	b, err := readBounded(f, maxFile)
	return string(b), err
}

func readBounded(f *os.File, most int) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	if err == nil && len(b) > most {
		err = fmt.Errorf("%s has more than %d bytes", f.Name(), most)
	}
	return b, err
}

// readPipe reads what somebody writes into a pipe.
func readPipe(f *os.File) ([]byte, error) {
	if err := f.SetReadDeadline(time.Now().Add(pipeWait)); err != nil {
		return nil, err
	}
	b, err := readBounded(f, maxConfig)
	if err == nil && len(b) == 0 {
		err = fmt.Errorf("%s is a pipe into which nobody has written", f.Name())
	}
	return b, err
}

func notRegular(path string, st os.FileInfo) error {
	what := "a device"
	switch {
	case st.IsDir():
		what = "a folder"
	case st.Mode()&fs.ModeNamedPipe != 0:
		what = "a pipe"
	case st.Mode()&fs.ModeSocket != 0:
		what = "a socket"
	}
	return fmt.Errorf("%s is %s, and no file", path, what)
}
