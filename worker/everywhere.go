package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"muster/internal/self"
	"muster/internal/shell"
	"muster/internal/wire"
	"muster/task"
	"muster/worker/internal/exec"
)

// envSave has a slot's program write its environment and its directory into
// the file that it names, and do nothing else.
const envSave = "_MUSTER_SAVE"

// everywhere runs shell text and returns the environment and the directory
// that it left behind; nil if it did not get to its end. The shell is bash if
// there is one: what environment modules export is functions of bash.
func (r *runner) everywhere(ctx context.Context, m *wire.Assign, spec task.Spec, out func(int, []byte) error) (exec.Report, *wire.State) {
	exe, err := self.Path()
	if err != nil {
		return exec.Report{Lack: &task.Lack{Kind: task.LackProcess, Code: 126, Message: err.Error()}}, nil
	}
	file := filepath.Join(r.scratch, "state")
	os.Remove(file)
	save := envSave + "=" + shell.Quote(file) + " " + shell.Join(append([]string{exe}, os.Args[1:]...))
	text := "trap '_muster_status=$?; " + strings.ReplaceAll(save, "'", `'\''`) + "; exit $_muster_status' EXIT\n" + strings.Join(spec.Argv, " ") + "\n"
	spec.Argv = []string{r.shell(), "-c", text}
	rep := r.exec.Run(ctx, m.Task, spec, out)
	state, err := r.readState(file, spec.Dir)
	os.Remove(file)
	if err != nil && rep.Err == nil && rep.Lack == nil {
		rep.Err = &task.ErrorValue{Kind: task.KindError, Code: 1, Message: "its environment was not kept: " + err.Error(),
			Evidence: "an everywhere ends by itself or with exit, not with exec"}
	}
	return rep, state
}

// shell is the shell of everywhere.
func (r *runner) shell() string {
	for _, kv := range r.exec.Env() {
		if path, ok := strings.CutPrefix(kv, "PATH="); ok {
			for _, dir := range filepath.SplitList(path) {
				file := filepath.Join(dir, "bash")
				if st, err := os.Stat(file); err == nil && st.Mode().IsRegular() && st.Mode().Perm()&0o111 != 0 {
					return file
				}
			}
		}
	}
	return "/bin/sh"
}

// saveState writes this process's environment and directory to file.
func saveState(file string) error {
	dir, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("keep an everywhere's directory: %w", err)
	}
	var b bytes.Buffer
	b.WriteString(dir)
	for _, kv := range os.Environ() {
		b.WriteByte(0)
		b.WriteString(kv)
	}
	return os.WriteFile(file, b.Bytes(), 0o600)
}

// readState reads what saveState wrote. A directory that is where the task
// began is not kept: it was not changed.
func (r *runner) readState(file, began string) (*wire.State, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("its shell did not come to its end")
	}
	if err != nil {
		return nil, err
	}
	words := strings.Split(string(b), "\x00")
	state := &wire.State{Dir: r.dir}
	if began, err := filepath.EvalSymlinks(began); err != nil || words[0] != began {
		state.Dir = words[0]
	}
	for _, kv := range r.exec.Env() {
		if ofShell(kv) {
			state.Env = append(state.Env, kv)
		}
	}
	for _, kv := range words[1:] {
		if !ofShell(kv) {
			state.Env = append(state.Env, kv)
		}
	}
	return state, nil
}

// ofShell reports whether a variable is the shell's own business, or one that
// tells a task about itself.
func ofShell(kv string) bool {
	name, _, _ := strings.Cut(kv, "=")
	return slices.Contains([]string{"_", "SHLVL", "PWD", "OLDPWD", "MUSTER_TASK_ID", "MUSTER_INDEX", "MUSTER_NAME",
		"MUSTER_WORKER_ID", "MUSTER_SLOT", "MUSTER_TASK_DIR", "MUSTER_ERROR_FILE", "MUSTER_SEED", "MUSTER_RNG_STREAM"}, name) ||
		strings.HasPrefix(name, "_MUSTER_") || strings.HasPrefix(name, task.ShareVariable)
}
