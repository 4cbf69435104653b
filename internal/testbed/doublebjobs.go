package testbed

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// lsfRow is one job or element as bjobs prints it.
type lsfRow struct {
	job   *doubleJob
	index int
	stand stand
}

func (r lsfRow) status() string {
	word := map[string]string{"Q": "PEND", "H": "PSUSP", "R": "RUN", "E": "RUN", "X": "DONE"}[r.stand.letter]
	if r.stand.letter == "X" && r.stand.number != 0 {
		word = "EXIT"
	}
	return word
}

func (r lsfRow) name() string {
	if r.job.Indices == nil {
		return r.job.Name
	}
	return r.job.Name + "[" + strconv.Itoa(r.index) + "]"
}

func (r lsfRow) host() string {
	if slices.Contains([]string{"Q", "H"}, r.stand.letter) || r.stand.why == "deleted" && r.stand.number == 271 {
		return "-"
	}
	return "node"
}

// field returns a field that -o may name.
func (r lsfRow) field(name string) (string, bool) {
	switch strings.ToLower(name) {
	case "jobid", "id":
		return strconv.Itoa(r.job.Seq), true
	case "jobindex":
		return strconv.Itoa(r.index), true
	case "stat":
		return r.status(), true
	case "user":
		return r.job.User, true
	case "queue":
		return "normal", true
	case "job_name", "name":
		return r.name(), true
	case "from_host":
		return "login", true
	case "exec_host":
		return r.host(), true
	case "submit_time":
		return "Nov 24 12:00", true
	case "exit_code":
		if r.status() == "EXIT" {
			return strconv.Itoa(r.stand.number & 255), true
		}
		return "-", true
	case "exit_reason":
		return strings.TrimSuffix(r.term(), "."), true
	case "pend_reason":
		return "", true
	}
	return "", false
}

// term says why LSF ended a job.
func (r lsfRow) term() string {
	switch r.stand.why {
	case "walltime":
		return "TERM_RUNLIMIT: job killed after reaching LSF run time limit."
	case "deleted":
		return "TERM_OWNER: job killed by owner."
	}
	return ""
}

type bjobsOptions struct {
	all, wide, long, json, headless bool
	user, name, format              string
	ids                             []string
}

func bjobsParse(args []string) (o bjobsOptions, code int) {
	o = bjobsOptions{user: me(), format: os.Getenv("LSB_BJOBS_FORMAT")}
	values := map[string]*string{"-u": &o.user, "-J": &o.name, "-o": &o.format, "-q": new(string), "-m": new(string), "-P": new(string)}
	flags := map[string]*bool{"-a": &o.all, "-w": &o.wide, "-l": &o.long, "-W": &o.wide, "-json": &o.json, "-noheader": &o.headless, "-X": new(bool)}
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		name := args[0]
		args = args[1:]
		switch {
		case flags[name] != nil:
			*flags[name] = true
		case values[name] == nil:
			return o, say(255, "bjobs: illegal option -- %s\nUsage: bjobs [-a] [-w | -l] [-J name_spec] [-u user_name | -u all] [jobId | \"jobId[index]\" ...]", strings.TrimLeft(name, "-"))
		case len(args) == 0:
			return o, say(255, "bjobs: option requires an argument -- %s", strings.TrimLeft(name, "-"))
		default:
			*values[name], args = args[0], args[1:]
		}
	}
	o.ids = args
	return o, 0
}

// bjobs lists jobs. Of ids that are not there it complains, and prints the rest.
// LSB_BJOBS_FORMAT is the format of all but long lists, unless -o gives one.
func (l lsf) bjobs(args []string) int {
	o, code := bjobsParse(args)
	if code != 0 {
		return code
	}
	var rows []lsfRow
	if len(o.ids) > 0 {
		rows, code = l.asked(o)
	} else {
		rows, code = l.everything(o)
	}
	switch {
	case o.long:
		printBjobsLong(rows)
	case len(rows) == 0:
	case o.format != "":
		return max(code, printBjobsFields(rows, o))
	default:
		printBjobs(rows, o)
	}
	return code
}

var lsfID = regexp.MustCompile(`^([0-9]+)(?:\[([0-9,-]*)\])?$`)

// named finds the job of an id and the elements that it names.
func (l lsf) named(id string) (*doubleJob, []int) {
	m := lsfID.FindStringSubmatch(id)
	if m == nil {
		return nil, nil
	}
	return l.find(m[1], m[2])
}

