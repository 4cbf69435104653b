package http

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
)

// maxList is how many bytes of a list of jobs, or of the description of the service,
// are read: the jobs are everybody's, some kilobytes each.
const maxList = 64 << 20

// Slurm is a slurmrestd.
type Slurm struct {
	// URL is like http://HOST:6820, maybe with a path before the service's own. With
	// Socket it may be empty.
	URL    string `json:"url,omitempty"`
	Socket string `json:"socket,omitempty"`
	// User and Token say who asks. On a socket both may be empty.
	User  string `json:"user,omitempty"`
	Token string `json:"token,omitempty"`
	// Headers are sent besides.
	Headers []Header `json:"headers,omitempty"`
}

// SlurmJob is what is submitted.
type SlurmJob struct {
	Script    string        `json:"script"` // with its #! line
	Name      string        `json:"name,omitempty"`
	Array     string        `json:"array,omitempty"` // like 1-20%4; empty is a plain job
	Dir       string        `json:"dir,omitempty"`
	Output    string        `json:"output,omitempty"`
	Partition string        `json:"partition,omitempty"`
	Account   string        `json:"account,omitempty"`
	TimeLimit time.Duration `json:"time_limit,omitempty"` // in whole minutes, rounded up; 0 is the partition's
	CPUs      int           `json:"cpus,omitempty"`       // 0 is one
	MemoryMB  int64         `json:"memory_mb,omitempty"`  // 0 is the partition's
	// Once says that the job is not started again when it was taken off its node.
	Once bool `json:"once,omitempty"`
	// Environment is K=V. There is nothing else in the job's, and it may not be empty.
	Environment []string `json:"environment,omitempty"`
	// More are fields of the job as the service has them, which win.
	More map[string]any `json:"more,omitempty"`
}

// slurmVersions are those whose fields are known here, oldest first.
var slurmVersions = []string{"v0.0.38", "v0.0.39", "v0.0.40", "v0.0.41", "v0.0.42", "v0.0.43", "v0.0.44", "v0.0.45"}

// Choose returns the newest version of the service that is known here.
func Choose(versions []string) (string, error) {
	for i := len(slurmVersions) - 1; i >= 0; i-- {
		for _, v := range versions {
			if v == slurmVersions[i] {
				return v, nil
			}
		}
	}
	return "", fmt.Errorf("slurmrestd speaks %s, and muster speaks %s to %s: none is the same",
		cmp.Or(oneLine(strings.Join(versions, ", ")), "no version"), slurmVersions[0], slurmVersions[len(slurmVersions)-1])
}

// Ask asks which versions the service speaks.
func (s Slurm) Ask() Request { return s.list("/openapi/v3") }

// Jobs asks for all jobs that the user may see.
func (s Slurm) Jobs(version string) Request {
	return s.list("/slurm/" + version + "/jobs")
}

// Job asks for one job, which may be a whole array.
func (s Slurm) Job(version, id string) Request {
	return s.list("/slurm/" + version + "/job/" + url.PathEscape(id))
}

// Cancel ends a job, a whole array like 12, or an element of one like 12_3. That it is
// gone only the list tells.
func (s Slurm) Cancel(version, id string) Request {
	return s.request("DELETE", "/slurm/"+version+"/job/"+url.PathEscape(id))
}

// list asks for what may be long.
func (s Slurm) list(path string) Request {
	r := s.request("GET", path)
	r.Most = maxList
	return r
}

func (s Slurm) request(method, path string) Request {
	r := Request{Method: method, URL: strings.TrimRight(cmp.Or(s.URL, "http://localhost"), "/") + path, Socket: s.Socket,
		Headers: []Header{{"Accept", "application/json"}}}
	if s.User != "" {
		r.Headers = append(r.Headers, Header{"X-SLURM-USER-NAME", s.User})
	}
	if s.Token != "" {
		r.Headers = append(r.Headers, Header{"X-SLURM-USER-TOKEN", s.Token})
	}
	r.Headers = append(r.Headers, s.Headers...)
	return r
}

// Submit submits a job in the words of a version.
func (s Slurm) Submit(version string, j SlurmJob) (Request, error) {
	fields, err := j.fields(version)
	if err != nil {
		return Request{}, fmt.Errorf("submit a job to slurmrestd: %w", err)
	}
	body, err := encode(map[string]any{"script": j.Script, "job": fields})
	if err != nil {
		return Request{}, fmt.Errorf("submit a job to slurmrestd: %w", err)
	}
	r := s.request("POST", "/slurm/"+version+"/job/submit")
	if _, has := r.header("Content-Type"); !has {
		r.Headers = append(r.Headers, Header{"Content-Type", "application/json"})
	}
	r.Body = string(body)
	return r, nil
}

// fields are those of the job. v0.0.38 has its environment as an object, and plain
// numbers where later ones have objects that also say that there is none.
func (j SlurmJob) fields(version string) (map[string]any, error) {
	if !strings.HasPrefix(j.Script, "#!") {
		return nil, errors.New("the script does not begin with #!, which Slurm requires")
	}
	old := version == "v0.0.38"
	number := func(n int64) any {
		if old {
			return n
		}
		return map[string]any{"set": true, "infinite": false, "number": n}
	}
	f := map[string]any{}
	texts := []string{j.Script, j.Name, j.Array, j.Dir, j.Output, j.Partition, j.Account}
	for i, name := range []string{"", "name", "array", "current_working_directory", "standard_output", "partition", "account"} {
		if name != "" && texts[i] != "" {
			f[name] = texts[i]
		}
	}
	if j.TimeLimit > 0 {
		f["time_limit"] = number(int64((j.TimeLimit + time.Minute - 1) / time.Minute))
	}
	if j.MemoryMB > 0 {
		f["memory_per_node"] = number(j.MemoryMB)
	}
	if j.CPUs > 0 {
		f["cpus_per_task"] = j.CPUs
	}
	if _, own := j.More["requeue"]; j.Once && !own {
		// 22.05 takes requeue for true, whatever it is, and knows sbatch's option too.
		if old {
			f["no_requeue"] = true
		} else {
			f["requeue"] = false
		}
	}
	environment := map[string]string{}
	for _, kv := range j.Environment {
		k, v, ok := strings.Cut(kv, "=")
		if !ok || k == "" {
			return nil, errors.New("what is to be in the job's environment is not like NAME=VALUE")
		}
		environment[k] = v
		texts = append(texts, kv)
	}
	f["environment"] = j.Environment
	if old {
		f["environment"] = environment
	}
	maps.Copy(f, j.More)
	_, own := j.More["environment"]
	switch {
	case len(environment) == 0 && !own:
		return nil, errors.New("the job's environment is empty, and slurmrestd takes none without: give it PATH")
	case !utf8.ValidString(strings.Join(texts, "\n")):
		return nil, errors.New("the script, the environment or a name is not UTF-8, and JSON holds nothing else")
	}
	return f, nil
}
