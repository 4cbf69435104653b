package testbed

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// pbsPro is OpenPBS 23.06.
//
// DOUBLE_HISTORY=off is a server without job_history_enable: an ended job is
// unknown at once. DOUBLE_COPY_TIME is for how long output is tried to be copied
// into a folder that is missing, 32 s in the real one.
type pbsPro struct{ *double }

// pbsArrayMax is the server's max_array_size.
const pbsArrayMax = 10_000

const pbsUsage = `usage: qsub [-a date_time] [-A account_string] [-c interval]
	[-C directive_prefix] [-e path] [-f ] [-h ] [-I [-X]] [-j oe|eo] [-J X-Y[:Z]]
	[-k keep] [-l resource_list] [-m mail_options] [-M user_list]
	[-N jobname] [-o path] [-p priority] [-P project] [-q queue] [-r y|n]
	[-R o|e|oe] [-S path] [-u user_list] [-W otherattributes=value...]
	[-v variable_list] [-V ] [-z] [script | -- command [arg1 ...]]
       qsub --version`

func (p pbsPro) commands() map[string]func([]string) int {
	return map[string]func([]string) int{"qsub": p.qsub, "qstat": p.qstat, "qdel": p.qdel, "qselect": p.qselect}
}

func (pbsPro) first() int { return 0 }

func (pbsPro) id(j *doubleJob, i int, element bool) string { return pbsDoubleID(j, i, element) }

// pbsDoubleID writes 12.server, 12[].server or 12[3].server.
func pbsDoubleID(j *doubleJob, i int, element bool) string {
	n := strconv.Itoa(j.Seq)
	switch {
	case j.Indices == nil:
		return n + ".server"
	case element:
		return n + "[" + strconv.Itoa(i) + "].server"
	}
	return n + "[].server"
}

var pbsName = regexp.MustCompile(`^[A-Za-z0-9_+-]{1,230}$`)

func (pbsPro) allowed(name string) bool { return pbsName.MatchString(name) }

func (p pbsPro) environment(j *doubleJob, i int) []string {
	env := []string{"PBS_JOBID=" + p.id(j, i, true)}
	if j.Indices != nil {
		env = append(env, "PBS_ARRAY_INDEX="+strconv.Itoa(i), "PBS_ARRAY_ID="+p.id(j, i, false))
	}
	return env
}

func (pbsPro) ending() ending {
	return ending{signals: []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL}, delay: 10 * time.Second, base: 256, walltime: -29, said: pbsOverTime}
}

func pbsOverTime(j *doubleJob) string {
	n := strconv.Itoa(int(j.Walltime / time.Second))
	return "=>> PBS: job killed: walltime " + n + " exceeded limit " + n
}

func (pbsPro) remembers() bool { return os.Getenv("DOUBLE_HISTORY") != "off" }

// remembered: the elements of an array are listed until all have ended.
func (p pbsPro) remembered(_ time.Time, over bool, _ time.Time) bool { return p.remembers() || !over }

// pbsTries is how often output is copied before it counts as undelivered.
const pbsTries = 4

// deliver copies the output; the job is in state E until it has. What cannot be
// copied is tried again for a time, which a folder that is missing costs in full.
func (p pbsPro) deliver(j *doubleJob, i int) {
	pause := setting("DOUBLE_COPY_TIME", 4*time.Second) / pbsTries
	time.Sleep(min(pause, 300*time.Millisecond)) // what comes before the first copy
	for _, stream := range streamsOf(j) {
		to := outputPath(p.double, j, i, stream, func(path string) string {
			return strings.ReplaceAll(path, "^array_index^", strconv.Itoa(i))
		})
		err := p.place(j, i, stream, to)
		for try := 1; err != nil && try <= pbsTries; try++ {
			time.Sleep(pause)
			err = p.place(j, i, stream, to)
		}
		if err != nil {
			p.undelivered(j, i, stream, to, err)
		}
	}
}

func (p pbsPro) qsub(args []string) int {
	return p.double.qsub(qsubRules{version: "pbs_version = 23.06.06", letters: "a:A:c:C:e:fhIj:J:k:l:m:M:N:o:p:q:r:R:S:u:v:VW:XzP:",
		array: "J", usage: pbsUsage, queue: "workq", parse: pbsArray, check: pbsCheck,
		resources: []string{"select", "walltime", "ncpus", "mem", "nodes", "ngpus", "place", "cput", "pmem", "vmem"}}, args)
}

