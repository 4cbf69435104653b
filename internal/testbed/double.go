package testbed

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Double is what the commands of a scheduler that cannot be installed here do:
// qsub, qstat, qdel and qselect of PBS Pro ("pbs") and Torque ("torque"), and
// bsub, bjobs, bkill and bparams of LSF ("lsf"). They take what the real ones
// take, refuse what they refuse, in their words and with their exit status,
// and run the jobs they have taken, four at once, with the environment,
// directory, output and signals that jobs get there.
//
// $DOUBLE_DIR holds the state. A process of its own runs each job; there is no
// server.
func Double(kind string, args []string) int {
	d := &double{kind: kind, dir: os.Getenv("DOUBLE_DIR")}
	if args[0] == "run" {
		return d.run(args[1])
	}
	unlock := d.lock()
	defer unlock()
	return map[string]func([]string) int{"qsub": d.qsub, "qstat": d.qstat, "qdel": d.qdel, "qselect": d.qselect,
		"bsub": d.bsub, "bjobs": d.bjobs, "bkill": d.bkill, "bparams": d.bparams}[args[0]](args[1:])
}

type double struct{ kind, dir string }

// doubleJob is a job that was taken.
type doubleJob struct {
	Seq      int
	Name     string
	Indices  []int // nil is a plain job
	Throttle int
	Walltime time.Duration
	Output   string
	Join     bool // stderr goes with stdout
	Env      []string
	Dir      string
	Shell    string
}

func (d *double) lock() func() {
	f, err := os.OpenFile(filepath.Join(d.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		panic(err)
	}
	return func() { f.Close() }
}

func say(code int, format string, args ...any) int {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	return code
}

const qsubUsage = "usage: qsub [-a date_time] [-A account_string] [-c interval]\n\t[-C directive_prefix] [-e path] [-f ] [-h ] [-I [-X]] [-j oe|eo]"

// usage is a refusal with the usage text, as for an option that this scheduler
// does not have.
func usage(format string, args ...any) int { return say(2, format+"\n"+qsubUsage, args...) }

// qsub reads a script from standard input; directives stop at the first line
// that is no comment.
func (d *double) qsub(args []string) int {
	if slices.Contains(args, "--version") {
		if d.kind == "pbs" {
			return say(0, "pbs_version = 23.06.06")
		}
		return say(0, "Version: 6.1.3")
	}
	script, _ := io.ReadAll(os.Stdin)
	if strings.Contains(string(script), "\r\n") && d.kind == "pbs" {
		return say(1, "qsub: script contains cr, lf")
	}
	words := directives(string(script), "#PBS")
	words = append(words, args...)
	j := &doubleJob{Name: "STDIN"}
	me, _ := user.Current()
	j.Dir = os.Getenv("HOME")
	j.Env = []string{"HOME=" + j.Dir, "USER=" + me.Username, "LOGNAME=" + me.Username, "PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C",
		"PBS_ENVIRONMENT=PBS_BATCH", "PBS_O_HOME=" + j.Dir, "PBS_O_PATH=" + os.Getenv("PATH"), "PBS_O_WORKDIR=" + wd(), "DOUBLE_DIR=" + d.dir}
	var resources []string
	for i := 0; i < len(words); i += 2 {
		opt := words[i]
		if opt == "-V" {
			j.Env = append(j.Env, os.Environ()...)
			i--
			continue
		}
		if len(opt) != 2 || opt[0] != '-' || i+1 >= len(words) {
			return usage("qsub: invalid option -- '%s'", strings.TrimLeft(opt, "-"))
		}
		v := words[i+1]
		switch opt {
		case "-N":
			if strings.Trim(strings.ToLower(v), "abcdefghijklmnopqrstuvwxyz0123456789-_+") != "" { // Libcmds/ck_job_name.c
				return say(1, "qsub: illegal -N value")
			}
			if len(v) > map[string]int{"pbs": 230, "torque": 15}[d.kind] || d.kind == "torque" && !regexp.MustCompile("^[A-Za-z]").MatchString(v) {
				return say(1, "qsub: illegal -N value")
			}
			j.Name = v
		case "-J", "-t":
			if opt != map[string]string{"pbs": "-J", "torque": "-t"}[d.kind] {
				return usage("qsub: invalid option -- '%s'", opt[1:])
			}
			if code := d.array(j, v); code != 0 {
				return code
			}
		case "-l":
			resources = append(resources, strings.Split(v, ",")...)
		case "-o":
			j.Output = v
		case "-j":
			j.Join = true
		case "-q":
			if v != "workq" && v != "batch" {
				return say(170, "qsub: Unknown queue")
			}
		case "-A", "-r", "-k", "-S", "-e":
		default:
			return usage("qsub: invalid option -- '%s'", opt[1:])
		}
	}
	if code := d.resources(j, resources); code != 0 {
		return code
	}
	j.Env = append(j.Env, "PBS_JOBNAME="+j.Name)
	id := d.accept(j, script)
	fmt.Println(id)
	return 0
}

func wd() string {
	dir, _ := os.Getwd()
	return dir
}

// directives returns the words of the lines that are the scheduler's.
func directives(script, prefix string) []string {
	var words []string
	for line := range strings.Lines(script) {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, prefix); ok {
			words = append(words, fields(rest)...)
		} else if line != "" && line[0] != '#' {
			break
		}
	}
	return words
}

