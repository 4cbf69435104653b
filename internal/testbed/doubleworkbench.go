package testbed

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"sync"
)

// WorkbenchCluster is one that a Workbench can start jobs on.
type WorkbenchCluster struct {
	Name, DefaultImage string
	Profiles           []string
	Images             []string // that it takes too, and does not tell of
}

// WorkbenchOptions say what a Workbench is like.
type WorkbenchOptions struct {
	Dir      string             // absolute; jobs' output is in job-N.out there
	Env      []string           // of jobs; PATH is where their programs are looked for
	Work     string             // where jobs start
	Old      bool               // before 2026.01: it does not take the session's cookie
	Clusters []WorkbenchCluster // nil is WorkbenchClusters
}

// Workbench is a double of the part of Posit Workbench's interface by which a
// session starts jobs, with the rules that are public: the calls of the session's
// cookie, the shape of what is sent. It runs jobs on this machine. What it says is
// wrong it says in its own words, since those of the real one are not known; nor is
// what the real one answers to a launch.
type Workbench struct {
	requests
	URL, Cookie string // RS_SERVER_ADDRESS and RS_SESSION_RPC_COOKIE of a session
	o           WorkbenchOptions
	launcher    launcher
	stop        func()
	mu          sync.Mutex // guards jobs
	jobs        []WorkbenchJob
}

// WorkbenchJob is one that a Workbench has started.
type WorkbenchJob struct {
	ID, Cluster, Image, Name string
	Argv                     []string
	Profile                  string  // or
	CPUs, Memory             float64 // in MB
	Output                   string  // the file
}

// WorkbenchClusters are those that a Workbench has unless it is told otherwise.
func WorkbenchClusters() []WorkbenchCluster {
	return []WorkbenchCluster{
		{Name: "Kubernetes", DefaultImage: "registry.example/session:ubuntu22", Profiles: []string{"small", "large"}, Images: []string{"registry.example/gpu:1"}},
		{Name: "Slurm", DefaultImage: "registry.example/session:rocky9", Profiles: []string{"default"}},
	}
}

// StartWorkbench starts one. Stop has to follow.
func StartWorkbench(o WorkbenchOptions) (*Workbench, error) {
	if o.Clusters == nil {
		o.Clusters = WorkbenchClusters()
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, err
	}
	w := &Workbench{Cookie: rand.Text(), o: o, launcher: launcher{dir: o.Dir, env: o.Env, work: o.Work}}
	addr, stop, err := serve(w.record(http.HandlerFunc(w.handle)), nil)
	if err != nil {
		return nil, err
	}
	w.URL, w.stop = "http://"+addr, stop
	return w, nil
}

// Stop ends it and kills its jobs.
func (w *Workbench) Stop() {
	w.stop()
	w.launcher.stop()
}

// Jobs lists the jobs that it has started.
func (w *Workbench) Jobs() []WorkbenchJob {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.jobs)
}

func (w *Workbench) handle(rw http.ResponseWriter, r *http.Request) {
	own := func(name string) bool { return slices.Equal(r.Header.Values(name), []string{w.Cookie}) }
	if w.o.Old || !own("Cookie") || !own("X-RS-Session-Server-RPC-Cookie") {
		refuse(rw, http.StatusUnauthorized, "this is not the cookie of a session")
		return
	}
	call := map[string]func(http.ResponseWriter, *http.Request){"GET /api/get_compute_envs": w.envs, "POST /api/launch_job": w.launch}[r.Method+" "+r.URL.RequestURI()]
	if call == nil {
		refuse(rw, http.StatusNotFound, "there is no %s %s", r.Method, r.URL.RequestURI())
		return
	}
	call(rw, r)
}

func (w *Workbench) envs(rw http.ResponseWriter, _ *http.Request) {
	type name struct {
		Name string `json:"name"`
	}
	type cluster struct {
		Name     string `json:"name"`
		Image    string `json:"defaultImage"`
		Profiles []name `json:"resourceProfiles"`
	}
	list := []cluster{}
	for _, c := range w.o.Clusters {
		e := cluster{c.Name, c.DefaultImage, []name{}}
		for _, p := range c.Profiles {
			e.Profiles = append(e.Profiles, name{p})
		}
		list = append(list, e)
	}
	b, err := json.Marshal(map[string]any{"result": map[string]any{"clusters": list}})
	if err != nil {
		panic(err)
	}
	answer(rw, http.StatusOK, string(b))
}

