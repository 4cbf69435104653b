package testbed

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// lsf is LSF 10, and OpenLava where that is known better.
//
// DOUBLE_CLEAN_PERIOD is for how long an ended job is listed: CLEAN_PERIOD of
// lsb.params, an hour.
type lsf struct{ *double }

// The limits of LSF and of its one queue.
const (
	lsfArrayMax   = 1000     // MAX_JOB_ARRAY_SIZE
	lsfRunLimit   = 7 * 1440 // minutes
	lsfMemLimit   = 256 << 20
	lsfProcLimit  = 64
	lsfVersion    = "IBM Spectrum LSF Standard 10.1.0.0, Jul 08 2016\nCopyright International Business Machines Corp. 1992, 2016.\n  binary type: linux3.10-glibc2.17-x86_64"
	lsfMostOfName = 4094
)

func (l lsf) commands() map[string]func([]string) int {
	versions := map[string]func([]string) int{"bsub": l.bsub, "bjobs": l.bjobs, "bkill": l.bkill, "bqueues": l.bqueues, "bparams": l.bparams}
	for name, command := range versions {
		versions[name] = func(args []string) int {
			if slices.Equal(args, []string{"-V"}) {
				return say(0, lsfVersion)
			}
			return command(args)
		}
	}
	versions["lsid"] = func([]string) int {
		fmt.Println(lsfVersion + "\n\nMy cluster name is cluster1\nMy master name is host")
		return 0
	}
	return versions
}

func (lsf) first() int { return 101 }

func (lsf) id(j *doubleJob, i int, element bool) string {
	if element && j.Indices != nil {
		return strconv.Itoa(j.Seq) + "[" + strconv.Itoa(i) + "]"
	}
	return strconv.Itoa(j.Seq)
}

// allowed: blanks, bars and line breaks are taken.
func (lsf) allowed(name string) bool {
	return name != "" && len(name) <= lsfMostOfName && !strings.ContainsAny(name, "[]/")
}

func (lsf) environment(j *doubleJob, i int) []string {
	name := j.Name
	if j.Indices != nil {
		name += "[" + strconv.Itoa(i) + "]"
	}
	return []string{"LSB_JOBID=" + strconv.Itoa(j.Seq), "LSB_JOBINDEX=" + strconv.Itoa(i), "LSB_JOBNAME=" + name, "LSB_QUEUE=normal",
		"LSB_HOSTS=node", "LSB_SUB_HOST=login", "LSFUSER=" + me()}
}

func (lsf) ending() ending {
	return ending{signals: []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL}, delay: 10 * time.Second, base: 128, walltime: 140,
		said: func(*doubleJob) string { return "TERM_RUNLIMIT: job killed after reaching LSF run time limit." }}
}

// remembered: an array is listed as long as its last element.
func (lsf) remembered(_ time.Time, over bool, last time.Time) bool {
	return !over || time.Since(last) < setting("DOUBLE_CLEAN_PERIOD", time.Hour)
}

// deliver appends a report and the output, into a folder that is missing nothing.
func (l lsf) deliver(j *doubleJob, i int) {
	path := strings.NewReplacer("%J", strconv.Itoa(j.Seq), "%I", strconv.Itoa(i))
	for _, stream := range streamsOf(j) {
		to := path.Replace(map[string]string{"OU": j.Output, "ER": j.Error}[stream])
		if to == "" {
			continue
		}
		if !strings.HasPrefix(to, "/") {
			to = j.From + "/" + to
		}
		b, _ := os.ReadFile(l.spool(j, i, stream))
		if stream == "OU" {
			b = append(l.report(j, i), b...)
		}
		if f, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err == nil {
			f.Write(b)
			f.Close()
		}
	}
}

// report is what LSF puts before a job's output.
func (l lsf) report(j *doubleJob, i int) []byte {
	unlock := l.lock()
	defer unlock()
	s, word := l.state(j, i), "Done"
	if s.number != 0 {
		word = "Exited"
	}
	return fmt.Appendf(nil, "Sender: LSF System <lsf@node>\nSubject: Job %s: <%s> in cluster <cluster1> %s\n\nJob <%s> was submitted from host <login> by user <%s> in cluster <cluster1>.\n\nThe output (if any) follows:\n\n",
		l.id(j, i, true), j.Name, word, j.Name, j.User)
}

// Options of bsub, by whether they take a value.
var (
	bsubValued = strings.Fields("-J -W -We -q -o -oo -e -eo -n -M -R -P -gpu -G -m -w -c -C -D -F -S -T -v -i -is -E -Ep -b -t -u -L -Q -U -app -g -sla -sp -cwd -outdir -env -a -k -Jd")
	bsubFlags  = strings.Fields("-x -H -r -rn -B -N -K -I -Ip -Is -ul")
)

