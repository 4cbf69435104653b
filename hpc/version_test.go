package hpc_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"muster/hpc"
)

// TestVersion: what each scheduler says of itself, where and how it does.
func TestVersion(t *testing.T) {
	for scheduler, c := range map[string]struct {
		asked []string
		says  hpc.Output
		want  string
	}{
		"slurm":  {[]string{"sbatch", "--version"}, hpc.Output{Stdout: []byte("slurm 22.05.8\n")}, "slurm 22.05.8"},
		"pbs":    {[]string{"qsub", "--version"}, hpc.Output{Stdout: []byte("pbs_version = 23.06.06\n")}, "pbs_version = 23.06.06"},
		"torque": {[]string{"qsub", "--version"}, hpc.Output{Stderr: []byte("Version: 6.1.3\nCommit: 1\n")}, "Version: 6.1.3"},
		"sge":    {[]string{"qsub", "-help"}, hpc.Output{Stdout: []byte("SGE 8.1.9\nusage: qsub [options]\n"), Code: 1}, "SGE 8.1.9"},
		"lsf":    {[]string{"bsub", "-V"}, hpc.Output{Stderr: []byte("IBM Spectrum LSF Standard 10.1.0.0\nCopyright\n")}, "IBM Spectrum LSF Standard 10.1.0.0"},
	} {
		var asked []string
		says, failure := c.says, error(nil)
		client := &hpc.Client{Dialect: hpc.Dialects[scheduler], Run: func(_ context.Context, argv []string, stdin string) (hpc.Output, error) {
			asked = argv
			return says, failure
		}}
		if got, err := client.Version(t.Context()); err != nil || got != c.want || !slices.Equal(asked, c.asked) {
			t.Errorf("%s: %q is answered %q, %v; want %q", scheduler, asked, got, err, c.want)
		}
		client.Command = []string{"/opt/bin/submit", "--cluster", "x"}
		if _, err := client.Version(t.Context()); err != nil || !slices.Equal(asked, []string{"/opt/bin/submit", c.asked[1]}) {
			t.Errorf("%s: a command of the user's own is asked as %q, %v", scheduler, asked, err)
		}
		says = hpc.Output{Stderr: []byte("cannot connect"), Code: 2, Argv: c.asked}
		if got, err := client.Version(t.Context()); scheduler != "sge" && (err == nil || got != "" || !strings.Contains(err.Error(), "exit status 2: cannot connect")) {
			t.Errorf("%s: a failure is %q, %v", scheduler, got, err)
		}
		failure = errors.New("it did not answer in time")
		if got, err := client.Version(t.Context()); got != "" || !errors.Is(err, failure) {
			t.Errorf("%s: no answer is %q, %v", scheduler, got, err)
		}
	}
}
