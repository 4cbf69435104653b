package http

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"
)

// Workbench launches jobs from within a session of Posit Workbench, as mirai does.
type Workbench struct {
	Server string `json:"server"` // RS_SERVER_ADDRESS of the session
	Cookie string `json:"cookie"` // RS_SESSION_RPC_COOKIE of the session
	// Cluster and Profile are names that the service has. Empty is the first.
	Cluster string `json:"cluster,omitempty"`
	Profile string `json:"profile,omitempty"`
	// CPUs and Memory, in MB, are used in place of a profile if there is none.
	CPUs    int    `json:"cpus,omitempty"`
	Memory  int64  `json:"memory,omitempty"`
	JobName string `json:"job_name,omitempty"` // empty is mirai_daemon
	Exe     string `json:"exe,omitempty"`      // empty is Rscript
	// Args are its arguments, the worker's command among them.
	Args []string `json:"args"`
	// Headers are sent besides.
	Headers []Header `json:"headers,omitempty"`
}

// workbenchJob is the job in mirai's order of keys.
type workbenchJob struct {
	Cluster   string              `json:"cluster"`
	Container *workbenchContainer `json:"container,omitempty"`
	Name      string              `json:"name"`
	Exe       string              `json:"exe"`
	Args      []string            `json:"args"`
	Profile   string              `json:"resourceProfile,omitempty"`
	Resources *workbenchResources `json:"resources,omitempty"`
}

type workbenchContainer struct {
	Image string `json:"image"`
}

type workbenchResources struct {
	CPUs   int   `json:"cpus"`
	Memory int64 `json:"memory"`
}

// workbenchCluster is a cluster as the service lists it.
type workbenchCluster struct {
	Name     string             `json:"name"`
	Image    string             `json:"defaultImage"`
	Profiles []workbenchProfile `json:"resourceProfiles"`
}

type workbenchProfile struct {
	Name string `json:"name"`
}

// Check reports what is missing to ask the service at all.
func (w Workbench) Check() error {
	for _, v := range []struct{ name, value string }{{"RS_SERVER_ADDRESS", w.Server}, {"RS_SESSION_RPC_COOKIE", w.Cookie}} {
		if v.value == "" {
			return fmt.Errorf("posit-workbench: %s is not set: this preset works from a session of Posit Workbench", v.name)
		}
	}
	return nil
}

// Environments asks which clusters there are.
func (w Workbench) Environments() Request { return w.request("GET", "get_compute_envs", "") }

func (w Workbench) request(method, call, body string) Request {
	r := Request{Method: method, URL: strings.TrimRight(w.Server, "/") + "/api/" + call, Body: body,
		Headers: append([]Header{{"Cookie", w.Cookie}, {"X-RS-Session-Server-RPC-Cookie", w.Cookie}}, w.Headers...)}
	if _, has := r.header("Content-Type"); body != "" && !has {
		r.Headers = append(r.Headers, Header{"Content-Type", "application/json"})
	}
	return r
}

// Job launches a job, on a cluster that is in the answer to Environments.
func (w Workbench) Job(envs Answer) (Request, error) {
	if err := w.Check(); err != nil {
		return Request{}, err
	}
	cluster, err := w.cluster(envs)
	if err != nil {
		return Request{}, fmt.Errorf("posit-workbench: %w", err)
	}
	return w.job(cluster)
}

// Unasked is the request of Job for people to read while nobody has been asked: CLUSTER,
// IMAGE and PROFILE are in the place of what is not known.
func (w Workbench) Unasked() (Request, error) {
	return w.job(workbenchCluster{cmp.Or(w.Cluster, "CLUSTER"), "IMAGE", []workbenchProfile{{cmp.Or(w.Profile, "PROFILE")}}})
}

func (w Workbench) job(cluster workbenchCluster) (Request, error) {
	body, err := w.body(cluster)
	if err != nil {
		return Request{}, fmt.Errorf("posit-workbench: %w", err)
	}
	return w.request("POST", "launch_job", body), nil
}

