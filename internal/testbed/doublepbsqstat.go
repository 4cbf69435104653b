package testbed

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

const pbsQstatUsage = `usage: 
qstat [-f] [-J] [-p] [-t] [-x] [-E] [-F format | -w] [-D delim] [ job_identifier... | destination... ]
qstat [-a|-i|-r|-H|-T] [-J] [-t] [-u user] [-n] [-s] [-G|-M] [-1] [-w]
	[ job_identifier... | destination... ]
qstat -Q [-f] [-F format] [-D delim] [ destination... ]
qstat -q [-G|-M] [ destination... ]
qstat -B [-f] [-F format] [-D delim] [ server_name... ]
qstat --version`

// qstat answers about the server, the queue, or jobs.
func (p pbsPro) qstat(args []string) int {
	if slices.Contains(args, "--version") {
		fmt.Println("pbs_version = 23.06.06")
		return 0
	}
	options, rest, err := getopt("fJptxEF:wD:aiHTrnsGM1u:QqB", args)
	if err != nil {
		return say(2, "qstat: %v\n%s", err, pbsQstatUsage)
	}
	given := func(letters string) bool {
		return slices.ContainsFunc(options, func(o option) bool { return strings.Contains(letters, o.name) })
	}
	format, _ := has(options, "F")
	switch {
	case given("f") && given("uaiHrn"), format != "" && !given("f"), given("B") && given("Q"), given("w") && format != "":
		return say(2, "qstat: conflicting options.\n%s", pbsQstatUsage)
	case format != "" && format != "json":
		return say(2, "qstat: Unknown format for -F\n%s", pbsQstatUsage)
	case given("B"):
		return p.qstatServer(given("f"))
	case given("Q"):
		return p.qstatQueues(given("f"), rest)
	}
	user, _ := has(options, "u")
	rows, code := p.rows(rest, given("t"), given("xH"), user)
	switch {
	case format == "json":
		printPBSJSON(rows)
	case given("f"):
		printPBSFull(rows)
	default:
		printPBSShort(rows, given("u"))
	}
	return code
}

func (p pbsPro) qstatServer(full bool) int {
	if !full {
		fmt.Println("Server             Max   Tot   Que   Run   Hld   Wat   Trn   Ext Status\n" +
			"---------------- ----- ----- ----- ----- ----- ----- ----- ----- -----------\n" +
			"server               0     1     0     1     0     0     0     0 Active")
		return 0
	}
	fmt.Printf("Server: server\n    server_state = Active\n    server_host = server\n    scheduling = True\n    default_queue = workq\n"+
		"    max_array_size = %d\n    pbs_version = 23.06.06\n    job_history_enable = %s\n\n", pbsArrayMax, map[bool]string{true: "True", false: "False"}[p.remembers()])
	return 0
}

func (pbsPro) qstatQueues(full bool, names []string) int {
	for _, n := range names {
		if n != "workq" {
			return say(170, "qstat: Unknown queue %s", n)
		}
	}
	if !full {
		fmt.Println("Queue              Max   Tot Ena Str   Que   Run   Hld   Wat   Trn   Ext Type\n" +
			"---------------- ----- ----- --- --- ----- ----- ----- ----- ----- ----- ----\n" +
			"workq                0     1 yes yes     0     1     0     0     0     0 Exec")
		return 0
	}
	fmt.Printf("Queue: workq\n    queue_type = Execution\n    total_jobs = 1\n    resources_max.mem = %dgb\n    resources_max.ncpus = %d\n"+
		"    resources_max.walltime = %d:00:00\n    enabled = True\n    started = True\n\n", queueMemory>>30, queueCPUs, int(queueWalltime.Hours()))
	return 0
}

// attribute is one line of qstat -f.
type attribute struct {
	name  string
	value any
}

// pbsRow is a job or an element as qstat prints it.
type pbsRow struct {
	id         string
	attributes []attribute
}

func (r pbsRow) get(name string) string {
	for _, a := range r.attributes {
		if a.name == name {
			return fmt.Sprint(a.value)
		}
	}
	return ""
}

// rows gathers what is asked for. Without ids it is everybody's.
func (p pbsPro) rows(ids []string, elements, history bool, user string) (rows []pbsRow, code int) {
	add := func(j *doubleJob, some []int, id string) {
		over := p.ended(j)
		if strings.Contains(id, "[]") {
			rows = append(rows, p.arrayRow(j))
			if !elements {
				some = nil
			}
		}
		for _, i := range some {
			rows = append(rows, p.row(j, i, over))
		}
	}
	if len(ids) == 0 {
		for _, j := range p.jobs() {
			if (history || !p.ended(j)) && (user == "" || user == j.User) {
				add(j, p.listed(j), p.id(j, 0, false))
			}
		}
	}
	for _, id := range ids {
		switch j, some := p.named(id); {
		case j == nil:
			code = say(153, "qstat: Unknown Job Id %s", full(id))
		case p.ended(j) && !history:
			code = say(35, "qstat: %s Job has finished, use -x or -H to obtain historical job information", full(id))
		default:
			add(j, some, id)
		}
	}
	return rows, code
}