// fields splits at blanks outside of double quotes, and -x5 into -x 5.
func fields(s string) []string {
	var words []string
	for _, w := range regexp.MustCompile(`"[^"]*"\S*|\S+`).FindAllString(s, -1) {
		words = append(words, strings.ReplaceAll(w, `"`, ""))
	}
	return words
}

func (d *double) array(j *doubleJob, v string) int {
	pattern := `^([0-9]+)-([0-9]+)(:[0-9]+)?(%[0-9]+)?$` // PBS Pro: one range of more than one
	if d.kind == "torque" {
		pattern = `^[0-9,-]+(:[0-9]+)?(%[0-9]+)?$`
	}
	if !regexp.MustCompile(pattern).MatchString(v) {
		return usage("qsub: illegal -%s value", map[string]string{"pbs": "J", "torque": "t"}[d.kind])
	}
	list, throttle, _ := strings.Cut(v, "%")
	j.Throttle, _ = strconv.Atoi(throttle)
	list, step, _ := strings.Cut(list, ":")
	by := 1
	if step != "" {
		by, _ = strconv.Atoi(step)
	}
	for _, part := range strings.Split(list, ",") {
		first, last, ranged := strings.Cut(part, "-")
		a, _ := strconv.Atoi(first)
		b := a
		if ranged {
			b, _ = strconv.Atoi(last)
		}
		for i := a; i <= b; i += max(by, 1) {
			j.Indices = append(j.Indices, i)
		}
	}
	if d.kind == "pbs" && len(j.Indices) < 2 {
		return usage("qsub: illegal -J value")
	}
	if d.kind == "pbs" && len(j.Indices) > 10_000 {
		return say(3, "qsub: Array job exceeds server or queue size limit")
	}
	return 0
}

var pbsResources = map[string][]string{
	"pbs":    {"select", "walltime", "ncpus", "mem", "nodes", "ngpus", "place", "cput"},
	"torque": {"nodes", "walltime", "mem", "pmem", "procs", "ncpus", "cput"},
}

func (d *double) resources(j *doubleJob, list []string) int {
	seen := map[string]bool{}
	for _, r := range list {
		name, v, _ := strings.Cut(r, "=")
		if !slices.Contains(pbsResources[d.kind], name) {
			return say(187, "qsub: Unknown resource: %s", name)
		}
		seen[name] = true
		if name != "walltime" {
			continue
		}
		if !regexp.MustCompile(`^([0-9]+:){0,2}[0-9]+$`).MatchString(v) {
			return say(166, "qsub: Illegal attribute or resource value Resource_List.walltime")
		}
		for _, part := range strings.Split(v, ":") {
			n, _ := strconv.Atoi(part)
			j.Walltime = j.Walltime*60 + time.Duration(n)*time.Second
		}
	}
	if seen["select"] && (seen["ncpus"] || seen["mem"] || seen["nodes"]) {
		return say(5, `qsub: "-lresource=" cannot be used with "select" or "place", resource is: ncpus`)
	}
	return 0
}

