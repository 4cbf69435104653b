package relay

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"muster/internal/owner"
)

// absolute cleans a path and refuses one that depends on where the relay runs.
func absolute(op string, path octets) (string, error) {
	if !filepath.IsAbs(string(path)) {
		return "", fmt.Errorf("%s %q: the path is not absolute", op, string(path))
	}
	return filepath.Clean(string(path)), nil
}

func (s *server) write(a *asked) error {
	var args writeArgs
	if err := a.args(&args); err != nil {
		return err
	}
	path, err := absolute("write", args.Path)
	if err != nil {
		return err
	}
	if err := replaceFile(path, args.Mode.Perm(), &a.left); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return a.reply(struct{}{}, nil)
}

// replaceFile puts what r holds at path in one step, if nobody else can write in the
// folders there. It reads r to its end only if all goes well.
func replaceFile(path string, mode fs.FileMode, r *io.LimitedReader) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	who, open, err := owner.Way(dir)
	if err == nil && who != "" {
		err = fmt.Errorf("%s is open to %s; chmod go-w that if it is yours, or choose another folder", open, who)
	}
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".muster-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // not there if all went well
	_, err = io.Copy(tmp, r)
	if err == nil && r.N > 0 {
		err = io.ErrUnexpectedEOF
	}
	err = errors.Join(err, tmp.Chmod(mode), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	return err
}

func (s *server) remove(a *asked) error {
	var paths []octets
	if err := a.args(&paths); err != nil {
		return err
	}
	var errs []error
	for _, p := range paths {
		path, err := absolute("remove", p)
		if err == nil && holdsHome(path, home()) {
			err = fmt.Errorf("remove %s: it is, or holds, the home or the root directory", path)
		}
		if err == nil {
			err = os.RemoveAll(path)
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return a.reply(struct{}{}, nil)
}

// holdsHome reports whether path is home or a directory above it, by whatever
// name. A link to one is no more than a link.
func holdsHome(path, home string) bool {
	if path == "/" {
		return true
	}
	st, err := os.Lstat(path)
	if err != nil || !st.IsDir() || home == "" {
		return path == home
	}
	if real, err := filepath.EvalSymlinks(home); err == nil {
		home = real
	}
	for dir := home; ; dir = filepath.Dir(dir) {
		if at, err := os.Stat(dir); path == dir || err == nil && os.SameFile(st, at) {
			return true
		}
		if dir == "/" || dir == "." {
			return false
		}
	}
}

func (s *server) tail(a *asked) error {
	var args tailArgs
	if err := a.args(&args); err != nil {
		return err
	}
	path, err := absolute("read", args.Path)
	if err != nil {
		return err
	}
	b, err := readTail(path, min(max(args.N, 0), maxTail))
	if err != nil {
		return fmt.Errorf("read the end of %s: %w", path, err)
	}
	return a.reply(struct{}{}, b)
}

func readTail(path string, n int) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO would be waited for
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, errors.New("it is no file")
	}
	if _, err := f.Seek(max(0, st.Size()-int64(n)), io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, int64(n)))
}

func (s *server) stat(a *asked) error {
	var name octets
	if err := a.args(&name); err != nil {
		return err
	}
	path, err := absolute("look at", name)
	if err != nil {
		return err
	}
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return a.reply(statResult{}, nil)
	}
	if err != nil {
		return err
	}
	return a.reply(statResult{Exists: true, IsDir: st.IsDir()}, nil)
}
