package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	mssh "muster/ssh"
)

// A copy of the program has three steps:
//
//	prepare  a shell makes the folder, sees to it that nobody else can write there,
//	         makes an empty file in it, .new-RANDOM, and fills it with what an earlier
//	         copy that broke off has left
//	send     the rest goes by SFTP, or through cat where that does not work
//	finish   a shell takes the SHA-256 of the file and renames it if that is right
//
// Every copy writes to a file of its own, also one that goes on where another
// ended: so copies at the same time cannot disturb each other, and no server
// process that outlived its link has the program open for writing, with which it
// could not be run (ETXTBSY in execve(2)). The first that finishes removes the
// files of all others, which then find the program in place.
type copying struct {
	p       *place
	client  *mssh.Client
	o       copyOptions
	file    string // the program here
	size    int64
	partial string // the file there
	watch   *watch
	done    atomic.Int64 // bytes that are there

	mu   sync.Mutex // held while the caller is told
	over bool
}

// copyOptions say who is told of a copy, and how long it may stand still.
type copyOptions struct {
	host     string
	progress func(Progress)
	patience time.Duration
}

// defaultPatience is how long a copy may make no progress.
const defaultPatience = time.Minute

// chunk is what is sent in one piece, which is what every SFTP server takes, and
// window how many of them may be on their way: 1 MiB, or 10 MB/s at 100 ms. A file
// whose copy broke off has holes in its last window at most.
const (
	chunk  = 32 << 10
	window = 32
)

// tailPatience is how much longer the end of a copy through cat may take: up to
// 2 MiB are on their way by then (the window of a session in OpenSSH's server), and
// nothing is heard of them.
const tailPatience = 5

// sumOf prints the SHA-256 of $f, or nothing if no program there can take it.
const sumOf = `{ sha256sum "$f" || shasum -a 256 "$f" || openssl dgst -r -sha256 "$f"; } 2>/dev/null | cut -c1-64`

// errStalled says that a copy made no progress for too long.
var errStalled = errors.New("no progress")

// install copies a program to where find looked for it. It comes whole or not at
// all.
func (p *place) install(ctx context.Context, client *mssh.Client, file string, o copyOptions) error {
	st, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("copy muster: %w", err)
	}
	watched, w := newWatch(ctx, o.patience)
	defer w.stop()
	c := &copying{p: p, client: client, o: o, file: file, size: st.Size(), watch: w}
	defer c.tell(Progress{Over: true})
	err = c.run(watched)
	if err == nil {
		return nil
	}
	dir := filepath.Dir(p.program)
	switch {
	case ctx.Err() != nil:
		c.discard(ctx, c.partial)
		return fmt.Errorf("copy muster to %s: %w", dir, context.Cause(ctx))
	case watched.Err() != nil:
		return fmt.Errorf("copy muster to %s: %w for %v, after %.1f of %.1f MB: the link or the file system there may hang; the next attempt goes on from there",
			dir, errStalled, w.limit(), float64(c.done.Load())/1e6, float64(c.size)/1e6)
	case errors.Is(err, mssh.ErrLost):
		return fmt.Errorf("copy muster to %s: %w; the next attempt goes on after %.1f of %.1f MB", dir, err, float64(c.done.Load())/1e6, float64(c.size)/1e6)
	}
	c.discard(ctx, filepath.Join(dir, ".new-*")) // also what takes the room that this copy lacks
	if errors.Is(err, mssh.ErrSession) || errors.Is(err, errStrange) || errors.Is(err, errRead) {
		return fmt.Errorf("copy muster to %s: %w", dir, err)
	}
	return fmt.Errorf("copy muster (%.1f MB) to %s: %w; is the disk or a quota full there? `state = \"/a/folder/with/room\"` in the launcher names another place",
		float64(c.size)/1e6, dir, err)
}

