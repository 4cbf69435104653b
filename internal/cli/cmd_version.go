package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"
)

// versionLine is all that --version shows.
const versionLine = "muster version " + Version + "\n"

// build says what this program was made of.
type build struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`  // empty if it is not known
	Changed bool   `json:"changed"` // there was more in the source than in the commit
	Go      string `json:"go"`
	System  string `json:"platform"`
}

// thisBuild reads what the Go linker has left in the program.
func thisBuild() build {
	b := build{Version: Version, Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.modified":
			b.Changed = s.Value == "true"
		}
	}
	return b
}

// String is the build as a person reads it.
func (b build) String() string {
	commit := b.Commit
	switch {
	case commit == "":
		commit = "not known"
	case b.Changed:
		commit += ", with changes"
	}
	return fmt.Sprintf("%scommit:   %s\nGo:       %s\nplatform: %s\n", versionLine, commit, b.Go, b.System)
}

// newVersion is `muster version`.
func newVersion(s streams) *cli.Command {
	asJSON := false
	return &cli.Command{
		Name:      "version",
		Usage:     "show the version, its commit, Go's version and the platform",
		UsageText: "muster version [--json]",
		Description: `It says all that a report of a mistake needs. A worker may be of another version than
its dispatcher.

   muster version
   muster version --json`,
		Flags: []cli.Flag{&cli.BoolFlag{Name: "json", Destination: &asJSON, Usage: "print JSON"}},
		Action: func(c *cli.Context) error {
			if err := optionsOnly(c); err != nil {
				return err
			}
			if asJSON {
				return writeJSON(s.out, thisBuild())
			}
			return show(s.out, thisBuild().String())
		},
	}
}
