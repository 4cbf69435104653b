package testbed

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// qsubRules are what PBS Pro's qsub and Torque's differ in.
type qsubRules struct {
	version   string
	letters   string // of getopt
	array     string // the option of an array
	usage     string
	queue     string   // the one there is
	resources []string // those that -l knows
	parse     func(j *doubleJob, v string) int
	check     func(resources map[string]string) int
	crlf      bool // accepted, and fails later
}

// qsub takes a script from a file or standard input. Options on the command line
// win over those in the script.
func (d *double) qsub(r qsubRules, args []string) int {
	if slices.Contains(args, "--version") {
		return say(0, "%s", r.version)
	}
	options, rest, err := getopt(r.letters, args)
	if err != nil || len(rest) > 1 {
		return say(2, "qsub: %v\n%s", err, r.usage)
	}
	script, name, err := qsubScript(rest)
	if err != nil {
		return say(1, "qsub: script file:: %v", err)
	}
	if strings.Contains(script, "\r\n") && !r.crlf {
		return say(1, "qsub: script contains cr, lf")
	}
	prefix := cmp.Or(os.Getenv("PBS_DPREFIX"), "#PBS")
	if v, ok := has(options, "C"); ok {
		prefix = v
	}
	var all []option
	for _, line := range directives(script, prefix) {
		some, rest, err := getopt(r.letters, words(line))
		if err != nil || len(rest) > 0 {
			return say(2, "qsub: directive error: %s\n%s", line, r.usage)
		}
		all = append(all, some...)
	}
	all = append(all, options...)
	j := &doubleJob{Name: name, Dir: os.Getenv("HOME"), From: wd(), Queue: r.queue}
	j.Env = qsubEnvironment(r.queue)
	if code := d.qsubOptions(r, j, all); code != 0 {
		return code
	}
	j.Env = append(j.Env, "PBS_JOBNAME="+j.Name, "PBS_QUEUE="+j.Queue, "DOUBLE_DIR="+d.dir)
	d.accept(j, []byte(script))
	if _, silent := has(all, "z"); !silent {
		fmt.Println(d.id(j, 0, false))
	}
	return 0
}

// qsubScript reads the script, and gives the job its name.
func qsubScript(rest []string) (text, name string, err error) {
	if len(rest) == 0 {
		b, err := io.ReadAll(os.Stdin)
		return string(b), "STDIN", err
	}
	b, err := os.ReadFile(rest[0])
	return string(b), rest[0][strings.LastIndexByte(rest[0], '/')+1:], err
}

// qsubEnvironment is what a job has of its submitter's: nothing but PBS_O_*.
func qsubEnvironment(queue string) []string {
	env := []string{"HOME=" + os.Getenv("HOME"), "USER=" + me(), "LOGNAME=" + me(), "PATH=/usr/local/bin:/usr/bin:/bin", "SHELL=/bin/sh", "LANG=C",
		"PBS_ENVIRONMENT=PBS_BATCH", "PBS_O_WORKDIR=" + wd(), "PBS_O_QUEUE=" + queue, "PBS_O_HOST=login", "PBS_O_SYSTEM=Linux"}
	for _, name := range []string{"HOME", "LANG", "LOGNAME", "PATH", "MAIL", "SHELL", "TZ"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, "PBS_O_"+name+"="+v)
		}
	}
	return env
}

// qsubOptions fills in a job.
func (d *double) qsubOptions(r qsubRules, j *doubleJob, all []option) int {
	resources := map[string]string{}
	for _, o := range all {
		if code := d.qsubOption(r, j, o, resources); code != 0 {
			return code
		}
	}
	if code := r.check(resources); code != 0 {
		return code
	}
	if v, ok := resources["walltime"]; ok {
		j.Walltime = pbsTime(v)
	}
	if v, ok := has(all, r.array); ok {
		if code := r.parse(j, v); code != 0 {
			return code
		}
	}
	j.Output = cmp.Or(j.Output, j.From+"/"+j.Name+".o^seq^")
	j.Error = cmp.Or(j.Error, j.From+"/"+j.Name+".e^seq^")
	return 0
}