// accept keeps a job and starts what runs it.
func (d *double) accept(j *doubleJob, script []byte) string {
	first := map[string]int{"pbs": 0, "torque": 1, "lsf": 101}[d.kind]
	taken, _ := filepath.Glob(filepath.Join(d.dir, "jobs", "*"))
	j.Seq = first + len(taken)
	dir := d.jobDir(j.Seq)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		panic(err)
	}
	b, _ := json.Marshal(j)
	os.WriteFile(filepath.Join(dir, "job.json"), b, 0o600)
	os.WriteFile(filepath.Join(dir, "script"), script, 0o700)
	for _, i := range j.indices() {
		d.set(j.Seq, i, "Q")
	}
	exe, _ := os.Executable()
	cmd := exec.Command(exe, "run", strconv.Itoa(j.Seq))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	return d.id(j, 0, false)
}

func (j *doubleJob) indices() []int {
	if j.Indices == nil {
		return []int{0}
	}
	return j.Indices
}

func (d *double) jobDir(seq int) string {
	return filepath.Join(d.dir, "jobs", fmt.Sprintf("%06d", seq))
}

// id writes a job's id, or an element's.
func (d *double) id(j *doubleJob, index int, element bool) string {
	n := strconv.Itoa(j.Seq)
	switch {
	case d.kind == "lsf":
		return n
	case j.Indices == nil:
		return n + ".server"
	case element:
		return n + "[" + strconv.Itoa(index) + "].server"
	}
	return n + "[].server"
}

// set and state keep how an element stands: Q; R and the process; X and the
// exit status.
func (d *double) set(seq, index int, state string) {
	p := filepath.Join(d.jobDir(seq), strconv.Itoa(index)+".state")
	os.WriteFile(p+".new", []byte(state), 0o600)
	os.Rename(p+".new", p)
}

func (d *double) state(seq, index int) (string, int) {
	b, _ := os.ReadFile(filepath.Join(d.jobDir(seq), strconv.Itoa(index)+".state"))
	letter, n, _ := strings.Cut(string(b), " ")
	number, _ := strconv.Atoi(n)
	return letter, number
}

func (d *double) jobs() []*doubleJob {
	var list []*doubleJob
	paths, _ := filepath.Glob(filepath.Join(d.dir, "jobs", "*", "job.json"))
	for _, p := range paths {
		j := &doubleJob{}
		b, _ := os.ReadFile(p)
		if json.Unmarshal(b, j) == nil {
			list = append(list, j)
		}
	}
	return list
}

// ended reports whether no element waits or runs.
func (d *double) ended(j *doubleJob) bool {
	return !slices.ContainsFunc(j.indices(), func(i int) bool {
		s, _ := d.state(j.Seq, i)
		return s != "X"
	})
}

// slots is how many elements run at once.
const slots = 4

// run runs a job's elements.
func (d *double) run(arg string) int {
	seq, _ := strconv.Atoi(arg)
	var j *doubleJob
	for _, k := range d.jobs() {
		if k.Seq == seq {
			j = k
		}
	}
	atOnce := slots
	if j.Throttle > 0 {
		atOnce = min(slots, j.Throttle)
	}
	room := make(chan struct{}, atOnce)
	done := make(chan struct{})
	for _, i := range j.indices() {
		go func() {
			room <- struct{}{}
			d.element(j, i)
			<-room
			done <- struct{}{}
		}()
	}
	for range j.indices() {
		<-done
	}
	return 0
}

// element runs one element to its end.
func (d *double) element(j *doubleJob, i int) {
	unlock := d.lock()
	if s, _ := d.state(j.Seq, i); s != "Q" { // deleted meanwhile
		unlock()
		return
	}
	spool := filepath.Join(d.jobDir(j.Seq), strconv.Itoa(i)+".OU")
	out, _ := os.Create(spool)
	cmd := exec.Command("/bin/sh", "-c", `exec "$0"`, filepath.Join(d.jobDir(j.Seq), "script"))
	cmd.Dir, cmd.Stdout, cmd.Stderr = j.Dir, out, out
	cmd.Env = append(slices.Clone(j.Env), d.jobEnv(j, i)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err := cmd.Start()
	if err != nil {
		fmt.Fprintln(out, err)
		d.set(j.Seq, i, "X 126")
		unlock()
		return
	}
	d.set(j.Seq, i, "R "+strconv.Itoa(cmd.Process.Pid))
	unlock()
	over := make(chan struct{})
	go d.guard(j, i, cmd.Process.Pid, out, over)
	cmd.Wait()
	close(over)
	code := cmd.ProcessState.ExitCode()
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signaled() {
		code = map[string]int{"pbs": 256, "torque": 256, "lsf": 128}[d.kind] + int(ws.Signal())
	}
	out.Close()
	unlock = d.lock()
	defer unlock()
	d.deliver(j, i, spool)
	d.set(j.Seq, i, "X "+strconv.Itoa(code))
}

// guard ends an element at its walltime, or when it is to be deleted.
func (d *double) guard(j *doubleJob, i, pid int, out io.Writer, over chan struct{}) {
	began := time.Now()
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		select {
		case <-over:
			return
		case <-tick.C:
		}
		if j.Walltime > 0 && time.Since(began) > j.Walltime {
			d.atWalltime(j, out)
			d.kill(pid)
			return
		}
		if _, err := os.Stat(d.deleted(j.Seq, i)); err == nil {
			d.kill(pid)
			return
		}
	}
}

