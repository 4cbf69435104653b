package exec

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"muster/task"
)

// programKey is all that finding a program depends on.
type programKey struct{ name, path, dir string }

// spawn starts the task's command in a process group of its own.
func (r *Runner) spawn(j *job, id task.ID) *task.Lack {
	env, path := r.env.of(id, j.spec)
	key := programKey{j.spec.Argv[0], path, j.spec.Dir}
	file, known := r.paths[key]
	if !known {
		var l *task.Lack
		if file, l = find(key); l != nil {
			return l
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
			return scratchError{err}
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
	if r.o.Begin != nil && !j.begun {
		j.begun = true
		r.o.Begin()
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
	return nil
}

// find looks for a program as a shell does that has changed into the task's
// directory.
func find(k programKey) (string, *task.Lack) {
	if strings.Contains(k.name, "/") {
		return k.name, nil
	}
	if k.name == "" {
		return "", notStarted(faultOfTask, codeNotFound, "the command's first word is empty", "")
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
		return "", notStarted(task.LackProgram, codeCannotExecute, fmt.Sprintf("cannot execute %s: it is not executable", denied), "chmod +x it")
	}
	where := "looked in PATH=" + k.path
	if k.path == "" {
		where = "PATH is empty"
	}
	return "", notStarted(task.LackProgram, codeNotFound, fmt.Sprintf("program %q not found", k.name)+besides(k), where)
}

// besides says that a program which was looked for in vain lies in the task's directory.
// No shell would find it there either.
func besides(k programKey) string {
	if st, err := os.Stat(filepath.Join(k.dir, k.name)); err != nil || !st.Mode().IsRegular() {
		return ""
	}
	return "; it is in the working directory: write ./" + k.name
}
