package main

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"muster/internal/testbed"
)

// workbenches and services are those of scripts, by their work directories.
var workbenches, services sync.Map

// elsewhereEnv is the environment of a job that a service starts: what a machine
// has, and nothing that the script has set for muster.
func elsewhereEnv(ts *testscript.TestScript) []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "LC_ALL", "GORACE", "WORK"} {
		env = append(env, name+"="+ts.Getenv(name))
	}
	return env
}

// cmdWorkbench is Posit Workbench's launcher, a double:
//
//	workbench start [old] [PROFILE]    starts it; old is one that does not take the session's cookie,
//	                                   and Kubernetes has one more resource profile
//	workbench requests FILE [HEADER]... writes what it has got: line, headers, empty line, body
//	workbench jobs N                   fails unless it has started N jobs
//
// start sets RS_SERVER_ADDRESS and RS_SESSION_RPC_COOKIE. Its clusters are
// Kubernetes, with profiles small and large, and Slurm, with default. Jobs start
// in HOME, and what they print is in workbench/job-N.out.
func cmdWorkbench(ts *testscript.TestScript, neg bool, args []string) {
	work := ts.Getenv("WORK")
	is := func(name string, least, most int) bool {
		return !neg && len(args) > 0 && args[0] == name && len(args) > least && len(args) <= most+1
	}
	got, running := workbenches.Load(work)
	switch {
	case is("start", 0, 2) && !running:
		o := testbed.WorkbenchOptions{Dir: work + "/workbench", Env: elsewhereEnv(ts), Work: ts.Getenv("HOME")}
		for _, a := range args[1:] {
			if a == "old" {
				o.Old = true
			} else {
				o.Clusters = testbed.WorkbenchClusters()
				o.Clusters[0].Profiles = append(o.Clusters[0].Profiles, a)
			}
		}
		w, err := testbed.StartWorkbench(o)
		ts.Check(err)
		workbenches.Store(work, w)
		ts.Defer(func() { workbenches.Delete(work); w.Stop() })
		ts.Setenv("RS_SERVER_ADDRESS", w.URL)
		ts.Setenv("RS_SESSION_RPC_COOKIE", w.Cookie)
	case is("requests", 1, 100) && running:
		write(ts, args[1], got.(*testbed.Workbench).RequestsText(args[2:]...))
	case is("jobs", 1, 1) && running:
		checkCount(ts, "jobs", args[1], len(got.(*testbed.Workbench).Jobs()))
	default:
		ts.Fatalf("usage: workbench start [old] [PROFILE], and then workbench requests FILE [HEADER]... | jobs N")
	}
}

// cmdService is a service of somebody's own that starts commands:
//
//	service start [OPTION]...       starts it; options are https, wrongname, nokeys, rate=N, queue=DURATION, mode=MODE
//	service mode [METHOD:]MODE [N]  how it answers from now on, or the next N times; ok is as it should
//	service requests FILE [HEADER]... writes what it has got: line, headers, empty line, body
//	service elsewhere FILE [HEADER]... writes what the origin has got that mode redirect sends to
//	service jobs N                  fails unless it has ever started N jobs
//	service repeats N               fails unless it answered N requests with an earlier job, by their Idempotency-Key
//	service doubles N               fails unless it took N jobs whose command an earlier one has too
//	service stop                    ends it and its jobs
//
// start sets SERVICE_URL, SERVICE_TOKEN and, with https or wrongname, SERVICE_CA.
// Jobs are at $SERVICE_URL/jobs; at $SERVICE_URL/MODE/jobs a mode is always in
// force. Jobs start in HOME, and what they print is in service/job-N.out.
func cmdService(ts *testscript.TestScript, neg bool, args []string) {
	work := ts.Getenv("WORK")
	is := func(name string, least, most int) bool {
		return !neg && len(args) > 0 && args[0] == name && len(args) > least && len(args) <= most+1
	}
	got, running := services.Load(work)
	s, _ := got.(*testbed.Service)
	switch {
	case is("start", 0, 100) && !running:
		startService(ts, work, args[1:])
	case !running:
		ts.Fatalf("usage: service start [OPTION]... comes first, once")
	case is("stop", 0, 0):
		services.Delete(work)
		s.Stop()
	case is("mode", 1, 2):
		times := 0
		if len(args) == 3 {
			times = atoi(ts, args[2])
		}
		ts.Check(s.SetMode(args[1], times))
	case is("requests", 1, 100):
		write(ts, args[1], s.RequestsText(args[2:]...))
	case is("elsewhere", 1, 100):
		write(ts, args[1], s.ElsewhereText(args[2:]...))
	case is("jobs", 1, 1):
		checkCount(ts, "jobs", args[1], s.Started())
	case is("repeats", 1, 1):
		checkCount(ts, "repeated requests", args[1], s.Repeated())
	case is("doubles", 1, 1):
		checkCount(ts, "double jobs", args[1], s.Doubled())
	default:
		ts.Fatalf("usage: service mode [METHOD:]MODE [N] | requests|elsewhere FILE [HEADER]... | jobs|repeats|doubles N | stop")
	}
}

func startService(ts *testscript.TestScript, work string, args []string) {
	o := testbed.ServiceOptions{Dir: work + "/service", Env: elsewhereEnv(ts), Work: ts.Getenv("HOME")}
	mode := "ok"
	for _, a := range args {
		name, value, _ := strings.Cut(a, "=")
		switch name {
		case "https":
			o.TLS = true
		case "wrongname":
			o.WrongName = true
		case "nokeys":
			o.NoKeys = true
		case "rate":
			o.Rate = atoi(ts, value)
		case "queue":
			d, err := time.ParseDuration(value)
			ts.Check(err)
			o.Queue = d
		case "mode":
			mode = value
		default:
			ts.Fatalf("usage: service start [https] [wrongname] [nokeys] [rate=N] [queue=DURATION] [mode=MODE]")
		}
	}
	s, err := testbed.StartService(o)
	ts.Check(err)
	services.Store(work, s)
	ts.Defer(func() { services.Delete(work); s.Stop() })
	ts.Check(s.SetMode(mode, 0))
	ts.Setenv("SERVICE_URL", s.URL)
	ts.Setenv("SERVICE_TOKEN", s.Token)
	ts.Setenv("SERVICE_CA", s.CA)
}

func write(ts *testscript.TestScript, file, text string) {
	ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o600))
}

func atoi(ts *testscript.TestScript, s string) int {
	n, err := strconv.Atoi(s)
	ts.Check(err)
	return n
}

func checkCount(ts *testscript.TestScript, what, want string, got int) {
	if n := atoi(ts, want); n != got {
		ts.Fatalf("%d %s; want %d", got, what, n)
	}
}