// deleted is the file that says that an element is to be deleted.
func (d *double) deleted(seq, index int) string {
	return filepath.Join(d.jobDir(seq), strconv.Itoa(index)+".delete")
}

// end deletes an element: what waits is gone, what runs is ended by its guard.
func (d *double) end(j *doubleJob, i int) {
	switch s, _ := d.state(j.Seq, i); s {
	case "Q":
		d.set(j.Seq, i, "X 271")
	case "R":
		os.WriteFile(d.deleted(j.Seq, i), nil, 0o600)
	}
}

func (d *double) jobEnv(j *doubleJob, i int) []string {
	id, index := d.id(j, i, true), strconv.Itoa(i)
	switch {
	case d.kind == "lsf":
		return []string{"LSB_JOBID=" + id, "LSB_JOBINDEX=" + index, "LSB_JOBNAME=" + j.Name}
	case j.Indices == nil:
		return []string{"PBS_JOBID=" + id}
	case d.kind == "torque":
		return []string{"PBS_JOBID=" + id, "PBS_ARRAYID=" + index}
	}
	return []string{"PBS_JOBID=" + id, "PBS_ARRAY_INDEX=" + index, "PBS_ARRAY_ID=" + d.id(j, 0, false)}
}

func (d *double) atWalltime(j *doubleJob, out io.Writer) {
	n := int(j.Walltime / time.Second)
	if d.kind == "lsf" {
		fmt.Fprintln(out, "TERM_RUNLIMIT: job killed after reaching LSF run time limit.")
		return
	}
	fmt.Fprintf(out, "=>> PBS: job killed: walltime %d exceeded limit %d\n", n+1, n)
}

// deliver copies the output to its place, where it is seen only now.
func (d *double) deliver(j *doubleJob, i int, spool string) {
	to, index := j.Output, strconv.Itoa(i)
	switch {
	case to == "":
		return
	case d.kind == "pbs":
		to = strings.ReplaceAll(to, "^array_index^", index)
	case d.kind == "torque" && j.Indices != nil:
		to += "-" + index
	case d.kind == "lsf":
		to = strings.NewReplacer("%J", strconv.Itoa(j.Seq), "%I", index).Replace(to)
	}
	b, _ := os.ReadFile(spool)
	if d.kind == "lsf" {
		b = append(fmt.Appendf(nil, "Sender: LSF System <lsf@host>\nSubject: Job %d: <%s> Done\n\nThe output (if any) follows:\n\n", j.Seq, j.Name), b...)
	}
	os.WriteFile(to, b, 0o600) // into a folder that is missing: undelivered
}

// killDelay is what the real ones wait between signals: 10 s in PBS Pro and
// LSF, 2 s in Torque. $DOUBLE_KILL_DELAY shortens it.
func (d *double) killDelay() time.Duration {
	if t, err := time.ParseDuration(os.Getenv("DOUBLE_KILL_DELAY")); err == nil {
		return t
	}
	if d.kind == "torque" {
		return 2 * time.Second
	}
	return 10 * time.Second
}

// kill signals every process of a job's session, as the real ones do.
func (d *double) kill(pid int) {
	signals := []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL}
	if d.kind == "lsf" {
		signals = []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL}
	}
	for i, sig := range signals {
		if i > 0 {
			for end := time.Now().Add(d.killDelay()); time.Now().Before(end) && len(session(pid)) > 0; {
				time.Sleep(20 * time.Millisecond)
			}
		}
		for _, p := range session(pid) {
			syscall.Kill(p, sig)
		}
	}
}