func (w Workbench) body(cluster workbenchCluster) (string, error) {
	if !utf8.ValidString(strings.Join(w.Args, "")) {
		return "", errors.New("an argument is not UTF-8, and JSON holds nothing else")
	}
	job := workbenchJob{Cluster: cluster.Name, Name: cmp.Or(w.JobName, "mirai_daemon"), Exe: cmp.Or(w.Exe, "Rscript"), Args: w.Args}
	if cluster.Image != "" {
		job.Container = &workbenchContainer{cluster.Image}
	}
	var profiles []string
	for _, p := range cluster.Profiles {
		profiles = append(profiles, p.Name)
	}
	switch {
	case w.Profile != "" && !slices.Contains(profiles, w.Profile):
		return "", absent("resource profile", w.Profile, profiles)
	case w.Profile != "":
		job.Profile = w.Profile
	case w.CPUs != 0 || w.Memory != 0:
		job.Resources = &workbenchResources{cmp.Or(w.CPUs, 1), cmp.Or(w.Memory, 512)}
	case len(profiles) > 0:
		job.Profile = profiles[0]
	}
	type params struct {
		Job workbenchJob `json:"job"`
	}
	body, err := encode(struct {
		Method string `json:"method"`
		Params params `json:"kwparams"`
	}{"launch_job", params{job}})
	return string(body), err
}

// cluster chooses the cluster.
func (w Workbench) cluster(envs Answer) (workbenchCluster, error) {
	var said struct {
		Result struct {
			Clusters []workbenchCluster `json:"clusters"`
		} `json:"result"`
	}
	if err := refusedByWorkbench(envs); err != nil {
		return workbenchCluster{}, fmt.Errorf("ask for the clusters: %w", err)
	}
	if err := envs.decode(&said); err != nil {
		return workbenchCluster{}, fmt.Errorf("ask for the clusters: %w", err)
	}
	var names []string
	for _, c := range said.Result.Clusters {
		names = append(names, c.Name)
		if c.Name == w.Cluster || w.Cluster == "" {
			return c, nil
		}
	}
	if len(names) == 0 {
		return workbenchCluster{}, fmt.Errorf("the service has no cluster on which it could launch a job: it answered %s", envs.Text())
	}
	return workbenchCluster{}, absent("cluster", w.Cluster, names)
}

func absent(what, name string, there []string) error {
	if len(there) == 0 {
		return fmt.Errorf("%s %q is not there: there is none", what, name)
	}
	return fmt.Errorf("%s %q is not there: there are %s", what, name, oneLine(strings.Join(there, ", ")))
}

// Launched reads the answer to a Job, which is an error unless the service has taken it.
func (w Workbench) Launched(a Answer) error {
	if err := refusedByWorkbench(a); err != nil {
		return fmt.Errorf("posit-workbench: launch a job: %w", err)
	}
	return nil
}

// refusedByWorkbench reports an answer that is none to what was asked.
func refusedByWorkbench(a Answer) error {
	var said struct {
		Error json.RawMessage `json:"error"`
	}
	switch {
	case a.Status == http.StatusUnauthorized, a.Status == http.StatusForbidden, a.OK() && a.HTML():
		return fmt.Errorf("the session's cookie is not accepted (%s): this needs Posit Workbench 2026.01 or later, and a session that has not expired", status(a.Status))
	case !a.OK():
		return fmt.Errorf("the service answered %s", a.Text())
	case json.Unmarshal([]byte(a.Body), &said) == nil && len(said.Error) > 0 && string(said.Error) != "null":
		return fmt.Errorf("the service answered %s", a.Text())
	}
	return nil
}

// MiraiArgs are the arguments with which Rscript starts call, with the libraries of
// libPaths, as mirai writes them.
func MiraiArgs(libPaths []string, call string) []string {
	if len(libPaths) == 0 {
		return []string{"-e", "{" + call + "}"}
	}
	var list []string
	for _, p := range libPaths {
		list = append(list, `"`+strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(p)+`"`)
	}
	return []string{"-e", "{.libPaths(c(" + strings.Join(list, ",") + "));" + call + "}"}
}
