package worker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"muster/internal/quiet"
	"muster/internal/wire"
	"muster/worker/internal/exec"
)

// What a worker tells a slot process, in its environment. Tasks do not see it.
const (
	envSlot        = "_MUSTER_SLOT"
	envSlotWorker  = "_MUSTER_SLOT_WORKER"
	envSlotScratch = "_MUSTER_SLOT_SCRATCH"
	envSlotOptions = "_MUSTER_SLOT_OPTIONS"
	slotIn         = 3 // descriptors
	slotOut        = 4
)

// slotOptions are the worker's options that its slots need to know.
type slotOptions struct {
	KeepScratch bool
	Output      Output
}

func (o slotOptions) String() string {
	return strconv.FormatBool(o.KeepScratch) + " " + string(o.Output)
}

func parseSlotOptions(text string) (o slotOptions) {
	keep, output, _ := strings.Cut(text, " ")
	o.KeepScratch = keep == "true"
	o.Output = Output(output)
	return o
}

// RunSlot is the whole life of a slot process. It returns when the worker has
// closed its end, after everything it started is gone.
func RunSlot() error {
	if file := os.Getenv(envSave); file != "" {
		return saveState(file)
	}
	n, err := strconv.Atoi(os.Getenv(envSlot))
	if err != nil {
		return errors.New("a slot is started by a worker, not by hand")
	}
	conn, err := fromWorker()
	if err != nil {
		return fmt.Errorf("slot %d: %w", n, err)
	}
	runtime.GOMAXPROCS(1) // it does one thing at a time, and a node may have a hundred slots
	options := parseSlotOptions(os.Getenv(envSlotOptions))
	parent := os.Getenv(envSlotScratch)
	r := newRunner(n, wire.NewWriter(conn), options.Output)
	r.scratch = filepath.Join(parent, "slot"+strconv.Itoa(n))
	r.exec, err = exec.New(exec.Options{ScratchDir: r.scratch, Env: slices.DeleteFunc(os.Environ(), ofMuster),
		WorkerID: os.Getenv(envSlotWorker), Slot: n, KeepScratch: options.KeepScratch, Begin: r.started})
	if err != nil {
		return fmt.Errorf("slot %d: %w", n, err)
	}
	r.out.Send(&wire.Pong{}) // it is ready
	err = r.serve(conn)
	os.RemoveAll(r.scratch)
	os.Remove(parent) // if this was the last: the worker may have been killed
	return err
}

// fromWorker returns the connection to the worker, and keeps every descriptor
// that was inherited from tasks: a lock of whoever started the worker, say.
func fromWorker() (*quiet.Pipes, error) {
	conn, err := quiet.Inherited(slotIn, slotOut)
	if err != nil {
		return nil, err
	}
	return conn, closeOnExec()
}

// ofMuster reports whether a variable is between muster's own processes.
func ofMuster(kv string) bool {
	return strings.HasPrefix(kv, "_MUSTER_") || strings.HasPrefix(kv, "MUSTER_JOIN_FILE=")
}