var pbsArrayForm = regexp.MustCompile(`^([0-9]+)-([0-9]+)(?::([0-9]+))?(?:%([0-9]+))?$`)

// pbsArray reads one range of more than one.
func pbsArray(j *doubleJob, v string) int {
	m := pbsArrayForm.FindStringSubmatch(v)
	if m == nil {
		return say(2, "qsub: illegal -J value\n%s", pbsUsage)
	}
	first, _ := strconv.Atoi(m[1])
	last, _ := strconv.Atoi(m[2])
	step, _ := strconv.Atoi(m[3])
	if first >= last || m[3] != "" && step < 1 || m[4] == "0" {
		return say(2, "qsub: illegal -J value\n%s", pbsUsage)
	}
	if (last-first)/max(step, 1)+1 > pbsArrayMax {
		return say(3, "qsub: Array job exceeds server or queue size limit")
	}
	j.Indices = spread(m[1]+"-"+m[2], step)
	j.Throttle, _ = strconv.Atoi(m[4])
	return 0
}

// pbsCheck judges what -l asks for.
func pbsCheck(resources map[string]string) int {
	cpus, memory := resources["ncpus"], resources["mem"]
	if chunks, ok := resources["select"]; ok {
		for _, name := range []string{"ncpus", "mem", "nodes", "ngpus"} {
			if _, ok := resources[name]; ok {
				return say(5, `qsub: "-lresource=" cannot be used with "select" or "place", resource is: %s`, name)
			}
		}
		for _, part := range strings.Split(chunks, ":") {
			name, value, valued := strings.Cut(part, "=")
			switch {
			case !valued:
				if n, err := strconv.Atoi(name); err != nil || n < 1 {
					return say(166, "qsub: Illegal attribute or resource value Resource_List.select")
				}
			case name == "ncpus":
				cpus = value
			case name == "mem":
				memory = value
			case name == "ngpus", name == "mpiprocs", name == "ompthreads", name == "host":
			default:
				return say(187, "qsub: Unknown resource: %s", name)
			}
			if n, err := strconv.Atoi(value); valued && (name == "ncpus" || name == "ngpus") && (err != nil || n < 0) {
				return say(166, "qsub: Illegal attribute or resource value Resource_List.select")
			}
		}
	}
	n, _ := strconv.Atoi(cpus)
	return pbsLimits(resources, n, memory, "Job violates queue and/or server resource limits")
}

// qdel ends jobs and elements.
func (p pbsPro) qdel(args []string) int {
	_, ids, err := getopt("xW:", args)
	if err != nil || len(ids) == 0 {
		return say(2, "usage:\n\tqdel [-W force|suppress_email=X] [-x] job_identifier...\n\tqdel --version")
	}
	code := 0
	for _, id := range ids {
		j, some := p.named(id)
		switch {
		case j == nil:
			code = say(153, "qdel: Unknown Job Id %s", full(id))
		case j.User != me():
			code = say(159, "qdel: Unauthorized Request  %s", full(id))
		case p.ended(j):
			code = say(35, "qdel: Job has finished %s", full(id))
		default:
			code = max(code, p.endSome(j, some, full(id)))
		}
	}
	return code
}

// endSome ends elements. One that has ended, or is about to, is passed over in an
// array and refused by itself.
func (p pbsPro) endSome(j *doubleJob, some []int, id string) int {
	if len(some) == 1 && !strings.Contains(id, "[]") {
		switch p.state(j, some[0]).letter {
		case "E":
			return say(168, "qdel: Request invalid for state of job %s", id)
		case "X":
			return say(55, "qdel: Request invalid for finished array subjob %s", id)
		}
	}
	for _, i := range some {
		p.end(j, i)
	}
	return 0
}

// named finds the job of an id. An array has brackets in its own, a plain job has
// none.
func (d *double) named(id string) (*doubleJob, []int) {
	m := doubleID.FindStringSubmatch(id)
	if m == nil {
		return nil, nil
	}
	j, some := d.find(m[1], m[2])
	if j == nil || strings.Contains(id, "[") != (j.Indices != nil) || len(some) == 0 {
		return nil, nil
	}
	return j, some
}

// full is an id with the server's name.
func full(id string) string { return strings.TrimSuffix(id, ".server") + ".server" }
