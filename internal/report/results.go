package report

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"

	"muster/internal/owner"
	"muster/internal/spool"
)

// resultsDir is the directory that gets one directory for each result. Of two
// results with the same row the later one stays: see ResultPath. It is locked, so that
// no two runs mix there.
type resultsDir struct {
	root   *os.Root
	locked *os.File
}

// openResults makes dir if it is not there, and tries whether it can be
// written to.
func openResults(dir string) (*resultsDir, error) {
	root, err := owner.MakeFolder(dir, 0o777)
	if err != nil {
		return nil, fmt.Errorf("open results directory: %s: %w", dir, err)
	}
	probe := temporary("probe")
	f, err := root.OpenFile(probe, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err == nil {
		f.Close()
		err = root.Remove(probe)
	}
	if err != nil {
		root.Close()
		return nil, fmt.Errorf("open results directory: %s: write to it: %w", dir, err)
	}
	d := &resultsDir{root: root}
	if d.locked, err = root.Open("."); err == nil {
		err = lock(d.locked, dir)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open results directory: %w", err), d.close())
	}
	return d, nil
}

// write puts the files of one result in place. Each appears whole, and
// result.json last, so that where it is, the others are too.
func (d *resultsDir) write(item *Item, buf []byte) error {
	dir := ResultPath(item.Row)
	summary, err := encode(newRecord(item))
	if err != nil {
		return fmt.Errorf("write results of %s: %w", label(&item.Result), err)
	}
	bytesOf := func(p []byte) func(io.Writer) error {
		return func(w io.Writer) error {
			_, err := w.Write(p)
			return err
		}
	}
	stream := func(n int) func(io.Writer) error {
		return func(w io.Writer) error {
			return eachPiece(item.Output, n, buf, func(p []byte) error {
				_, err := w.Write(p)
				return err
			})
		}
	}
	if err := d.root.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("write results of %s: %w", label(&item.Result), err)
	}
	for _, file := range []struct {
		name string
		fill func(io.Writer) error
	}{
		{"seq", bytesOf(strconv.AppendInt(nil, int64(item.Result.Index), 10))},
		{"stdout", stream(spool.Stdout)},
		{"stderr", stream(spool.Stderr)},
		{"result.json", bytesOf(summary)},
	} {
		if err := d.put(dir, file.name, file.fill); err != nil {
			return fmt.Errorf("write results of %s: %w", label(&item.Result), err)
		}
	}
	return nil
}

// put writes a file under another name and then moves it in place.
func (d *resultsDir) put(dir, name string, fill func(io.Writer) error) error {
	temp := filepath.Join(dir, temporary(name))
	f, err := d.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	err = fill(f)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = d.root.Rename(temp, filepath.Join(dir, name))
	}
	if err != nil {
		d.root.Remove(temp) // the error that matters is the one at hand
	}
	return err
}

// temporary is the name of a file that is not yet what it is to be; it is of
// no more use to anybody when its run is over.
func temporary(name string) string {
	return fmt.Sprintf(".%s-%016x.tmp", name, rand.Uint64())
}

func (d *resultsDir) close() error {
	if d == nil {
		return nil
	}
	err := d.root.Close()
	if d.locked != nil {
		err = errors.Join(err, d.locked.Close())
	}
	return err
}
