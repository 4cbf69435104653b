package hpc

import (
	"testing"
)

// submitted returns the id that a submission finds in what is printed.
func submitted(t *testing.T, dialect, printed string) string {
	id, _ := answering(dialect, Output{Stdout: []byte(printed)}).Submit(t.Context(), Command{Argv: []string{"submit"}})
	return id
}

func TestIDs(t *testing.T) {
	for _, c := range []struct{ dialect, printed, want string }{
		{"slurm", "12\n", "12"}, {"slurm", "12;alpha\n", "12;alpha"}, {"slurm", "Submitted batch job 12\n", "12"}, {"slurm", "sbatch: 12", ""}, {"slurm", "", ""},
		{"pbs", "0[].server\n", "0[].server"}, {"pbs", "12.server.example.org", "12.server.example.org"}, {"pbs", "qsub: no", ""},
		{"sge", "12.1-4:1\n", "12"}, {"sge", "12\n", "12"}, {"sge", `Your job 12 ("a") has been submitted`, "12"}, {"sge", `Your job-array 12.1-4:1 ("a") has been submitted`, "12"}, {"sge", "12 no", ""},
		{"lsf", "Job <101> is submitted to default queue <normal>.", "101"}, {"lsf", "Job not submitted.", ""},
	} {
		if got := submitted(t, c.dialect, c.printed); got != c.want {
			t.Errorf("%s: %q is the id %q, want %q", c.dialect, c.printed, got, c.want)
		}
	}
}

// TestCancelNamesAJob: an empty id, or 0 for LSF, would mean all of a user's.
func TestCancelNamesAJob(t *testing.T) {
	for _, id := range []string{"", " ", "-u", "x"} {
		c := &Client{Dialect: lsf, Run: nil} // nothing may be run
		if err := c.Cancel(t.Context(), id); err == nil {
			t.Errorf("%q was cancelled", id)
		}
	}
}
