package testbed

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// slots is how many elements of a job run at once.
const slots = 4

// run runs a job's elements.
func (d *double) run(arg string) int {
	unlock := d.lock()
	j, _ := d.find(arg, "")
	unlock()
	if j == nil || j.Held { // nobody here lets it go
		return 0
	}
	atOnce := slots
	if j.Throttle > 0 {
		atOnce = min(slots, j.Throttle)
	}
	room := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for _, i := range j.indices() { // they start in their order
		room <- struct{}{}
		cmd, why := d.start(j, i)
		if cmd == nil {
			<-room
			continue
		}
		all.Go(func() { d.finish(j, i, cmd, why, func() { <-room }) })
	}
	all.Wait()
	return 0
}

// finish waits for an element, and delivers its output; leave gives its slot to
// another.
func (d *double) finish(j *doubleJob, i int, cmd *exec.Cmd, why func() string, leave func()) {
	cmd.Wait()
	code := cmd.ProcessState.ExitCode()
	e := d.ending()
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signaled() {
		code = e.base + int(ws.Signal())
	}
	reason := why()
	if reason == "walltime" && e.walltime != 0 {
		code = e.walltime
	}
	leave()
	end := strings.TrimSpace(fmt.Sprintf("%d %s", code, reason))
	unlock := d.lock()
	d.set(j, i, "E "+end)
	unlock()
	if !j.Direct {
		d.deliver(j, i)
	}
	unlock = d.lock()
	d.set(j, i, "X "+end)
	unlock()
}

// start starts an element, nil if it was deleted meanwhile or cannot be started.
// What it returns beside the command is to be called when that has ended, and
// says who ended it.
func (d *double) start(j *doubleJob, i int) (*exec.Cmd, func() string) {
	unlock := d.lock()
	defer unlock()
	if d.state(j, i).letter != "Q" {
		return nil, nil
	}
	out, errs := d.streams(j, i)
	defer out.Close()
	cmd := exec.Command("/bin/sh", "-c", `exec "$0"`, filepath.Join(d.jobDir(j.Seq), "script"))
	if j.Shell != "" {
		cmd = exec.Command(j.Shell, filepath.Join(d.jobDir(j.Seq), "script"))
	}
	cmd.Dir, cmd.Stdout, cmd.Stderr = j.Dir, out, errs
	cmd.Env = append(slices.Clone(j.Env), d.environment(j, i)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(errs, err)
		errs.Close()
		d.set(j, i, "X 126")
		return nil, nil
	}
	d.set(j, i, "R "+strconv.Itoa(cmd.Process.Pid))
	over, reason := make(chan struct{}), make(chan string, 1)
	go func() {
		reason <- d.guard(j, i, cmd.Process.Pid, errs, over)
		errs.Close()
	}()
	return cmd, func() string { close(over); return <-reason }
}

// spool is where a stream of an element is kept until it is delivered: OU or ER.
func (d *double) spool(j *doubleJob, i int, stream string) string {
	return filepath.Join(d.jobDir(j.Seq), strconv.Itoa(i)+"."+stream)
}

// streams opens what an element writes to.
func (d *double) streams(j *doubleJob, i int) (out, errs *os.File) {
	open := func(spool, place string) *os.File {
		if j.Direct {
			spool = place
		}
		f, err := os.OpenFile(spool, os.O_CREATE|os.O_WRONLY|os.O_TRUNC|os.O_APPEND, 0o600)
		if err != nil {
			f, err = os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		}
		if err != nil {
			panic(err)
		}
		return f
	}
	out = open(d.spool(j, i, "OU"), j.Output)
	if !j.Join {
		return out, open(d.spool(j, i, "ER"), j.Error)
	}
	fd, err := syscall.Dup(int(out.Fd()))
	if err != nil {
		panic(err)
	}
	syscall.CloseOnExec(fd)
	return out, os.NewFile(uintptr(fd), out.Name())
}

// guard ends an element at its walltime, or when it is to be deleted, and says
// which it was: walltime, deleted, or nothing.
func (d *double) guard(j *doubleJob, i, pid int, errs io.Writer, over chan struct{}) string {
	began := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-over:
			return ""
		case <-tick.C:
		}
		if j.Walltime > 0 && time.Since(began) > j.Walltime {
			fmt.Fprintln(errs, d.ending().said(j))
			d.kill(pid)
			return "walltime"
		}
		if _, err := os.Stat(d.deleted(j.Seq, i)); err == nil {
			d.kill(pid)
			return "deleted"
		}
	}
}

// kill signals every process of a job's session, as the real ones do, in turn.
func (d *double) kill(pid int) {
	e := d.ending()
	delay := setting("DOUBLE_KILL_DELAY", e.delay)
	for i, sig := range e.signals {
		if i > 0 {
			for end := time.Now().Add(delay); time.Now().Before(end) && len(session(pid)) > 0; {
				time.Sleep(20 * time.Millisecond)
			}
		}
		for _, p := range session(pid) {
			syscall.Kill(p, sig)
		}
	}
}

// session lists the living processes of a session.
func session(sid int) []int {
	var list []int
	paths, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, p := range paths {
		b, _ := os.ReadFile(p)
		_, rest, _ := strings.Cut(string(b), ") ")
		f := strings.Fields(rest)
		if len(f) > 3 && f[0] != "Z" && f[3] == strconv.Itoa(sid) {
			pid, _ := strconv.Atoi(strings.Split(p, "/")[2])
			list = append(list, pid)
		}
	}
	return list
}

// place copies a spooled stream to its place. A folder that is missing, or may not
// be written, is an error.
func (d *double) place(j *doubleJob, i int, stream, to string) error {
	b, err := os.ReadFile(d.spool(j, i, stream))
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}

// undelivered keeps a stream that could not be copied, and says so in the log.
func (d *double) undelivered(j *doubleJob, i int, stream, to string, why error) {
	unlock := d.lock()
	defer unlock()
	id := d.id(j, i, true)
	dir := filepath.Join(d.dir, "undelivered")
	os.MkdirAll(dir, 0o755)
	os.Rename(d.spool(j, i, stream), filepath.Join(dir, id+"."+stream))
	f, err := os.OpenFile(filepath.Join(d.dir, "server.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	fmt.Fprintf(f, "%s;Job;%s;Post job file processing error; job %s on host node, %s: %v\n", time.Now().Format("01/02/2006 15:04:05"), id, id, to, why)
}
