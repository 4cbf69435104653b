package testbed

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// torque is Torque 6.1, with the names of jobs that older ones take.
//
// DOUBLE_KEEP_COMPLETED is for how long an ended job is listed, in state C: the
// server's keep_completed, 300 s at many sites.
type torque struct{ *double }

const torqueUsage = `usage: qsub [-a date_time] [-A account_string] [-b secs]
    [-c [ none | { enabled | periodic | shutdown |
    depth=<int> | dir=<path> | interval=<minutes>}... ]
    [-C directive_prefix] [-d path] [-D path]
    [-e path] [-h] [-I] [-j oe|eo|n] [-k {oe}] [-K <seconds>] [-l resource_list] [-m n|{abe}]
    [-M user_list] [-N jobname] [-o path] [-p priority] [-P proxy_user [-J <jobid]]
    [-q queue] [-r y|n] [-S path] [-t number_to_submit] [-T type]  [-u user_list]
    [-w] path [-W additional_attributes] [-v variable_list] [-V ] [-x] [-X] [-z] [script]`

// torqueArrayMax is the server's max_job_array_size.
const torqueArrayMax = 5_000

func (t torque) commands() map[string]func([]string) int {
	return map[string]func([]string) int{"qsub": t.qsub, "qstat": t.qstat, "qdel": t.qdel, "qselect": t.qselect, "qmgr": t.qmgr}
}

func (torque) first() int { return 1 }

func (torque) id(j *doubleJob, i int, element bool) string { return pbsDoubleID(j, i, element) }

var torqueName = regexp.MustCompile(`^[A-Za-z][!-~]{0,14}$`)

func (torque) allowed(name string) bool { return torqueName.MatchString(name) }

func (t torque) environment(j *doubleJob, i int) []string {
	env := []string{"PBS_JOBID=" + t.id(j, i, true)}
	if j.Indices != nil {
		env = append(env, "PBS_ARRAYID="+strconv.Itoa(i))
	}
	return env
}

func (torque) ending() ending {
	return ending{signals: []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL}, delay: 2 * time.Second, base: 256, walltime: -11, said: pbsOverTime}
}

func (torque) keepCompleted() time.Duration { return setting("DOUBLE_KEEP_COMPLETED", 5*time.Second) }

// remembered: each element of an array goes for itself.
func (t torque) remembered(ended time.Time, _ bool, _ time.Time) bool {
	return time.Since(ended) < t.keepCompleted()
}

// deliver appends -INDEX to the path of an array's element.
func (t torque) deliver(j *doubleJob, i int) {
	for _, stream := range streamsOf(j) {
		to := outputPath(t.double, j, i, stream, func(path string) string {
			if j.Indices == nil {
				return path
			}
			return path + "-" + strconv.Itoa(i)
		})
		if err := t.place(j, i, stream, to); err != nil {
			t.undelivered(j, i, stream, to, err)
		}
	}
}

func (t torque) qsub(args []string) int {
	return t.double.qsub(qsubRules{version: "Version: 6.1.3", letters: "a:A:b:c:C:d:D:e:EfF:hi:Ij:k:K:l:L:m:M:nN:o:p:P:q:r:S:t:T:u:v:Vw:W:Xxz",
		array: "t", usage: torqueUsage, queue: "batch", parse: torqueArray, crlf: true,
		check: func(resources map[string]string) int {
			return pbsLimits(resources, torqueCPUs(resources), resources["mem"], "Job exceeds queue resource limits MSG=cannot satisfy queue max resource requirement")
		},
		resources: []string{"nodes", "walltime", "mem", "pmem", "vmem", "pvmem", "procs", "ncpus", "cput"}}, args)
}

// torqueCPUs counts the processors that -l asks for.
func torqueCPUs(resources map[string]string) int {
	n, _ := strconv.Atoi(resources["procs"] + resources["ncpus"])
	nodes := strings.Split(resources["nodes"], ":")
	count, err := strconv.Atoi(nodes[0])
	if err != nil {
		return n
	}
	for _, part := range nodes[1:] {
		if v, ok := strings.CutPrefix(part, "ppn="); ok {
			each, _ := strconv.Atoi(v)
			return count * each
		}
	}
	return max(n, count)
}