// run copies, and once more from the start and through cat if what arrived is
// wrong: what an earlier copy left may be damaged, and an SFTP server may write
// where no shell finds it.
func (c *copying) run(ctx context.Context) error {
	f, err := os.Open(c.file)
	if err != nil {
		return err
	}
	defer f.Close()
	got := ""
	for _, way := range []struct {
		begin string
		send  func(context.Context, *os.File, int64) error
	}{{c.adopt(), c.send}, {"", c.cat}} {
		have, err := c.prepare(ctx, way.begin)
		if err != nil {
			return err
		}
		if err := way.send(ctx, f, have); err != nil {
			return err
		}
		var done bool
		if got, done, err = c.finish(ctx); done || err != nil {
			return err
		}
		c.p.log.Info("a copy arrived damaged", "host", c.o.host, "sha256", got)
	}
	return fmt.Errorf("what arrived has the SHA-256 %q, not %s, twice", got, c.sum())
}

// sum is the program's SHA-256, which its folder is called by.
func (c *copying) sum() string { return filepath.Base(filepath.Dir(c.p.program)) }

// adopt is a script that begins the file $t with the largest that another copy
// has left in $d, less its last window, or with nothing. If there is no room for
// both, the other file is removed.
func (c *copying) adopt() string {
	return fmt.Sprintf(`m=0; for f in "$d"/.new-*; do test -f "$f" && n=$(wc -c <"$f") && test "$n" -gt "$m" && test "$n" -le %d && m=$n && l=$f; done 2>/dev/null; `+
		`k=$((m / %d - %d)); if test "$k" -gt 0; then dd if="$l" bs=%[2]d count=$k 2>/dev/null >"$t" || { rm -f "$l"; : >"$t"; }; fi; `, c.size, chunk, window+1)
}

// prepare makes the file there, with a script that may put something into it, and
// returns its size. It removes files of copies that have ended: of this program
// after twice the time without progress that ends one, of others after a day.
func (c *copying) prepare(ctx context.Context, begin string) (have int64, err error) {
	c.watch.moved()
	dir := filepath.Dir(c.p.program)
	name := ".new-" + strings.TrimPrefix(marker(), "muster-")
	c.partial = filepath.Join(dir, name)
	const sweep = `find "$d%s" -name "%s" -o -name ".new-*" -type f %s -exec rm -f {} + 2>/dev/null; `
	script := fmt.Sprintf(`umask 077; d="%s"; t="$d/%s"; mkdir -p "$d" && chmod 700 "$d" || exit 1; `, dir, name) + guard + `: >"$t" || exit 1; ` + begin +
		fmt.Sprintf(sweep, "", name, "-mmin +2") + fmt.Sprintf(sweep, "/..", name, "-mtime +0") + `if test -e "$t"; then wc -c <"$t"; else echo 0; fi` // another copy may have finished
	text, err := run(ctx, c.client, script, nil)
	if err != nil {
		return 0, err
	}
	if err := c.p.guarded(text); err != nil {
		return 0, err
	}
	have, err = strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || have < 0 || have > c.size {
		return 0, fmt.Errorf("ask for the size of %s: the answer is %q", c.partial, oneLine(text))
	}
	return have, nil
}

// send sends the program from an offset on, by SFTP if the server speaks it.
func (c *copying) send(ctx context.Context, f *os.File, have int64) error {
	err := c.sftp(ctx, f, have)
	var no *noSFTP
	if !errors.As(err, &no) {
		return err
	}
	c.p.log.Info("copying through a shell, not by SFTP", "host", c.o.host, "reason", no.err)
	if no.began {
		// Servers say of a full disk only that something failed: the shell knows more.
		if _, err := run(ctx, c.client, `dd if=/dev/zero bs=65536 count=1 2>/dev/null | cat >>"`+c.partial+`"`, nil); err != nil {
			return err
		}
		c.remove(ctx, c.partial)
		if have, err = c.prepare(ctx, ""); err != nil {
			return err
		}
	}
	return c.cat(ctx, f, have)
}

// cat sends the program from an offset on through a shell.
func (c *copying) cat(ctx context.Context, f *os.File, have int64) error {
	c.at(have)
	rest := &counted{io.NewSectionReader(f, have, c.size-have), func(n int) {
		if c.at(c.done.Load() + int64(n)); n == 0 {
			c.watch.wait(tailPatience * c.o.patience)
		}
	}}
	return within(ctx, func() error {
		_, err := run(ctx, c.client, `t="`+c.partial+`"; if test -e "$t"; then cat >>"$t"; fi`, rest)
		return err
	})
}

