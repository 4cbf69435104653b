package exec

import (
	"strconv"
	"strings"

	"muster/task"
)

// The variables that tell a task about itself.
const (
	varTaskID    = "MUSTER_TASK_ID"
	varIndex     = "MUSTER_INDEX"
	varName      = "MUSTER_NAME"
	varWorkerID  = "MUSTER_WORKER_ID"
	varSlot      = "MUSTER_SLOT"
	varTaskDir   = "MUSTER_TASK_DIR"
	varErrorFile = "MUSTER_ERROR_FILE"
	varSeed      = "MUSTER_SEED"
	varStream    = "MUSTER_RNG_STREAM"
)

// environment is what all tasks of a runner share.
type environment struct {
	base []string
	at   map[string]int // where each variable stands in base
	path string
}

func newEnvironment(o Options, s scratch) environment {
	e := environment{at: map[string]int{}}
	for _, kv := range o.Env {
		e.base = e.set(e.base, kv)
	}
	for _, kv := range []string{varWorkerID + "=" + o.WorkerID, varSlot + "=" + strconv.Itoa(o.Slot),
		varTaskDir + "=" + s.dir, varErrorFile + "=" + s.errorFile, varTaskID + "=", varIndex + "=", varName + "=", varSeed + "=", varStream + "="} {
		e.base = e.set(e.base, kv)
	}
	if i, ok := e.at["PATH"]; ok {
		e.path = strings.TrimPrefix(e.base[i], "PATH=")
	}
	return e
}

// set puts kv into list, in place of an earlier value.
func (e *environment) set(list []string, kv string) []string {
	name, _, ok := strings.Cut(kv, "=")
	if !ok || name == "" {
		return list
	}
	if i, ok := e.at[name]; ok {
		list[i] = kv
		return list
	}
	e.at[name] = len(list)
	return append(list, kv)
}

// of returns a task's environment and its PATH.
func (e *environment) of(id task.ID, s *task.Spec) (env []string, path string) {
	env = make([]string, len(e.base), len(e.base)+len(s.Env))
	copy(env, e.base)
	env[e.at[varTaskID]] = varTaskID + "=" + strconv.FormatUint(uint64(id), 10)
	env[e.at[varIndex]] = varIndex + "=" + strconv.Itoa(s.Index)
	env[e.at[varName]] = varName + "=" + s.Name
	env[e.at[varSeed]], env[e.at[varStream]] = s.RandomEnv()
	path = e.path
	extra := len(env)
	for _, kv := range s.Env {
		name, value, _ := strings.Cut(kv, "=")
		if name == "PATH" {
			path = value
		}
		if i, ok := e.at[name]; ok {
			env[i] = kv
			continue
		}
		for i := extra; i < len(env); i++ {
			if strings.HasPrefix(env[i], name+"=") {
				env[i], kv = kv, ""
				break
			}
		}
		if kv != "" {
			env = append(env, kv)
		}
	}
	return env, path
}
