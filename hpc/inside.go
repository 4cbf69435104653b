package hpc

import (
	"strconv"
	"strings"
)

// Identity says which element of which job this process runs in.
type Identity struct {
	Scheduler string
	Job       string // the id that submission printed
	Index     int    // of the array's element, 0 for a plain job
	Element   string // names the element among all of the scheduler's, the same after a requeue
	Restart   uint32 // how often the scheduler has started it again, where it says
}

// Inside tells from the environment which job this process belongs to. Each
// process of a Slurm step (srun) is an element of its own.
func Inside(getenv func(string) string) (Identity, bool) {
	number := func(name string) int {
		n, _ := strconv.Atoi(getenv(name))
		return n
	}
	array := func(scheduler, job string, index int, sep, end string) Identity {
		id := Identity{Scheduler: scheduler, Job: job, Index: index, Element: job}
		if index > 0 || sep == "_" {
			id.Element += sep + strconv.Itoa(index) + end
		}
		return id
	}
	var id Identity
	switch {
	case getenv("SLURM_JOB_ID") != "":
		if job := getenv("SLURM_ARRAY_JOB_ID"); job != "" {
			id = array("slurm", job, number("SLURM_ARRAY_TASK_ID"), "_", "")
		} else {
			job = getenv("SLURM_JOB_ID")
			id = Identity{Scheduler: "slurm", Job: job, Element: job}
		}
		if getenv("SLURM_STEP_ID") != "" && number("SLURM_NTASKS") > 1 {
			id.Element += "." + getenv("SLURM_PROCID")
		}
		id.Restart = uint32(number("SLURM_RESTART_COUNT"))
	case getenv("PBS_JOBID") != "":
		full := getenv("PBS_JOBID") // 123[4].server
		job, index, _ := pbsElement(full)
		element, _, _ := strings.Cut(full, ".")
		id = Identity{Scheduler: "pbs", Job: job, Index: index, Element: element}
	case getenv("LSB_JOBID") != "":
		id = array("lsf", getenv("LSB_JOBID"), number("LSB_JOBINDEX"), "[", "]")
	case getenv("JOB_ID") != "" && getenv("SGE_TASK_ID") != "":
		id = array("sge", getenv("JOB_ID"), number("SGE_TASK_ID"), ".", "") // "undefined" without an array
		id.Restart = uint32(number("RESTARTED"))
	default:
		return id, false
	}
	return id, true
}

// Element returns the name of an element as Inside would give it.
func (d *Dialect) Element(job string, index int, array bool) string {
	n := strconv.Itoa(index)
	switch {
	case d == pbsPro || d == torque:
		short, _, _ := strings.Cut(job, ".")
		return strings.Replace(short, "[]", "["+n+"]", 1)
	case !array:
		return job
	case d == slurm:
		return job + "_" + n
	case d == lsf:
		return job + "[" + n + "]"
	}
	return job + "." + n
}

// Scrub removes from an environment what the job in which this process may run
// would hand on to a job submitted from it, and keeps what tells the
// scheduler's commands where their scheduler is.
func Scrub(env []string) []string {
	inside := map[string]bool{}
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		inside[name] = true
	}
	sge := inside["SGE_TASK_ID"] && inside["JOB_ID"]
	job := sge || inside["SLURM_JOB_ID"] || inside["PBS_JOBID"] || inside["LSB_JOBID"]
	var kept []string
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		if !leaks(name, job, sge) {
			kept = append(kept, kv)
		}
	}
	return kept
}

// keep are variables of a scheduler's own prefix that its commands need.
var keep = map[string]bool{"SLURM_CONF": true, "SLURM_CLUSTERS": true, "PBS_DEFAULT": true, "PBS_SERVER": true, "PBS_CONF_FILE": true, "PBS_EXEC": true,
	"PBS_DPREFIX": true, "SGE_ROOT": true, "SGE_CELL": true, "SGE_QMASTER_PORT": true, "SGE_EXECD_PORT": true, "SGE_CLUSTER_NAME": true, "SGE_ARCH": true,
	"LSB_DEFAULTQUEUE": true, "LSB_DEFAULTPROJECT": true}

// sgeNames are what Grid Engine sets in a job without a prefix.
var sgeNames = map[string]bool{"JOB_ID": true, "JOB_NAME": true, "JOB_SCRIPT": true, "TASK_ID": true, "PE_HOSTFILE": true, "PE": true,
	"NSLOTS": true, "NHOSTS": true, "NQUEUES": true, "QUEUE": true, "REQUEST": true, "REQNAME": true, "RESTARTED": true, "ENVIRONMENT": true, "ARC": true}

func leaks(name string, job, sge bool) bool {
	if keep[name] {
		return false
	}
	switch {
	case strings.HasPrefix(name, "SLURM_"), strings.HasPrefix(name, "SLURMD_"):
		return true
	case strings.HasPrefix(name, "SBATCH_"):
		return job // outside a job they are the user's wishes
	case strings.HasPrefix(name, "PBS_"), strings.HasPrefix(name, "LSB_"), strings.HasPrefix(name, "LS_"):
		return true
	case strings.HasPrefix(name, "SGE_"):
		return true
	case name == "TMPDIR":
		return job
	}
	return sge && sgeNames[name]
}