var torqueArrayForm = regexp.MustCompile(`^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*(%[0-9]+)?$`)

// torqueArray reads ranges and single indices.
func torqueArray(j *doubleJob, v string) int {
	bad := func() int { return say(2, "qsub: submit error (Bad Job Array Request)") }
	if !torqueArrayForm.MatchString(v) {
		return bad()
	}
	list, throttle, _ := strings.Cut(v, "%")
	j.Throttle, _ = strconv.Atoi(throttle)
	j.Indices = spread(list, 1)
	if len(j.Indices) == 0 {
		return bad()
	}
	if len(j.Indices) > torqueArrayMax {
		return say(2, "qsub: submit error (Bad Job Array Request MSG=Requested array size too large, limit is %d)", torqueArrayMax)
	}
	slices.Sort(j.Indices)
	j.Indices = slices.Compact(j.Indices)
	return 0
}

// qdel ends jobs, or with -t some elements of an array.
func (t torque) qdel(args []string) int {
	options, ids, err := getopt("am:pt:W:", args)
	if err != nil || len(ids) == 0 {
		return say(2, "usage: qdel [{ -a | -c | -p | -t | -W delay | -m message}] [<JOBID>[<JOBID>]|'all'|'ALL']...")
	}
	list, _ := has(options, "t")
	code := 0
	for _, id := range ids {
		j, some := t.named(id)
		switch {
		case j == nil:
			code = say(153, "qdel: nonexistent job id: %s\nqdel: Unknown Job Id Error %s", id, full(id))
		case j.User != me():
			code = say(159, "qdel: Unauthorized Request  %s", full(id))
		case len(some) == 1 && !strings.Contains(id, "[]") && t.state(j, some[0]).letter == "X": // of an array those are passed over
			code = say(168, "qdel: Request invalid for state of job MSG=invalid state for job - COMPLETE %s", full(id))
		default:
			for _, i := range some {
				if list == "" || slices.Contains(spread(list, 1), i) {
					t.end(j, i)
				}
			}
		}
	}
	return code
}

// routed reports whether a job has left the routing queue, which it does when it
// starts.
func (t torque) routed(j *doubleJob) bool { return t.begun(j) }

func (t torque) qselect(args []string) int {
	options, rest, err := getopt("a:A:c:e:h:l:N:p:q:r:s:u:", args)
	if err != nil || len(rest) > 0 {
		return say(2, "usage: qselect [-a [op]date_time] [-A account_string] [-N name] [-s states] [-u user_name]")
	}
	_, onlyExec := os.LookupEnv("PBS_QSTAT_EXECONLY")
	t.selected(options, func(j *doubleJob) bool { return !t.ended(j) && (!onlyExec || t.routed(j)) })
	return 0
}

// qmgr prints the server's settings, and those of the queue.
func (t torque) qmgr(args []string) int {
	if len(args) != 2 || args[0] != "-c" || args[1] != "print server" && args[1] != "p s" {
		return say(1, "usage: qmgr [-a] [-c command] [-e] [-n] [-z] [server...]")
	}
	fmt.Printf("#\n# Create queues and set their attributes.\n#\n#\n# Create and define queue batch\n#\ncreate queue batch\nset queue batch queue_type = Execution\n"+
		"set queue batch resources_max.mem = %dgb\nset queue batch resources_max.ncpus = %d\nset queue batch resources_max.walltime = %d:00:00\n"+
		"set queue batch enabled = True\nset queue batch started = True\n#\n# Set server attributes.\n#\nset server scheduling = True\nset server acl_hosts = server\n"+
		"set server default_queue = batch\nset server keep_completed = %d\nset server max_job_array_size = %d\n",
		queueMemory>>30, queueCPUs, int(queueWalltime.Hours()), int(t.keepCompleted().Seconds()), torqueArrayMax)
	return 0
}

