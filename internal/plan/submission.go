package plan

import (
	"strconv"
	"strings"

	"muster/hpc"
	"muster/internal/shell"
)

// Submission is one command that starts workers, or prepares that, as it would
// be run.
type Submission struct {
	Launcher  string     `json:"launcher"`
	Scheduler string     `json:"scheduler,omitempty"` // none by SSH
	Argv      []string   `json:"argv"`
	Script    string     `json:"stdin,omitempty"`
	File      string     `json:"stdin_file,omitempty"` // what the command reads instead
	Files     []hpc.File `json:"files,omitempty"`      // that are there before it is run
	Workers   int        `json:"workers"`

	line string // the command as a person writes it, if not as Argv says
}

// Shell writes the submission as a person would paste it.
func (s *Submission) Shell() string {
	var b strings.Builder
	for _, f := range s.Files {
		b.WriteString("cat >" + shell.Quote(f.Path) + document(f.Text))
	}
	line := s.line
	if line == "" {
		line = shell.Join(s.Argv)
	}
	b.WriteString(line)
	switch {
	case s.File != "":
		b.WriteString(" <" + shell.Quote(s.File) + "\n")
	case s.Script == "":
		b.WriteString("\n")
	default:
		b.WriteString(document(s.Script))
	}
	return b.String()
}

// document is text as a shell's here-document.
func document(text string) string {
	if !strings.HasSuffix(text, "\n") {
		text += "\n" // the mark stands in a line of its own
	}
	mark := "EOF"
	for i := 1; strings.Contains("\n"+text, "\n"+mark+"\n"); i++ {
		mark = "EOF_" + strconv.Itoa(i)
	}
	return "<<'" + mark + "'\n" + text + mark + "\n"
}
