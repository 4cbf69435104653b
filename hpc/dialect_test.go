package hpc

import (
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestDialectsAreWhole: a dialect says everything, or that it has nothing to say.
func TestDialectsAreWhole(t *testing.T) {
	empty := map[string][]string{ // on purpose, by field
		"terse":                     {"pbs", "torque", "lsf"},          // they print the id anyway
		"lists":                     {"pbs", "sge"},                    //
		"ofOne":                     {"pbs"},                           //
		"firstZero":                 {"sge", "lsf"},                    //
		"throttleApart":             {"slurm", "pbs", "torque", "lsf"}, //
		"delivers":                  {"slurm", "sge", "lsf"},           // jobs write their own files
		"fates":                     {"slurm", "torque"},               // their lists tell how jobs ended
		"shows":                     {"slurm", "pbs", "torque"},        // they show scripts to nobody else
		"sent":                      {"pbs", "torque", "sge", "lsf"},   // the command says all
		"advice":                    {"sge"},                           // qsub's own words are enough
		"reasons":                   {"pbs", "torque", "lsf"},          // they write sentences, or no reason
		"grammar.quoting.backslash": {"pbs", "torque", "sge", "lsf"},   //
		"grammar.quoting.strict":    {"sge", "lsf"},                    //
		"grammar.quoting.comment":   {"pbs", "torque"},                 //
		"grammar.letters":           {"sge", "lsf"},                    // their options are words
		"grammar.long":              {"pbs", "torque", "sge", "lsf"},   //
		"grammar.names":             {"pbs", "torque", "sge", "lsf"},   //
		"grammar.operands":          {"pbs", "torque", "sge", "lsf"},   //
		"grammar.values":            {"slurm", "pbs", "torque"},        // their options are letters
		"environment.wishes":        {"pbs", "torque", "sge", "lsf"},   //
		"environment.drop":          {"lsf"},                           // all have its prefixes
		"environment.bare":          {"slurm", "pbs", "torque", "lsf"}, //
	}
	var look func(d *Dialect, path string, v reflect.Value)
	look = func(d *Dialect, path string, v reflect.Value) {
		if v.Kind() == reflect.Struct {
			for i := range v.NumField() {
				look(d, strings.TrimPrefix(path+"."+v.Type().Field(i).Name, "."), v.Field(i))
			}
			return
		}
		if v.IsZero() != slices.Contains(empty[path], d.Name) {
			t.Errorf("%s: %s is set: %v", d.Name, path, !v.IsZero())
		}
	}
	for name, d := range Dialects {
		if d.Name != name || !slices.Contains(Names(), name) || !slices.Contains(prefixes, d.grammar.directive) {
			t.Errorf("%s is not in every list of dialects", name)
		}
		look(d, "", reflect.ValueOf(*d))
	}
	if len(Names()) != len(Dialects) {
		t.Errorf("%v are %d dialects", Names(), len(Dialects))
	}
}

func TestSubmitted(t *testing.T) {
	one, _ := ParseArray("3")
	two, _ := ParseArray("3-4")
	for name, d := range Dialects {
		if got := d.Submitted(one); (got == nil) != (name == "pbs") {
			t.Errorf("%s: an array of one is submitted as %v", name, got)
		}
		if d.Submitted(two) != two || d.Submitted(nil) != nil {
			t.Errorf("%s changes an array of two, or none", name)
		}
	}
}

func TestOutputs(t *testing.T) {
	for name, want := range map[string]string{"slurm": "/a%%b c/%a.out", "pbs": "/a%b c/^array_index^.out", "torque": "/a%b c/out",
		"sge": "/a%b c/$TASK_ID.out", "lsf": "/a%b c/%I.out"} {
		if got := Dialects[name].Outputs("/a%b c", true); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if got := slurm.Outputs("/a%b", false); got != "/a%%b/out" {
		t.Errorf("a plain job's output goes to %s", got)
	}
}

func TestExplain(t *testing.T) {
	for _, c := range []struct{ dialect, reason, want string }{
		{"slurm", "PartitionConfig", "PartitionConfig: it asks for more"}, {"slurm", "Priority", "Priority"}, {"sge", "Eqw", "Eqw: it is in an error"}, {"pbs", "PartitionConfig", "PartitionConfig"},
	} {
		if got := Dialects[c.dialect].Explain(c.reason); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s, %s: %s", c.dialect, c.reason, got)
		}
	}
}

// TestSchedulerWithoutDirectives: one that reads a description in a file of its
// own, with the script beside it, is a dialect like the others.
func TestSchedulerWithoutDirectives(t *testing.T) {
	condor := *slurm
	condor.Submit, condor.terse = "condor_submit", nil
	condor.quote = func(s string) (string, string) { return s, "" }
	condor.directives = func(j *Job, l *list) {
		l.prefix = ""
		l.value("output", setsOutput, "output = ", j.Output)
		l.add(j.CPUs > 0, setsCPUs, "request_cpus = %d", j.CPUs)
		l.add(j.Array != nil, setsArray, "queue %d", j.Array.Count())
	}
	condor.compose = func(argv []string, j *Job, p parts) (Command, error) {
		dir := filepath.Dir(j.Output)
		description, script := filepath.Join(dir, "job.sub"), filepath.Join(dir, "job.sh")
		lines := append([]string{"executable = " + script}, p.Directives...)
		p.Directives = nil
		c, err := byStdin(append(argv, description), j, p)
		c.Files = []File{{description, strings.Join(lines, "\n") + "\n"}, {script, c.Stdin}}
		c.Stdin = ""
		return c, err
	}
	got, err := condor.Render(Job{Array: &Array{Spans: []Span{{1, 4, 1}}}, CPUs: 2, Output: "/o/out.$(Process)", Body: "exec x"}, nil)
	want := Command{Argv: []string{"condor_submit", "/o/job.sub"}, Files: []File{
		{"/o/job.sub", "executable = /o/job.sh\noutput = /o/out.$(Process)\nrequest_cpus = 2\nqueue 4\n"},
		{"/o/job.sh", "#!/bin/sh\nexec x\n"}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v\nwant %+v", got, err, want)
	}
}

// TestUnique: the ending is whole, and nothing else is cut in the middle of a letter.
func TestUnique(t *testing.T) {
	long := strings.Repeat("ü", 200)
	for name, d := range Dialects {
		for _, start := range []string{"muster", "a", long} {
			got := d.Unique(start, "-abc123-12")
			if !strings.HasSuffix(got, "-abc123-12") || len(got) > d.NameMax() || !utf8.ValidString(got) || got == "-abc123-12" && start != long {
				t.Errorf("%s: %q becomes %q", name, start, got)
			}
		}
	}
}