func (d *double) qsubOption(r qsubRules, j *doubleJob, o option, resources map[string]string) int {
	switch v := o.value; o.name {
	case "V":
		j.Env = append(j.Env, os.Environ()...)
	case "v":
		for _, kv := range strings.Split(v, ",") {
			name, value, given := strings.Cut(kv, "=")
			if !given {
				value = os.Getenv(name)
			}
			j.Env = append(j.Env, name+"="+value)
		}
	case "N":
		if !d.allowed(v) {
			return say(2, "qsub: illegal -N value\n%s", r.usage)
		}
		j.Name = v
	case "l":
		for _, part := range strings.Split(v, ",") {
			name, value, _ := strings.Cut(part, "=")
			if !slices.Contains(r.resources, name) {
				return say(187, "qsub: Unknown resource: %s", name)
			}
			resources[name] = value
		}
	case "o":
		j.Output = hostless(v)
	case "e":
		j.Error = hostless(v)
	case "j":
		if !slices.Contains([]string{"oe", "eo", "n"}, v) {
			return say(2, "qsub: illegal -j value\n%s", r.usage)
		}
		j.Join = v != "n"
	case "k":
		j.Direct = strings.Contains(v, "d")
	case "q":
		if queue, _, _ := strings.Cut(v, "@"); queue != r.queue {
			return say(170, "qsub: Unknown queue")
		}
	case "r":
		if v != "y" && v != "n" {
			return say(2, "qsub: illegal -r value\n%s", r.usage)
		}
	case "S":
		j.Shell = v
	case "h":
		j.Held = true
	case "I":
		return say(1, "qsub:\tstandard input and output must be a terminal for\n\tinteractive job submission")
	case "X":
		return say(1, "qsub: DISPLAY not set")
	}
	return 0
}

// hostless is a path without the host before it.
func hostless(v string) string {
	if host, path, ok := strings.Cut(v, ":"); ok && !strings.Contains(host, "/") {
		return path
	}
	return v
}

var pbsTimeForm = regexp.MustCompile(`^([0-9]+:){0,2}[0-9]+$`)

// pbsTime reads H:M:S, M:S or seconds.
func pbsTime(v string) time.Duration {
	var t time.Duration
	for _, part := range strings.Split(v, ":") {
		n, _ := strconv.Atoi(part)
		t = t*60 + time.Duration(n)*time.Second
	}
	return t
}

var pbsSizeForm = regexp.MustCompile(`(?i)^([0-9]+)([kmgtp]?[bw])?$`)

// pbsSize reads 16gb and its like, in bytes.
func pbsSize(v string) (int64, bool) {
	m := pbsSizeForm.FindStringSubmatch(v)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	unit := strings.ToLower(m[2])
	if len(unit) == 2 {
		n <<= 10 * (1 + strings.IndexByte("kmgtp", unit[0]))
	}
	if strings.HasSuffix(unit, "w") {
		n *= 8
	}
	return n, err == nil
}

// The limits of the one queue.
const (
	queueWalltime = 168 * time.Hour
	queueCPUs     = 64
	queueMemory   = 256 << 30
)

// pbsLimits refuses what has no right form, and what is more than the queue has.
// tooMuch is the refusal of the scheduler.
func pbsLimits(resources map[string]string, cpus int, memory, tooMuch string) int {
	bad := func(name string) int {
		return say(166, "qsub: Illegal attribute or resource value Resource_List.%s", name)
	}
	for _, name := range []string{"walltime", "cput"} {
		if v, ok := resources[name]; ok && !pbsTimeForm.MatchString(v) {
			return bad(name)
		}
	}
	for _, name := range []string{"ncpus", "procs", "ngpus"} {
		v, ok := resources[name]
		if n, err := strconv.Atoi(v); ok && (err != nil || n < 0) {
			return bad(name)
		}
	}
	size, ok := pbsSize(cmp.Or(memory, "0"))
	if !ok {
		return bad("mem")
	}
	if pbsTime(resources["walltime"]) > queueWalltime || cpus > queueCPUs || size > queueMemory {
		return say(188, "qsub: %s", tooMuch)
	}
	return 0
}

// outputPath is where a stream of an element goes; element makes an element's
// name of the path of its array.
func outputPath(d *double, j *doubleJob, i int, stream string, element func(path string) string) string {
	to := j.Output
	if stream == "ER" {
		to = j.Error
	}
	standard := strings.Contains(to, "^seq^")
	to = strings.ReplaceAll(to, "^seq^", strconv.Itoa(j.Seq))
	if strings.HasSuffix(to, "/") {
		return to + d.id(j, i, true) + "." + stream
	}
	if info, err := os.Stat(to); err == nil && info.IsDir() {
		return to + "/" + d.id(j, i, true) + "." + stream
	}
	if !strings.HasPrefix(to, "/") {
		to = j.From + "/" + to
	}
	if standard && j.Indices != nil && element(to) == to {
		return to + "." + strconv.Itoa(i)
	}
	return element(to)
}

// streamsOf lists the streams that are delivered.
func streamsOf(j *doubleJob) []string {
	if j.Join {
		return []string{"OU"}
	}
	return []string{"OU", "ER"}
}