// session lists the living processes of a session.
func session(sid int) []int {
	var list []int
	paths, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, p := range paths {
		b, _ := os.ReadFile(p)
		_, rest, _ := strings.Cut(string(b), ") ")
		f := strings.Fields(rest)
		if len(f) > 3 && f[0] != "Z" && f[3] == strconv.Itoa(sid) {
			pid, _ := strconv.Atoi(strings.Split(p, "/")[2])
			list = append(list, pid)
		}
	}
	return list
}

// find returns the job of an id and the elements that it names.
func (d *double) find(id string) (*doubleJob, []int) {
	m := regexp.MustCompile(`^([0-9]+)(?:\[([0-9,-]*)\])?(?:\.server)?$`).FindStringSubmatch(id)
	if m == nil {
		return nil, nil
	}
	for _, j := range d.jobs() {
		if strconv.Itoa(j.Seq) != m[1] {
			continue
		}
		if m[2] == "" {
			return j, j.indices()
		}
		var some []int
		first, last, ranged := strings.Cut(m[2], "-")
		a, _ := strconv.Atoi(first)
		b := a
		if ranged {
			b, _ = strconv.Atoi(last)
		}
		for i := a; i <= b; i++ {
			if slices.Contains(j.indices(), i) {
				some = append(some, i)
			}
		}
		return j, some
	}
	return nil, nil
}

// qstat knows the two calls that muster makes: -t -f -F json IDS of PBS Pro and
// -t -x IDS of Torque.
func (d *double) qstat(args []string) int {
	if slices.Contains(args, "-B") {
		fmt.Println("Server: server\n    server_state = Active")
		return 0
	}
	options := map[string][]string{"pbs": {"-t", "-f", "-F", "json"}, "torque": {"-t", "-x"}}[d.kind]
	if len(args) < len(options) || !slices.Equal(args[:len(options)], options) {
		return say(2, "usage:\nqstat [-f] [-J] [-p] [-t] [-x] [-E] [-F format] [-D delim] [ job_identifier... | destination... ]")
	}
	jobs, rows := map[string]any{}, ""
	code := 0
	for _, id := range args[len(options):] {
		j, _ := d.find(id)
		switch {
		case j == nil:
			code = say(153, "qstat: Unknown Job Id %s", id)
			continue
		case d.kind == "pbs" && d.ended(j):
			code = say(35, "qstat: %s Job has finished, use -x or -H to obtain historical job information", id)
			continue
		}
		begun := false
		for _, i := range j.indices() {
			s, n := d.state(j.Seq, i)
			begun = begun || s != "Q"
			eid := d.id(j, i, true)
			row := map[string]any{"Job_Name": j.Name, "job_state": s}
			if s == "R" {
				row["exec_host"] = "node/0"
			}
			if s == "X" {
				row["Exit_status"] = n
			}
			jobs[eid] = row
			rows += fmt.Sprintf("<Job><Job_Id>%s</Job_Id><Job_Name>%s</Job_Name><job_state>%s</job_state></Job>", eid, j.Name, strings.Replace(s, "X", "C", 1))
		}
		if j.Indices != nil {
			jobs[d.id(j, 0, false)] = map[string]any{"Job_Name": j.Name, "job_state": map[bool]string{true: "B", false: "Q"}[begun]}
		}
	}
	if d.kind == "torque" {
		fmt.Print("<Data>" + rows + "</Data>")
		return code
	}
	answer := map[string]any{"timestamp": 1, "pbs_version": "23.06.06", "pbs_server": "server"}
	if len(jobs) > 0 {
		answer["Jobs"] = jobs
	}
	b, _ := json.Marshal(answer)
	os.Stdout.Write(b)
	return code
}

func (d *double) qdel(args []string) int {
	code := 0
	for _, id := range args {
		j, some := d.find(id)
		if j == nil || d.ended(j) {
			code = say(153, "qdel: Unknown Job Id %s", id)
			continue
		}
		for _, i := range some {
			d.end(j, i)
		}
	}
	return code
}