// row is a plain job or one element.
func (p pbsPro) row(j *doubleJob, i int, over bool) pbsRow {
	s := p.state(j, i)
	letter := s.letter
	if letter == "X" && over {
		letter = "F"
	}
	r := pbsRow{id: p.id(j, i, true), attributes: pbsAttributes(j, letter)}
	add := func(name string, value any) { r.attributes = append(r.attributes, attribute{name, value}) }
	switch s.letter {
	case "Q":
		add("comment", "Not Running: Insufficient amount of resource: ncpus ")
	case "R", "E":
		add("exec_host", "node/0")
		add("run_count", 1)
	}
	if s.letter == "X" || s.letter == "E" {
		add("Exit_status", s.number)
	}
	add("substate", pbsSubstate(s))
	if j.Indices != nil {
		add("array_id", p.id(j, 0, false))
		add("array_index", i)
	}
	return r
}

// pbsSubstate follows job.h: 91 is a job that was deleted, 93 one that failed.
func pbsSubstate(s stand) int {
	switch {
	case s.letter == "X" && s.why == "deleted":
		return 91
	case s.letter == "X" && s.number != 0:
		return 93
	}
	return map[string]int{"Q": 10, "H": 20, "R": 42, "E": 51, "X": 92}[s.letter]
}

// arrayRow is an array itself: Q until its first element starts, then B.
func (p pbsPro) arrayRow(j *doubleJob) pbsRow {
	letter := "Q"
	switch {
	case p.ended(j):
		letter = "F"
	case p.begun(j):
		letter = "B"
	case j.Held:
		letter = "H"
	}
	first, last := j.Indices[0], j.Indices[len(j.Indices)-1]
	return pbsRow{p.id(j, 0, false), append(pbsAttributes(j, letter), attribute{"array", "True"},
		attribute{"array_indices_submitted", fmt.Sprintf("%d-%d:%d", first, last, j.Indices[1]-first)})}
}

func pbsAttributes(j *doubleJob, letter string) []attribute {
	return []attribute{{"Job_Name", j.Name}, {"Job_Owner", j.User + "@login"}, {"job_state", letter}, {"queue", "workq"}, {"server", "server"}}
}

// printPBSJSON writes what looks like a number as one, a name too.
func printPBSJSON(rows []pbsRow) {
	answer := map[string]any{"timestamp": 1, "pbs_version": "23.06.06", "pbs_server": "server"}
	jobs := map[string]any{}
	for _, r := range rows {
		job := map[string]any{}
		for _, a := range r.attributes {
			job[a.name] = a.value
			if text, ok := a.value.(string); ok {
				if n, err := strconv.ParseInt(text, 10, 64); err == nil {
					job[a.name] = n
				}
			}
		}
		jobs[r.id] = job
	}
	if len(jobs) > 0 {
		answer["Jobs"] = jobs
	}
	b, err := json.Marshal(answer)
	if err != nil {
		panic(err)
	}
	os.Stdout.Write(append(b, '\n'))
}

func printPBSFull(rows []pbsRow) {
	for _, r := range rows {
		fmt.Printf("Job Id: %s\n", r.id)
		for _, a := range r.attributes {
			fmt.Printf("    %s = %v\n", a.name, a.value)
		}
		fmt.Println()
	}
}

// printPBSShort writes one line for each job; that of one user has another form
// and shorter names.
func printPBSShort(rows []pbsRow, alternative bool) {
	if len(rows) == 0 {
		return
	}
	if alternative {
		fmt.Print("\nserver: \n                                                            Req'd  Req'd   Elap\n" +
			"Job ID          Username Queue    Jobname    SessID NDS TSK Memory Time  S Time\n" +
			"--------------- -------- -------- ---------- ------ --- --- ------ ----- - -----\n")
	} else {
		fmt.Print("Job id            Name             User              Time Use S Queue\n" +
			"----------------  ---------------- ----------------  -------- - -----\n")
	}
	for _, r := range rows {
		user, _, _ := strings.Cut(r.get("Job_Owner"), "@")
		name, state, queue := r.get("Job_Name"), r.get("job_state"), r.get("queue")
		if alternative {
			fmt.Printf("%-15.15s %-8.8s %-8.8s %-10.10s    --    1   1    --    --  %s   -- \n", r.id, user, queue, name, state)
		} else {
			fmt.Printf("%-17.17s %-16.16s %-16.16s          0 %s %-16s\n", r.id, name, user, state, queue)
		}
	}
}

// qselect prints the ids of the jobs that are like this.
func (p pbsPro) qselect(args []string) int {
	options, rest, err := getopt("a:A:c:h:HJl:N:p:q:r:s:t:Tu:xP:", args)
	if err != nil || len(rest) > 0 {
		return say(2, "qselect: %v\nusage: qselect [-a [op]date_time] [-A account_string] [-H] [-J] [-N name] [-s states] [-u user_name] [-x]", err)
	}
	_, history := has(options, "x")
	p.selected(options, func(j *doubleJob) bool { return history || !p.ended(j) })
	return 0
}

// selected prints the ids of the jobs that have the name and user of options.
func (d *double) selected(options []option, also func(*doubleJob) bool) {
	name, named := has(options, "N")
	user, owned := has(options, "u")
	user, _, _ = strings.Cut(user, "@")
	for _, j := range d.jobs() {
		if (!named || j.Name == name) && (!owned || j.User == user) && also(j) {
			fmt.Println(d.id(j, 0, false))
		}
	}
}