// qstat answers about the server, the queue, or jobs.
func (t torque) qstat(args []string) int {
	options, ids, err := getopt("aB1cCEefiGlMnqQrstu:xW:", args)
	if err != nil {
		return say(2, "usage:\nqstat [-f [-1]] [-W site_specific] [-x] [ job_identifier... | destination... ]\nqstat -Q [-f [-1]] [-W site_specific] [ destination... ]\nqstat -B [-f [-1]] [-W site_specific] [ server_name... ]\nqstat -t")
	}
	given := func(name string) bool { _, ok := has(options, name); return ok }
	switch {
	case given("f") && given("u"), given("B") && given("Q"):
		return say(2, "qstat: conflicting options.")
	case given("B"):
		fmt.Println("Server: server\n    server_state = Active\n    default_queue = batch\n    pbs_version = 6.1.3")
		return 0
	case given("Q"):
		fmt.Printf("Queue: batch\n    queue_type = Execution\n    resources_max.mem = %dgb\n    resources_max.ncpus = %d\n    resources_max.walltime = %d:00:00\n    enabled = True\n    started = True\n\n",
			queueMemory>>30, queueCPUs, int(queueWalltime.Hours()))
		return 0
	}
	user, _ := has(options, "u")
	rows, code := t.rows(ids, given("t"), given("e"), user)
	switch {
	case given("x"):
		printTorqueXML(rows)
	case given("f"):
		printPBSFull(rows)
	default:
		printPBSShort(rows, given("u"))
	}
	return code
}

// rows gathers what is asked for. PBS_QSTAT_EXECONLY, or -e, leaves out what waits
// in the routing queue, unless it is a plain job that is asked for by its id;
// PBS_QSTAT_NO_COMPLETE leaves out what has ended.
func (t torque) rows(ids []string, elements, onlyExec bool, user string) (rows []pbsRow, code int) {
	if os.Getenv("PBS_QSTAT_EXECONLY") != "" {
		onlyExec = true
	}
	add := func(j *doubleJob, some []int) {
		if j.Indices != nil && !elements {
			some = some[:1]
		}
		for _, i := range some {
			if s := t.state(j, i); s.letter != "X" || os.Getenv("PBS_QSTAT_NO_COMPLETE") == "" {
				rows = append(rows, t.row(j, i, elements))
			}
		}
	}
	if len(ids) == 0 {
		for _, j := range t.jobs() {
			if (user == "" || j.User == user) && (!onlyExec || t.routed(j)) {
				add(j, t.listed(j))
			}
		}
	}
	for _, id := range ids {
		switch j, some := t.named(id); {
		case j == nil:
			code = say(153, "qstat: Unknown Job Id Error %s", full(id))
		case onlyExec && j.Indices != nil && !t.routed(j):
		default:
			add(j, some)
		}
	}
	return rows, code
}

// row is a plain job, an element, or an array for all of its elements.
func (t torque) row(j *doubleJob, i int, element bool) pbsRow {
	s := t.state(j, i)
	letter := strings.Replace(s.letter, "X", "C", 1)
	name := j.Name
	if j.Indices != nil && element {
		name += "-" + strconv.Itoa(i)
	}
	r := pbsRow{id: t.id(j, i, element), attributes: []attribute{{"Job_Name", name}, {"Job_Owner", j.User + "@login"}, {"job_state", letter}, {"queue", "batch"}, {"server", "server"}}}
	if letter == "R" || letter == "E" {
		r.attributes = append(r.attributes, attribute{"exec_host", "node/0"})
	}
	if letter == "C" {
		r.attributes = append(r.attributes, attribute{"exit_status", s.number})
	}
	return r
}

func printTorqueXML(rows []pbsRow) {
	if len(rows) == 0 {
		return
	}
	var b bytes.Buffer
	b.WriteString("<Data>")
	for _, r := range rows {
		fmt.Fprintf(&b, "<Job><Job_Id>%s</Job_Id>", r.id)
		for _, a := range r.attributes {
			fmt.Fprintf(&b, "<%s>", a.name)
			xml.EscapeText(&b, []byte(fmt.Sprint(a.value)))
			fmt.Fprintf(&b, "</%s>", a.name)
		}
		b.WriteString("</Job>")
	}
	b.WriteString("</Data>\n")
	os.Stdout.Write(b.Bytes())
}
