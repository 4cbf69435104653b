package exec

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"muster/task"
)

// What a shell exits with when it cannot run a command (POSIX, "Exit Status
// for Commands").
const (
	codeCannotExecute = 126
	codeNotFound      = 127
)

// programKey is all that finding a program depends on.
type programKey struct{ name, path, dir string }

// spawn starts the task's command in a process group of its own.
func (r *Runner) spawn(j *job, id task.ID) *task.ErrorValue {
	env, path := r.env.of(id, j.spec)
	key := programKey{j.spec.Argv[0], path, j.spec.Dir}
	file, known := r.paths[key]
	if !known {
		var e *task.ErrorValue
		if file, e = find(key); e != nil {
			return e
		}
	}
	j.oomed = r.oom.read()
	err := r.start(j, file, j.spec.Argv, env)
	if err == syscall.ENOENT && known {
		delete(r.paths, key) // it has moved since
		return r.spawn(j, id)
	}
	if err == syscall.ENOEXEC {
		// As execvp(3) and every shell do with a script that has no #! line.
		err = r.start(j, "/bin/sh", append([]string{"/bin/sh", file}, j.spec.Argv[1:]...), env)
	}
	if err != nil {
		return explainSpawn(err, file, j.spec)
	}
	r.paths[key] = file
	return nil
}

// start makes the pipes and the process.
func (r *Runner) start(j *job, file string, argv, env []string) error {
	stdin := r.null
	if j.spec.Input != nil {
		f, err := r.scratch.input(j.spec.Input)
		if err != nil {
			return err
		}
		defer f.Close()
		stdin = int(f.Fd())
	}
	var out, errs [2]int
	if err := pipe(&out); err != nil {
		return err
	}
	if err := pipe(&errs); err != nil {
		rawClose(out[0])
		rawClose(out[1])
		return err
	}
	pid, pidfd, err := forkExec(file, argv, &syscall.ProcAttr{Dir: j.spec.Dir, Env: env,
		Files: []uintptr{uintptr(stdin), uintptr(out[1]), uintptr(errs[1])}}, r.pidfds)
	rawClose(out[1])
	rawClose(errs[1])
	if err != nil {
		rawClose(out[0])
		rawClose(errs[0])
		return err
	}
	j.pid, j.pidfd = pid, pidfd
	r.streams[0].attach(out[0])
	r.streams[1].attach(errs[0])
	if pidfd >= 0 {
		r.poller.watch(watchExit, pidfd)
	}
	return nil
}

// find looks for a program as a shell does that has changed into the task's
// directory.
func find(k programKey) (string, *task.ErrorValue) {
	if strings.Contains(k.name, "/") {
		return k.name, nil
	}
	if k.name == "" {
		return "", notStarted(codeNotFound, "the command's first word is empty", "")
	}
	var denied string
	for _, dir := range filepath.SplitList(k.path) {
		if dir == "" {
			dir = "."
		}
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(k.dir, dir)
		}
		file := filepath.Join(dir, k.name)
		st, err := os.Stat(file)
		switch {
		case err != nil || st.IsDir():
		case st.Mode().Perm()&0o111 != 0:
			return file, nil
		case denied == "":
			denied = file
		}
	}
	if denied != "" {
		return "", notStarted(codeCannotExecute, fmt.Sprintf("cannot execute %s: it is not executable", denied), "chmod +x it")
	}
	where := "looked in PATH=" + k.path
	if k.path == "" {
		where = "PATH is empty"
	}
	return "", notStarted(codeNotFound, fmt.Sprintf("program %q not found", k.name), where)
}

// explainSpawn says which of fork, chdir and exec failed, which the errno alone
// does not tell.
func explainSpawn(err error, file string, s *task.Spec) *task.ErrorValue {
	if st, derr := os.Stat(s.Dir); derr != nil {
		return notStarted(codeCannotExecute, "cannot enter the working directory "+reason(derr), "")
	} else if !st.IsDir() {
		return notStarted(codeCannotExecute, "cannot enter the working directory "+s.Dir+": not a directory", "")
	}
	shown := file
	if !filepath.IsAbs(file) {
		shown = filepath.Join(s.Dir, file)
	}
	_, ferr := os.Stat(shown)
	switch {
	case errors.Is(err, syscall.ENOENT) && errors.Is(ferr, fs.ErrNotExist):
		return notStarted(codeNotFound, fmt.Sprintf("program %q not found", s.Argv[0]), "looked for "+shown)
	case errors.Is(err, syscall.ENOENT):
		return notStarted(codeCannotExecute, fmt.Sprintf("cannot execute %s: its interpreter is missing", shown), "see its first line, #!, or its ELF interpreter")
	case errors.Is(err, syscall.E2BIG):
		n := 0
		for _, w := range s.Argv {
			n += len(w) + 1
		}
		return notStarted(codeCannotExecute, fmt.Sprintf("cannot execute %s: its arguments are too long for the kernel", shown), fmt.Sprintf("%d bytes in %d words", n, len(s.Argv)))
	}
	return notStarted(codeCannotExecute, fmt.Sprintf("cannot execute %s: %v", shown, err), "")
}

// reason is a path error without the name of the system call.
func reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Path + ": " + p.Err.Error()
	}
	return err.Error()
}