// bsub reads directives from standard input only: with a file as its argument it
// runs that as a command.
func (l lsf) bsub(args []string) int {
	options, command, code := bsubOptions(args)
	if code != 0 {
		return code
	}
	script := "#!/bin/sh\n" + strings.Join(command, " ") + "\n"
	if len(command) == 0 {
		b, _ := io.ReadAll(os.Stdin)
		script = string(b)
		if strings.TrimSpace(script) == "" {
			return say(255, "Empty job. Job not submitted.")
		}
		var given []option
		for _, line := range directives(script, "#BSUB") {
			some, _, code := bsubOptions(words(line))
			if code != 0 {
				return code
			}
			given = append(given, some...)
		}
		options = append(given, options...)
	}
	j := &doubleJob{Dir: wd(), From: wd(), Env: os.Environ(), Join: true, Queue: "normal"}
	for _, o := range options {
		if code := l.bsubOption(j, o); code != 0 {
			return code
		}
	}
	if j.Name == "" {
		j.Name = strings.Join(command, " ")
	}
	l.accept(j, []byte(script))
	_, chosen := has(options, "-q")
	switch {
	case os.Getenv("BSUB_QUIET") != "":
	case chosen:
		fmt.Printf("Job <%d> is submitted to queue <normal>.\n", j.Seq)
	default:
		fmt.Printf("Job <%d> is submitted to default queue <normal>.\n", j.Seq)
	}
	return 0
}

// bsubOptions takes a line apart: options, then a command.
func bsubOptions(args []string) (list []option, command []string, code int) {
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		name := args[0]
		args = args[1:]
		switch {
		case slices.Contains(bsubFlags, name):
			list = append(list, option{name: name})
		case !slices.Contains(bsubValued, name):
			return nil, nil, say(255, "%s: Illegal option. Job not submitted.", name)
		case len(args) == 0:
			return nil, nil, say(255, "%s: Missing argument. Job not submitted.", name)
		default:
			list = append(list, option{name, args[0]})
			args = args[1:]
		}
	}
	return list, args, 0
}

func (l lsf) bsubOption(j *doubleJob, o option) int {
	switch v := o.value; o.name {
	case "-J":
		return l.jobName(j, v)
	case "-W":
		minutes, ok := lsfMinutes(v)
		if !ok {
			return say(255, "%s: Bad RUNLIMIT specification. Job not submitted.", v)
		}
		if minutes > lsfRunLimit {
			return say(255, "RUNLIMIT: Cannot exceed queue's hard limit(s). Job not submitted.")
		}
		j.Walltime = time.Duration(minutes) * time.Minute
	case "-q":
		if v != "normal" {
			return say(255, "%s: No such queue. Job not submitted.", v)
		}
	case "-o", "-oo":
		j.Output = v
	case "-e", "-eo":
		j.Error, j.Join = v, false
	case "-H":
		j.Held = true
	case "-L":
		j.Shell = v
	case "-n":
		switch n, err := strconv.Atoi(v); {
		case err != nil || n < 1:
			return say(255, "%s: Bad argument. Job not submitted.", v)
		case n > lsfProcLimit:
			return say(255, "Too many processors requested. Job not submitted.")
		}
	case "-M":
		kilobytes, ok := lsfKilobytes(v)
		switch {
		case !ok:
			return say(255, "%s: Bad MEMLIMIT specification. Job not submitted.", v)
		case kilobytes > lsfMemLimit:
			return say(255, "MEMLIMIT: Cannot exceed queue's hard limit(s). Job not submitted.")
		}
	}
	return 0
}

var lsfNameForm = regexp.MustCompile(`^([^\[\]]*)(?:\[([0-9]+(?:-[0-9]+)?(?::[0-9]+)?(?:,[0-9]+(?:-[0-9]+)?(?::[0-9]+)?)*)\](?:%([0-9]+))?)?$`)

// jobName reads NAME or NAME[1-20:2,30]%4.
func (l lsf) jobName(j *doubleJob, v string) int {
	m := lsfNameForm.FindStringSubmatch(v)
	if m == nil || !l.allowed(m[1]) {
		return say(255, "%s: Bad job name. Job not submitted.", v)
	}
	j.Name, j.Indices, j.Throttle = m[1], nil, 0
	if m[2] == "" {
		return 0
	}
	for _, part := range strings.Split(m[2], ",") {
		span, step, stepped := strings.Cut(part, ":")
		by, _ := strconv.Atoi(step)
		if stepped && by == 0 {
			return say(255, "%s: Bad job name. Job not submitted.", v)
		}
		j.Indices = append(j.Indices, spread(span, by)...)
	}
	slices.Sort(j.Indices)
	j.Indices = slices.Compact(j.Indices)
	if len(j.Indices) == 0 || j.Indices[0] == 0 {
		return say(255, "%s: Bad job name. Job not submitted.", v)
	}
	if j.Indices[len(j.Indices)-1] > lsfArrayMax {
		return say(255, "%s: Job array index too large. Job not submitted.", v)
	}
	j.Throttle, _ = strconv.Atoi(m[3])
	return 0
}

// lsfMinutes reads H:M or minutes.
func lsfMinutes(v string) (int, bool) {
	v, _, _ = strings.Cut(v, "/")
	h, m, colon := strings.Cut(v, ":")
	if !colon {
		h, m = "0", h
	}
	hours, err1 := strconv.Atoi(h)
	minutes, err2 := strconv.Atoi(m)
	return hours*60 + minutes, err1 == nil && err2 == nil && hours >= 0 && minutes >= 0
}

var lsfMemForm = regexp.MustCompile(`(?i)^([0-9]+)(k|m|g|t)?b?$`)

// lsfKilobytes reads a limit, in kilobytes unless it has a unit.
func lsfKilobytes(v string) (int64, bool) {
	m := lsfMemForm.FindStringSubmatch(v)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if unit := strings.ToLower(m[2]); unit != "" {
		n <<= 10 * strings.IndexByte("kmgt", unit[0])
	}
	return n, err == nil && n > 0
}