// asked gathers the jobs of the ids, whatever their state.
func (l lsf) asked(o bjobsOptions) (rows []lsfRow, code int) {
	for _, id := range o.ids {
		j, some := l.named(id)
		if j == nil || len(some) == 0 || o.user != "all" && j.User != o.user {
			code = say(255, "Job <%s> is not found", id)
			continue
		}
		for _, i := range some {
			rows = append(rows, lsfRow{j, i, l.state(j, i)})
		}
	}
	return rows, code
}

// everything gathers the jobs of a user, those that have ended only with -a.
func (l lsf) everything(o bjobsOptions) (rows []lsfRow, code int) {
	for _, j := range l.jobs() {
		if o.user != "all" && j.User != o.user || o.name != "" && j.Name != o.name {
			continue
		}
		for _, i := range l.listed(j) {
			if s := l.state(j, i); o.all || s.letter != "X" {
				rows = append(rows, lsfRow{j, i, s})
			}
		}
	}
	switch {
	case len(rows) > 0:
	case o.all:
		code = say(255, "No job found")
	default:
		code = say(255, "No unfinished job found")
	}
	return rows, code
}

// printBjobs writes the usual columns, which cut names short unless they are wide.
func printBjobs(rows []lsfRow, o bjobsOptions) {
	if !o.headless {
		fmt.Println("JOBID   USER    STAT  QUEUE      FROM_HOST   EXEC_HOST   JOB_NAME   SUBMIT_TIME")
	}
	for _, r := range rows {
		name, user := r.name(), r.job.User
		if !o.wide {
			if len(name) > 10 {
				name = "*" + name[len(name)-9:]
			}
			user = user[:min(len(user), 7)]
		}
		fmt.Printf("%-7d %-7s %-5s %-10s %-11s %-11s %-10s %s\n", r.job.Seq, user, r.status(), "normal", "login", r.host(), name, "Nov 24 12:00")
	}
}

// printBjobsFields writes the fields of a format: names with :WIDTH, and a
// delimiter.
func printBjobsFields(rows []lsfRow, o bjobsOptions) int {
	delimiter := " "
	var names []string
	for _, w := range words(o.format) {
		if d, ok := strings.CutPrefix(w, "delimiter="); ok {
			delimiter = d
			continue
		}
		name, _, _ := strings.Cut(w, ":")
		if _, ok := rows[0].field(name); !ok {
			return say(255, "%s: Illegal field name", name)
		}
		names = append(names, strings.ToLower(name))
	}
	if o.json {
		return printBjobsJSON(rows, names)
	}
	if !o.headless {
		fmt.Println(strings.ToUpper(strings.Join(names, delimiter)))
	}
	for _, r := range rows {
		var cells []string
		for _, n := range names {
			v, _ := r.field(n)
			cells = append(cells, v)
		}
		fmt.Println(strings.Join(cells, delimiter))
	}
	return 0
}

func printBjobsJSON(rows []lsfRow, names []string) int {
	var records []map[string]string
	for _, r := range rows {
		record := map[string]string{}
		for _, n := range names {
			record[strings.ToUpper(n)], _ = r.field(n)
		}
		records = append(records, record)
	}
	b, err := json.MarshalIndent(map[string]any{"COMMAND": "bjobs", "JOBS": len(rows), "RECORDS": records}, "", "  ")
	if err != nil {
		panic(err)
	}
	fmt.Println(string(b))
	return 0
}

// printBjobsLong writes paragraphs, whose lines go on after 21 blanks.
func printBjobsLong(rows []lsfRow) {
	for n, r := range rows {
		if n > 0 {
			fmt.Println("------------------------------------------------------------------------------")
		}
		id := strconv.Itoa(r.job.Seq)
		if r.job.Indices != nil {
			id += "[" + strconv.Itoa(r.index) + "]"
		}
		fmt.Println()
		printWrapped(fmt.Sprintf("Job <%s>, Job Name <%s>, User <%s>, Project <default>, Status <%s>, Queue <normal>, Command <script>", id, r.name(), r.job.User, r.status()))
		printWrapped("Tue Nov 24 12:00:00: Submitted from host <login>, CWD <" + r.job.From + ">;")
		switch {
		case r.status() == "DONE":
			printWrapped("Tue Nov 24 12:01:00: Done successfully. The CPU time used is 0.1 seconds.")
		case r.term() != "":
			printWrapped("Tue Nov 24 12:01:00: Exited; " + r.term())
		case r.status() == "EXIT":
			printWrapped(fmt.Sprintf("Tue Nov 24 12:01:00: Exited with exit code %d. The CPU time used is 0.1 seconds.", r.stand.number))
		case r.status() == "PEND":
			fmt.Println(" PENDING REASONS:\n Not enough job slot(s);")
		}
	}
}