func (w *Workbench) launch(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		refuse(rw, http.StatusBadRequest, "%v", err)
		return
	}
	if t := r.Header.Get("Content-Type"); t != "" { // mirai sends none
		if media, _, err := mime.ParseMediaType(t); err != nil || media != "application/json" {
			refuse(rw, http.StatusBadRequest, "the body is said to be %s", t)
			return
		}
	}
	j, err := w.read(body)
	if err != nil {
		refuse(rw, http.StatusBadRequest, "%v", err)
		return
	}
	p := w.launcher.next(j.Argv...)
	j.ID, j.Output = p.id, p.output()
	w.mu.Lock()
	w.jobs = append(w.jobs, *j)
	w.mu.Unlock()
	p.start()
	answer(rw, http.StatusOK, fmt.Sprintf(`{"result": {"id": %s}}`, jsonQuote(j.ID)))
}

// read reads what launch_job is sent.
func (w *Workbench) read(body []byte) (*WorkbenchJob, error) {
	call, err := jsonObject(body, "the body", "method", "kwparams")
	if err != nil {
		return nil, err
	}
	if method, err := jsonString(call["method"], "method"); err != nil || method != "launch_job" {
		return nil, fmt.Errorf("method is %s", call["method"])
	}
	params, err := jsonObject(call["kwparams"], "kwparams", "job")
	if err != nil {
		return nil, err
	}
	f, err := jsonObject(params["job"], "job", "cluster", "container", "name", "exe", "args", "resourceProfile?", "resources?")
	if err != nil {
		return nil, err
	}
	container, err := jsonObject(f["container"], "container", "image")
	if err != nil {
		return nil, err
	}
	j := &WorkbenchJob{Argv: make([]string, 1)}
	for _, s := range []struct {
		to   *string
		raw  json.RawMessage
		name string
	}{{&j.Cluster, f["cluster"], "cluster"}, {&j.Image, container["image"], "image"}, {&j.Name, f["name"], "name"}, {&j.Argv[0], f["exe"], "exe"}} {
		if *s.to, err = jsonString(s.raw, s.name); err != nil {
			return nil, err
		}
	}
	args, err := jsonStrings(f["args"], "args")
	if err != nil {
		return nil, err
	}
	j.Argv = append(j.Argv, args...)
	i := slices.IndexFunc(w.o.Clusters, func(c WorkbenchCluster) bool { return c.Name == j.Cluster })
	if i < 0 {
		return nil, fmt.Errorf("there is no cluster %q", j.Cluster)
	}
	c := w.o.Clusters[i]
	if j.Image != c.DefaultImage && !slices.Contains(c.Images, j.Image) {
		return nil, fmt.Errorf("cluster %s has no image %q", c.Name, j.Image)
	}
	return j, j.readSize(c, f["resourceProfile"], f["resources"])
}

// readSize reads what a job is to have: one of the two ways.
func (j *WorkbenchJob) readSize(c WorkbenchCluster, profile, resources json.RawMessage) (err error) {
	if (profile == nil) == (resources == nil) {
		return errors.New("job has to have either resourceProfile or resources")
	}
	if profile != nil {
		if j.Profile, err = jsonString(profile, "resourceProfile"); err != nil {
			return err
		}
		if !slices.Contains(c.Profiles, j.Profile) {
			return fmt.Errorf("cluster %s has no resource profile %q", c.Name, j.Profile)
		}
		return nil
	}
	size, err := jsonObject(resources, "resources", "cpus", "memory")
	if err != nil {
		return err
	}
	if j.CPUs, err = jsonNumber(size["cpus"], "cpus"); err != nil {
		return err
	}
	j.Memory, err = jsonNumber(size["memory"], "memory")
	return err
}