func (d *double) qselect(args []string) int {
	if len(args) != 4 || args[0] != "-u" || args[2] != "-N" {
		return say(2, "usage: qselect ...")
	}
	for _, j := range d.jobs() {
		if j.Name == args[3] && !d.ended(j) {
			fmt.Println(d.id(j, 0, false))
		}
	}
	return 0
}

// bsub reads directives from standard input only; with a file as its argument
// it would run that as a command.
func (d *double) bsub(args []string) int {
	script, _ := io.ReadAll(os.Stdin)
	words := append(directives(string(script), "#BSUB"), args...)
	j := &doubleJob{Dir: wd(), Env: os.Environ()}
	for i := 0; i < len(words); i += 2 {
		if i+1 >= len(words) {
			return say(255, "%s: Missing argument. Job not submitted.", words[i])
		}
		switch v := words[i+1]; words[i] {
		case "-J":
			m := regexp.MustCompile(`^([^\[]*)(?:\[([0-9,:-]+)\](?:%([0-9]+))?)?$`).FindStringSubmatch(v)
			if m == nil {
				return say(255, "%s: Bad job name. Job not submitted.", v)
			}
			j.Name = m[1]
			if m[2] == "" {
				continue
			}
			list := &doubleJob{}
			(&double{kind: "torque"}).array(list, m[2])
			if j.Indices = list.Indices; len(j.Indices) == 0 || j.Indices[0] == 0 {
				return say(255, "%s: Bad job name. Job not submitted.", v)
			}
			if slices.Max(j.Indices) > 1000 {
				return say(255, "%s: Job array index too large. Job not submitted.", v)
			}
			j.Throttle, _ = strconv.Atoi(m[3])
		case "-W":
			h, m, colon := strings.Cut(v, ":")
			if !colon {
				h, m = "0", h
			}
			hours, err1 := strconv.Atoi(h)
			minutes, err2 := strconv.Atoi(m)
			if err1 != nil || err2 != nil {
				return say(255, "%s: Bad RUNLIMIT specification. Job not submitted.", v)
			}
			j.Walltime = time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
		case "-q":
			if v != "normal" {
				return say(255, "%s: No such queue. Job not submitted.", v)
			}
		case "-o":
			j.Output = v
		case "-n", "-M":
			if _, err := strconv.Atoi(v); err != nil {
				return say(255, "%s: Bad argument. Job not submitted.", v)
			}
		case "-R", "-P", "-gpu", "-e":
		default:
			return say(255, "%s: Illegal option. Job not submitted.", words[i])
		}
	}
	id := d.accept(j, script)
	fmt.Printf("Job <%s> is submitted to default queue <normal>.\n", id)
	return 0
}

func (d *double) bjobs(args []string) int {
	if !slices.Equal(args[:min(3, len(args))], []string{"-a", "-w", "-u"}) {
		return say(255, "Illegal option")
	}
	if len(d.jobs()) == 0 {
		return say(255, "No job found")
	}
	fmt.Println("JOBID   USER    STAT  QUEUE      FROM_HOST   EXEC_HOST   JOB_NAME   SUBMIT_TIME")
	for _, j := range d.jobs() {
		for _, i := range j.indices() {
			s, n := d.state(j.Seq, i)
			host, word, name := "-", map[string]string{"Q": "PEND", "R": "RUN", "X": "DONE"}[s], j.Name
			if s == "X" && n != 0 {
				word = "EXIT"
			}
			if s != "Q" {
				host = "node"
			}
			if j.Indices != nil {
				name += "[" + strconv.Itoa(i) + "]"
			}
			fmt.Printf("%-7d %-7s %-5s %-10s %-11s %-11s %-10s %s\n", j.Seq, args[3], word, "normal", "login", host, name, "Nov 24 12:00")
		}
	}
	return 0
}

func (d *double) bkill(args []string) int {
	code := 0
	for _, id := range args {
		if id == "0" {
			panic("bkill 0 would end all of a user's jobs")
		}
		j, some := d.find(id)
		if j == nil {
			code = say(255, "Job <%s>: No matching job found", id)
			continue
		}
		for _, i := range some {
			d.end(j, i)
		}
		fmt.Printf("Job <%s> is being terminated\n", id)
	}
	return code
}

func (d *double) bparams([]string) int {
	fmt.Println("MAX_JOB_ARRAY_SIZE = 1000")
	return 0
}