// printWrapped breaks a text into lines of 79 characters.
func printWrapped(text string) {
	const width, margin = 79, 21
	room := width
	for len(text) > room {
		fmt.Print(text[:room], "\n", strings.Repeat(" ", margin))
		text, room = text[room:], width-margin
	}
	fmt.Println(text)
}

// bkill ends jobs; 0 is all of the user's.
func (l lsf) bkill(args []string) int {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return say(255, "Job ID required, or 0 for all of your jobs\nUsage: bkill [-l] [-s signal_value | signal_name] [jobId | \"jobId[index]\" | 0 ...]")
	}
	code := 0
	for _, id := range args {
		if id == "0" {
			code = max(code, l.killAll())
			continue
		}
		j, some := l.named(id)
		switch {
		case j == nil || len(some) == 0:
			code = say(255, "Job <%s>: No matching job found", id)
		case j.User != me():
			code = say(255, "Job <%s>: User permission denied", id)
		case l.ended(j):
			code = say(255, "Job <%s>: Job has already finished", id)
		default:
			for _, i := range some {
				l.end(j, i)
			}
			fmt.Printf("Job <%s> is being terminated\n", id)
		}
	}
	return code
}

func (l lsf) killAll() int {
	any := false
	for _, j := range l.jobs() {
		if j.User != me() || l.ended(j) {
			continue
		}
		any = true
		for _, i := range j.indices() {
			l.end(j, i)
		}
		fmt.Printf("Job <%d> is being terminated\n", j.Seq)
	}
	if !any {
		return say(255, "No matching job found")
	}
	return 0
}

// bqueues describes the one queue.
func (lsf) bqueues(args []string) int {
	long := false
	for _, a := range args {
		switch {
		case a == "-l":
			long = true
		case a == "-w", a == "normal":
		case strings.HasPrefix(a, "-"):
			return say(255, "bqueues: illegal option -- %s", strings.TrimLeft(a, "-"))
		default:
			return say(255, "%s: No such queue", a)
		}
	}
	if !long {
		fmt.Println("QUEUE_NAME      PRIO STATUS          MAX JL/U JL/P JL/H NJOBS  PEND   RUN  SUSP \n" +
			"normal           30  Open:Active       -    -    -    -     1     0     1     0")
		return 0
	}
	fmt.Printf("\nQUEUE: normal\n  -- For normal low priority jobs, running only if hosts are lightly loaded.  This is the default queue.\n\n"+
		"PARAMETERS/STATISTICS\nPRIO NICE STATUS          MAX JL/U JL/P JL/H NJOBS  PEND   RUN SSUSP USUSP  RSV PJOBS\n"+
		" 30    0  Open:Active       -    -    -    -     1     0     1     0     0    0     0\n\nMAXIMUM LIMITS: \n RUNLIMIT                \n %d.0 min\n\n"+
		" PROCLIMIT\n %d\n\n MEMLIMIT\n     %d G\n\nUSERS: all  \nHOSTS:  all \n", lsfRunLimit, lsfProcLimit, lsfMemLimit>>20)
	return 0
}

// bparams prints the settings of lsb.params, all with -a.
func (lsf) bparams(args []string) int {
	switch {
	case len(args) == 0:
		fmt.Println("Default Queues:  normal\nMBD_SLEEP_TIME used for calculations:  10 seconds\nJob Checking Interval:  7 seconds\nJob Accepting Interval:  0 seconds")
	case args[0] == "-a":
		fmt.Printf("    DEFAULT_QUEUE = normal\n    MBD_SLEEP_TIME = 10 (seconds)\n    CLEAN_PERIOD = 3600 (seconds)\n    MAX_JOB_ARRAY_SIZE = %d\n    MAX_JOBID = 999999\n", lsfArrayMax)
	default:
		return say(255, "bparams: illegal option -- %s", strings.TrimLeft(args[0], "-"))
	}
	return 0
}
