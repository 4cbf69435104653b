package launch

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"muster/hpc"
	"muster/internal/remote"
	"muster/ssh/relay"
)

// Record says what was sent to a scheduler, so that it can be taken back after
// a crash too. It is written before the submission and gets the job's id after
// it; it goes when the scheduler says that the job has.
type Record struct {
	Name      string    `json:"name"` // of the job, unique; and of the record's files
	Launcher  string    `json:"launcher"`
	Scheduler string    `json:"scheduler,omitempty"` // none by SSH
	Command   []string  `json:"command,omitempty"`
	ID        string    `json:"id"` // empty: it may have been submitted
	Workers   int       `json:"workers"`
	Sent      time.Time `json:"sent"`
	// Via is the machine behind SSH on which it was made, and Processes are the
	// workers that were started there.
	Via       *remote.Login `json:"via,omitempty"`
	Processes []Process     `json:"processes,omitempty"`
	// Files are what goes with it on the machine where it was made.
	Files []string `json:"files,omitempty"`

	dir string
}

// Process is a worker that was started by SSH, and where: another login may lead
// to another machine of the same name, or to the same after it was started anew.
type Process struct {
	relay.Process
	Host string `json:"host"`
	Boot string `json:"boot,omitempty"`
}

// unique returns what makes a job's name its own: six letters and digits.
func unique() string {
	var b [4]byte
	rand.Read(b[:])
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))[:6]
}

func (r *Record) path(ending string) string { return filepath.Join(r.dir, r.Name+ending) }

// write keeps the record, in one step.
func (r *Record) write() error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	tmp := r.path(".new")
	err = os.WriteFile(tmp, append(b, '\n'), 0o600)
	if err == nil {
		err = os.Rename(tmp, r.path(".json"))
	}
	if err != nil {
		return fmt.Errorf("write the launch record: %w", err)
	}
	return nil
}

// forget removes the record and what belongs to it.
func (r *Record) forget(ctx context.Context, at machine) {
	if len(r.Files) > 0 {
		at.remove(ctx, r.Files...)
		if r.Via != nil {
			// The run's folder there, if nothing else is in it.
			at.runner()(ctx, []string{"rmdir", path.Dir(r.Files[0])}, "")
		}
	}
	os.Remove(r.path(".json"))
}

// client returns who gives orders for the record.
func (r *Record) client(run hpc.Runner, user string) (*hpc.Client, error) {
	d := hpc.Dialects[r.Scheduler]
	if d == nil {
		return nil, fmt.Errorf("launch record %s: there is no scheduler %q here", r.path(".json"), r.Scheduler)
	}
	return &hpc.Client{Dialect: d, Run: run, User: user, Command: r.Command}, nil
}

// Records reads the launch records in dir; none if there is no dir.
func Records(dir string) ([]*Record, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read launch records: %w", err)
	}
	var list []*Record
	var bad []error
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".json" {
			continue
		}
		r := &Record{dir: dir}
		path := filepath.Join(dir, e.Name())
		b, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(b, r)
		}
		if err == nil && r.Name+".json" != e.Name() {
			err = errors.New("it is not what its name says")
		}
		if err != nil {
			bad = append(bad, fmt.Errorf("launch record %s: %w", path, err))
			continue
		}
		list = append(list, r)
	}
	return list, errors.Join(bad...)
}
