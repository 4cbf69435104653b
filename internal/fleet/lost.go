package fleet

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"muster/hpc"
	mhttp "muster/http"
	"muster/internal/plan"
	"muster/internal/terminal"
)

const (
	tailTime  = 10 * time.Second // for the end of an output
	tailBytes = 2000
	hideBytes = 4096 // more that is read, so that no secret is cut in two where it begins
	tailLines = 10
)

// lost are elements of a job that ended, or run, without their workers having joined.
type lost struct {
	f       *Fleet
	j       *job
	indices []int
	ended   string // what became of the first, with its name
}

// lost returns the elements of which that has not been told. It needs Fleet.mu.
func (f *Fleet) lost() []*lost {
	var list []*lost
	for _, j := range f.jobs {
		if !j.waited() || j.takenBack {
			continue
		}
		var indices []int
		for index, m := range j.elements {
			if m.state == hpc.Ended && !m.told {
				if m.told = true; !j.joined(index) {
					indices = append(indices, index)
				}
			}
		}
		if len(indices) == 0 {
			continue
		}
		slices.Sort(indices)
		list = append(list, &lost{f: f, j: j, indices: indices})
	}
	return list
}

// untilIdle is for how long an element runs before it is missed that its worker has not
// joined.
const untilIdle = quiet - first

// idle returns the jobs of which elements run and their workers do not come, each once.
// It needs Fleet.mu.
func (f *Fleet) idle() (list []*lost) {
	for _, j := range f.jobs {
		if !j.waited() || j.takenBack || j.idle != "" {
			continue
		}
		var indices []int
		for index, m := range j.elements {
			if m.state == hpc.Running && time.Since(m.runs) >= untilIdle && !j.joined(index) {
				indices = append(indices, index)
			}
		}
		if len(indices) == 0 {
			continue
		}
		slices.Sort(indices)
		j.idle = j.endpoint.called(j.Record, indices[0]) + " runs, and its worker has not joined yet"
		if n := len(indices) - 1; n > 0 {
			j.idle += "; " + count(n, "other") + " likewise"
		}
		j.trouble = cmp.Or(j.trouble, j.idle)
		list = append(list, &lost{f: f, j: j, indices: indices})
	}
	return list
}

// explain asks how those ended that are no longer listed, where that is known, and
// returns those that somebody else has not cancelled, which is said.
func (f *Fleet) explain(ctx context.Context, list []*lost) (rest []*lost) {
	ctx, cancel := context.WithTimeout(ctx, quiet)
	defer cancel()
	asked := map[*lost]*inquiry{}
	for _, l := range list {
		if l.j.endpoint.rules().remembers && f.unexplained(l) {
			asked[l] = f.inquiry(l.j)
		}
	}
	for _, l := range list {
		var answer map[key]hpc.Element
		if q := asked[l]; q != nil {
			select {
			case <-q.done:
				answer = q.answer
			case <-ctx.Done():
			}
		}
		if f.conclude(l, answer) {
			rest = append(rest, l)
		}
	}
	return rest
}

// unexplained reports whether it is not known how some ended.
func (f *Fleet) unexplained(l *lost) bool {
	f.lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(l.indices, func(i int) bool { return l.j.elements[i].end == hpc.EndUnknown })
}

// conclude takes in how elements ended, and reports whether there are some that
// somebody else has not cancelled.
func (f *Fleet) conclude(l *lost, answer map[key]hpc.Element) bool {
	f.lock()
	defer f.mu.Unlock()
	for _, index := range l.indices {
		if e := answer[key{l.j.ID, index}]; e.State == hpc.Ended {
			l.j.elements[index].raw = e.Raw
		}
	}
	l.indices = slices.DeleteFunc(l.indices, func(i int) bool { return l.j.elements[i].cancelled })
	if len(l.indices) == 0 {
		return false
	}
	first := l.indices[0]
	l.ended = l.j.endpoint.ended(l.j.Record, first, l.j.elements[first].raw)
	l.j.trouble, l.j.pointed = l.ended, true
	return true
}

// text says that the elements ended, and what the first of them left.
func (l *lost) text(ctx context.Context) string {
	text := l.ended
	if n := len(l.indices) - 1; n > 0 {
		text += ", nor did " + count(n, "other")
	}
	output, last := l.output(ctx)
	if output == "" {
		return text + "; " + l.j.noOutput()
	}
	l.f.lock()
	l.j.trouble = text + ": " + last
	l.f.mu.Unlock()
	return text + output
}

// idle says that the elements run without their workers, and what the first has
// printed.
func (l *lost) idle(ctx context.Context) string {
	output, _ := l.output(ctx)
	return l.j.idle + output
}

// output is the end of what the first has printed, with its last line; empty without
// any.
func (l *lost) output(ctx context.Context) (text, last string) {
	file, tail := l.j.tail(ctx, l.indices[0], l.f.secretsOf(l.j))
	if tail == "" {
		return "", ""
	}
	lines := strings.Split(tail, "\n")
	return "; its output ends:\n  " + strings.Join(lines, "\n  ") + "\n  (" + file + l.j.launch.where() + ")", lines[len(lines)-1]
}

// where says on which machine the launch's files are, if it is not this one.
func (l *launch) where() string {
	login := l.at.login()
	if (plan.Place{Login: login}).Here() {
		return ""
	}
	return " on " + login.Name()
}

// noOutput says where output would be.
func (j *job) noOutput() string {
	switch {
	case j.endpoint.rules().away:
		return "what it printed is with " + j.endpoint.String()
	case j.Stdout == "":
	case j.literal():
		return "it left nothing in " + j.Stdout + j.launch.where() + ", where the launcher sends what it prints: is that folder there?"
	default:
		return "what it printed went where the launcher says, " + j.Stdout
	}
	return "it left no output in " + j.launch.output + j.launch.where()
}

// tail returns the end of an element's output and its file, as far as that is known.
func (j *job) tail(ctx context.Context, index int, secrets []string) (file, text string) {
	ctx, cancel := context.WithTimeout(ctx, tailTime)
	defer cancel()
	for _, file := range j.files(index) {
		b, err := j.launch.at.tail(ctx, file, tailBytes+hideBytes)
		if err != nil {
			continue
		}
		text := mhttp.Hide(string(b), secrets)
		text = strings.TrimSpace(terminal.Safe(text[max(len(text)-tailBytes, 0):]))
		if lines := strings.Split(text, "\n"); len(lines) > tailLines {
			text = strings.Join(lines[len(lines)-tailLines:], "\n")
		}
		return file, text
	}
	return "", ""
}

// secretsOf are texts that the command that started a job was given, as far as that is
// known here.
func (f *Fleet) secretsOf(j *job) []string {
	f.lock()
	defer f.mu.Unlock()
	if k, is := j.how.(*plan.Command); is && j.part < len(k.Starts) {
		return k.Starts[j.part].Secrets
	}
	return nil
}

// literal reports whether the user's setting is one file, and not a pattern that the
// scheduler understands.
func (j *job) literal() bool { return path.IsAbs(j.Stdout) && !strings.ContainsAny(j.Stdout, "%$^") }

// files are those in which an element's output may be.
func (j *job) files(index int) []string {
	if j.Stdout != "" {
		if j.literal() {
			return []string{j.Stdout}
		}
		return nil
	}
	var list []string
	for _, name := range []string{fmt.Sprintf("%d.out", index), "out", fmt.Sprintf("out-%d", index)} {
		list = append(list, j.launch.output+"/"+name)
	}
	return list
}