// within runs what writes to a session, until ctx ends. A write to a link that is
// dead, or to a process that does not read, returns when the connection is closed,
// and not before: f may be left behind.
func within(ctx context.Context, f func() error) error {
	ended := make(chan error, 1)
	go func() { ended <- f() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// counted tells how much was read of it.
type counted struct {
	io.Reader
	read func(n int)
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p[:min(len(p), chunk)])
	c.read(n)
	return n, err
}

// finish renames what arrived if it is right. If it is not, but the program is
// there, another copy has been faster. Otherwise it returns the sum of what
// arrived.
func (c *copying) finish(ctx context.Context) (got string, done bool, err error) {
	c.watch.moved()
	// Another copy that finishes just then may remove the file.
	place := fmt.Sprintf(`d="%s"; t="%s"; place() { if chmod 700 "$t" && mv -f "$t" "$d/muster"; then rm -f "$d"/.new-*; elif test -e "$t"; then return 1; else test -x "$d/muster" || return 1; fi; echo there; }; `, filepath.Dir(c.partial), c.partial)
	text, err := run(ctx, c.client, place+fmt.Sprintf(`f="$t"; s=$(%[1]s); if test "$s" = %[2]s; then place; elif test -z "$s" && test -e "$t"; then echo unknown; `+
		`else f="$d/muster"; rm -f "$t"; if test "$(%[1]s)" = %[2]s; then echo there; else echo "wrong $s"; fi; fi`, sumOf, c.sum()), nil)
	if err == nil && strings.TrimSpace(text) == "unknown" { // no program there takes sums
		if got, err = c.readBack(ctx); err == nil && got == c.sum() {
			text, err = run(ctx, c.client, place+"place", nil)
		}
	}
	if got == "" {
		got = oneLine(strings.TrimPrefix(strings.TrimSpace(text), "wrong"))
	}
	return got, strings.TrimSpace(text) == "there", err
}

// discardTime bounds the removal of what a copy has left.
const discardTime = 5 * time.Second

// discard removes files of copies there, though ctx may have ended.
func (c *copying) discard(ctx context.Context, files string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), discardTime)
	defer cancel()
	c.remove(ctx, files)
}

// remove removes a file, or those that begin so if it ends in a star, and the
// folder if nothing else is in it.
func (c *copying) remove(ctx context.Context, file string) {
	prefix, all := strings.CutSuffix(file, "*")
	word := `"` + prefix + `"`
	if all {
		word += "*"
	}
	if _, err := run(ctx, c.client, fmt.Sprintf(`rm -f %s; rmdir "%s" 2>/dev/null; true`, word, filepath.Dir(c.p.program)), nil); err != nil {
		c.p.log.Info("part of a copy is left", "host", c.o.host, "file", file, "error", err)
	}
}

// at says that so many bytes are there.
func (c *copying) at(done int64) {
	c.watch.moved()
	c.done.Store(done)
	c.tell(Progress{Done: done})
}

func (c *copying) tell(p Progress) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.o.progress != nil && !c.over {
		c.over = p.Over
		p.Host, p.Total = c.o.host, c.size
		c.o.progress(p)
	}
}

// watch ends a context when nothing has happened for a time.
type watch struct {
	patience time.Duration
	timer    *time.Timer
	cancel   context.CancelCauseFunc
	most     atomic.Int64 // what limit returns
}

func newWatch(ctx context.Context, patience time.Duration) (context.Context, *watch) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watch{patience: patience, cancel: cancel, timer: time.AfterFunc(patience, func() { cancel(errStalled) })}
	w.moved()
	return ctx, w
}

// moved says that something has happened.
func (w *watch) moved() { w.wait(w.patience) }

// wait says for how long nothing may happen from now on.
func (w *watch) wait(limit time.Duration) {
	w.most.Store(int64(limit))
	w.timer.Reset(limit)
}

// limit is for how long nothing happened if the context has ended by that.
func (w *watch) limit() time.Duration { return time.Duration(w.most.Load()) }

func (w *watch) stop() {
	w.timer.Stop()
	w.cancel(nil)
}
