package plan

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	mhttp "muster/http"
	"muster/internal/config"
)

// HTTPSettings are what a launcher of kind http can say.
type HTTPSettings struct {
	Preset        string          `set:"preset" doc:"the interface that the service has, if muster knows it" example:"slurmrestd" unset:"posit-workbench if there is no url; else url, data and what follows describe a service of your own" oneof:"posit-workbench,slurmrestd" like:"posit=posit-workbench,workbench=posit-workbench,rstudio=posit-workbench,slurm-rest=slurmrestd" near:"provider,service"`
	URL           string          `set:"url" doc:"where the request goes that starts a worker; for slurmrestd the beginning of its URLs, or unix:/PATH" example:"https://api.example.org/launch" unset:"$RS_SERVER_ADDRESS, for posit-workbench" near:"endpoint,address,server,uri,host"`
	Method        string          `set:"method" doc:"the method of the request that starts a worker" example:"POST" default:"POST" near:"verb"`
	Headers       config.Pairs    `set:"headers" doc:"headers of each request to the service; but for those of Accept, Content-Type and User-Agent their values are secret" expr:"{ X-Api-Key = env(\"MY_API_KEY\") }" unset:"what cookie and token say, and Content-Type: application/json if data is JSON" secret:"true" near:"header,http_headers,auth"`
	Cookie        string          `set:"cookie" doc:"one more header, Cookie; for posit-workbench the cookie of the session" expr:"env(\"MY_COOKIE\")" unset:"none; $RS_SESSION_RPC_COOKIE for posit-workbench" secret:"true" near:"cookies"`
	Token         string          `set:"token" doc:"one more header, Authorization: Bearer TOKEN; for slurmrestd its JWT" expr:"env(\"MY_API_KEY\")" unset:"none" secret:"true" near:"bearer,api_key,key,jwt,password"`
	Data          string          `set:"data" doc:"the body of the request; %s in it becomes the worker's command, escaped as the Content-Type asks, and %% a percent sign; but data that speaks of worker is sent as it is" expr:"jsonencode({ command = worker.command })" unset:"none" near:"body,payload,json"`
	Timeout       time.Duration   `set:"timeout" doc:"how long one answer may take" example:"30s" default:"30s"`
	CA            config.TextFile `set:"ca" doc:"a file of certificates in PEM: the service's own has to be signed by one of them" example:"ca.pem" unset:"the system's" near:"cacert,ca_file,ca_cert,cert"`
	ID            config.Formula  `set:"id" doc:"the service's name for what it has started: an expression over answer" expr:"answer.json.id" unset:"worker.name" over:"answer" near:"job_id,name"`
	Status        StatusRequest   `set:"status" doc:"how the service is asked about a worker that it has started"`
	Cancel        CancelRequest   `set:"cancel" doc:"how the service is told to end a worker that it has started" near:"stop,delete"`
	Poll          time.Duration   `set:"poll" doc:"how often the service is asked, once a second at most" example:"30s" default:"10s" near:"interval,poll_interval"`
	Join          string          `set:"join" doc:"how workers get the secret by which they join: inline puts it into worker.command; with env the request has to set MUSTER_JOIN to worker.join in their environment; file names one that their machines see; Slurm requeues jobs only with file" example:"file" default:"inline" oneof:"inline,env,file" near:"join_file"`
	Slots         int             `set:"slots" doc:"tasks at once in each worker" example:"8" unset:"as many as cpus, else as the profile says, else one a core" near:"tasks_per_worker,nprocs,processes,concurrency"`
	Muster        string          `set:"muster" doc:"the muster that runs there" example:"/opt/muster/bin/muster" unset:"a copy of the one that was typed, where this machine has it" near:"executable,muster_path"`
	WorkerCommand string          `set:"worker_command" doc:"a line of shell that is started in the place of muster's worker: other people's workers" example:"dask worker tcp://10.0.0.1:8786" unset:"muster's worker" near:"worker,command,cmd,run"`
	Bare          bool            `set:"bare" doc:"send worker_command as R mirai does, to the byte" example:"true" default:"false"`

	// Of presets:

	Cluster         string        `set:"cluster" doc:"posit-workbench: the cluster where the job runs" example:"Kubernetes" unset:"the first that there is"`
	ResourceProfile string        `set:"resource_profile" doc:"posit-workbench: the resource profile that the job gets" example:"rstudio" unset:"the first that the cluster has" near:"profile,resources"`
	Exe             string        `set:"exe" doc:"posit-workbench: what runs the worker's command, a shell or Rscript" example:"/bin/bash" unset:"/bin/sh, or Rscript with bare" near:"rscript,interpreter"`
	LibPaths        []string      `set:"lib_paths" doc:"posit-workbench with Rscript: R's library folders there" example:"[\"/opt/R/site-library\"]" unset:"its own" near:"libpaths,library"`
	JobName         string        `set:"job_name" doc:"what the job is called; to slurmrestd muster adds a word that makes it unique" example:"sim" unset:"muster, or mirai_daemon with bare" near:"jobname"`
	CPUs            int           `set:"cpus" doc:"the job's CPUs" example:"4" unset:"as the service says" near:"cpus_per_task,ncpus,cores,threads"`
	Memory          config.Size   `set:"memory" unit:"true" doc:"the job's memory" example:"8GB" unset:"as the service says" near:"mem,ram"`
	User            string        `set:"user" doc:"slurmrestd: whose token it is" example:"me" unset:"$USER, if there is a token" near:"username,login"`
	Array           config.Array  `set:"array" doc:"slurmrestd: the indices of the job array, which has one worker for each" example:"1-100%20" unset:"one job" near:"job_array,ntasks"`
	Queue           string        `set:"queue" doc:"slurmrestd: the partition" example:"main" unset:"Slurm's default" near:"partition"`
	Account         string        `set:"account" doc:"slurmrestd: the account that is charged" example:"proj42" unset:"Slurm's default" near:"project"`
	Walltime        time.Duration `set:"walltime" unit:"true" doc:"slurmrestd: the time after which Slurm ends the job" example:"4h" unset:"as the partition says" near:"time,time_limit"`
	Workdir         string        `set:"workdir" doc:"the folder in which jobs start and tasks run" example:"/scratch/me" unset:"the folder in which the command was typed" near:"chdir,cwd,directory,dir"`
	Shell           string        `set:"shell" doc:"slurmrestd: the interpreter of the job script" example:"/bin/bash -l" unset:"/bin/sh" near:"shebang"`
	Setup           []string      `set:"setup" doc:"slurmrestd: lines of shell before the worker" example:"[\"module load gcc/12\"]" unset:"none" near:"prologue,modules"`
	Version         string        `set:"version" doc:"slurmrestd: the version of its API" example:"v0.0.38" unset:"the newest that both sides know: slurmrestd is asked" near:"api_version,api"`
	Environment     []string      `set:"environment" doc:"slurmrestd: the jobs' environment, NAME=VALUE" example:"[\"PATH=/usr/bin:/bin\"]" unset:"a usual PATH, and HOME and USER of whoever typed the command" near:"env,export"`
	Job             config.Data   `set:"job" doc:"slurmrestd: more fields of the job, by Slurm's own names; they win over the others" expr:"{ constraint = \"ib\" }" unset:"nothing" near:"options,extra,constraint,qos"`
}

// StatusRequest is how a service is asked how what it has started stands.
type StatusRequest struct {
	URL     config.Formula `set:"url" doc:"the URL to ask: an expression over id and answer, which is that to the start" expr:"\"https://api.example.org/jobs/${id}\"" unset:"nobody is asked" over:"id,answer"`
	Method  string         `set:"method" doc:"the method of that request" example:"GET" default:"GET"`
	State   config.Formula `set:"state" doc:"the word that says how the worker stands: an expression over id and answer, which is that to this request" expr:"answer.json.state" unset:"answer.json.state, or answer.json.status" over:"id,answer"`
	Pending []string       `set:"pending" doc:"words that mean that it waits, beside those that are known" example:"[\"PARKED\"]" unset:"none"`
	Running []string       `set:"running" doc:"words that mean that it runs" example:"[\"UP\"]" unset:"none"`
	Ended   []string       `set:"ended" doc:"words that mean that it has ended" example:"[\"GONE\"]" unset:"none" near:"done,finished"`
}

// CancelRequest is how a service is told to end what it has started.
type CancelRequest struct {
	URL    config.Formula `set:"url" doc:"the URL to tell: an expression over id and answer, which is that to the start" expr:"\"https://api.example.org/jobs/${id}\"" unset:"nothing is ended: workers are told to leave" over:"id,answer"`
	Method string         `set:"method" doc:"the method of that request" example:"DELETE" default:"DELETE"`
	Data   config.Formula `set:"data" doc:"the body of that request: an expression over id and answer" expr:"jsonencode({ id = id })" unset:"none" over:"id,answer" near:"body"`
}

// The presets of a launcher of kind http; none is a service of the user's own.
const (
	presetNone      = ""
	presetWorkbench = "posit-workbench"
	presetSlurm     = "slurmrestd"
)

// presetOf is the preset of a launcher.
func (s *HTTPSettings) presetOf(l *config.Launcher) string {
	if s.Preset == "" && !l.Has("url") {
		return presetWorkbench
	}
	return s.Preset
}

// belong says which settings are for which presets; the others are for all.
var belong = map[string][]string{
	"method": {presetNone}, "data": {presetNone}, "id": {presetNone}, "status": {presetNone}, "cancel": {presetNone},
	"cluster": {presetWorkbench}, "resource_profile": {presetWorkbench}, "exe": {presetWorkbench}, "lib_paths": {presetWorkbench},
	"job_name": {presetWorkbench, presetSlurm}, "cpus": {presetWorkbench, presetSlurm}, "memory": {presetWorkbench, presetSlurm},
	"user": {presetSlurm}, "array": {presetSlurm}, "queue": {presetSlurm}, "account": {presetSlurm}, "walltime": {presetSlurm},
	"shell": {presetSlurm}, "version": {presetSlurm}, "setup": {presetSlurm}, "environment": {presetSlurm}, "job": {presetSlurm},
}

// Check returns what the settings of launcher l get wrong together.
func (s *HTTPSettings) Check(l *config.Launcher) []config.Diagnostic {
	var bad []config.Diagnostic
	add := func(setting, msg, hint string) { bad = append(bad, l.Mistake(setting, msg, hint)) }
	preset := s.presetOf(l)
	for _, f := range config.Fields(HTTPSettings{}) {
		name, _, _ := strings.Cut(f.Name, ".")
		if of := belong[name]; l.Has(f.Name) && len(of) > 0 && !slices.Contains(of, preset) {
			add(f.Name, fmt.Sprintf("%s is no setting of %s", f.Name, called(preset)), "it is for "+called(of...))
		}
	}
	switch preset {
	case presetNone:
		bad = append(bad, s.checkOwn(l)...)
	case presetSlurm:
		bad = append(bad, s.checkSlurm(l)...)
	}
	if s.Bare && !l.Has("worker_command") {
		add("bare", "bare is for the command of other people's workers", "give worker_command too")
	}
	if s.Poll < time.Second {
		add("poll", "a service is asked once a second at most", `such as poll = "10s"`)
	}
	if s.Timeout <= 0 {
		add("timeout", "a service needs some time to answer", `such as timeout = "30s"`)
	}
	if s.Workdir != "" && !config.StandsIn(s.Workdir) && s.Workdir[0] != '/' {
		add("workdir", fmt.Sprintf("workdir is %q, which depends on where a job begins", s.Workdir), "write a path from the root")
	}
	return append(bad, early(l, "url", "headers", "cookie", "token", "data", "id", "status.url", "status.state", "cancel.url", "cancel.data", "worker_command", "setup", "environment")...)
}

// checkOwn returns what is wrong with the request to a service of the user's own.
func (s *HTTPSettings) checkOwn(l *config.Launcher) []config.Diagnostic {
	var bad []config.Diagnostic
	add := func(setting, msg, hint string) { bad = append(bad, l.Mistake(setting, msg, hint)) }
	if !l.Has("url") {
		add("url", "it does not say where the service is", `url = "https://HOST/PATH"`)
	}
	if !isURL(s.URL) {
		add("url", "this is no URL of a service", "it is written https://HOST/PATH")
	}
	spoken := []string{"command", "argv", "join", "join_file", "name"}
	speaks := l.Mentions("url", spoken...) || l.Mentions("headers", spoken...) || l.Mentions("data", spoken...)
	unknown := l.Has("data") && s.Data == "" || config.StandsIn(s.Data)
	if !speaks && !unknown && !mhttp.HasPlace(s.Data) {
		add("data", "nothing in the request stands for the worker that is to be started", `data = jsonencode({ command = worker.command }), or %s in data`)
	}
	if s.Join == "env" && whoseOf(l) != Foreign && !l.Mentions("headers", "join") && !l.Mentions("data", "join") {
		add("join", "join is env, and the request does not speak of worker.join", "have data set MUSTER_JOIN to worker.join in the worker's environment")
	}
	if l.Has("status.state") && !l.Has("status.url") {
		add("status.state", "it does not say where the service is asked", `status { url = "https://HOST/jobs/${id}" }`)
	}
	if l.Has("cancel.data") && !l.Has("cancel.url") {
		add("cancel.data", "it does not say where the service is told", `cancel { url = "https://HOST/jobs/${id}" }`)
	}
	return bad
}

// isURL reports whether text is a URL of HTTP, or not known here.
func isURL(text string) bool {
	if text == "" || config.StandsIn(text) {
		return true
	}
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// called names presets.
func called(presets ...string) string {
	var list []string
	for _, p := range presets {
		if p == presetNone {
			list = append(list, "a service of your own, with a url and without a preset")
		} else {
			list = append(list, "preset "+p)
		}
	}
	return strings.Join(list, " and ")
}

// Web is how a service is reached.
type Web struct {
	CA      string        `json:"ca,omitempty"` // PEM; empty is the system's
	CAFile  string        `json:"ca_file,omitempty"`
	Timeout time.Duration `json:"timeout"`
}

func (s *HTTPSettings) web() Web { return Web{s.CA.Text, s.CA.Path, s.Timeout} }

// sent reports whether the join string goes out with what is asked of a service.
func (s *HTTPSettings) sent(l *config.Launcher) bool {
	return s.Join != "file" && whoseOf(l) != Foreign
}

// HTTP starts each worker by a request to a service of the user's own.
type HTTP struct {
	Web
	Count  int     `json:"count"`
	Sent   bool    `json:"sent,omitempty"`   // the join string goes out with the requests
	Starts []Start `json:"starts,omitempty"` // one for each worker, when there are names
}

// Start is the request for one worker, and how the service is spoken to about it.
type Start struct {
	Request mhttp.Request `json:"request"`
	Follow  Follow        `json:"follow"`
}

// Follow is how a service is asked about what it has started, and told to end it.
type Follow struct {
	ID           config.Formula `json:"id,omitzero"`
	Status       config.Formula `json:"status,omitzero"` // where it is asked; zero for nobody
	StatusMethod string         `json:"status_method,omitempty"`
	State        config.Formula `json:"state,omitzero"`
	States       States         `json:"states,omitzero"`
	Cancel       config.Formula `json:"cancel,omitzero"` // where it is told; zero for nobody
	CancelMethod string         `json:"cancel_method,omitempty"`
	CancelData   config.Formula `json:"cancel_data,omitzero"`
}

// States are a user's own words for how something stands.
type States struct {
	Pending []string `json:"pending,omitempty"`
	Running []string `json:"running,omitempty"`
	Ended   []string `json:"ended,omitempty"`
}

// Tag is what plans call the kind.
func (*HTTP) Tag() string { return "http" }

// Places are one for each worker, each with a token of its own: whoever reads one
// request can take one worker's place at most.
func (h *HTTP) Places() []Place { return apart(h.Count, h.Sent) }

// Parts are the requests.
func (h *HTTP) Parts() []Part { return partsApart(h.Count) }

// Way is by how many requests.
func (h *HTTP) Way() string { return "by " + count(h.Count, "request") + " over HTTP" }

func (h *HTTP) whole(p *Plan) error { return wholeApart(p, h.Count, len(h.Starts)) }

// planHTTP plans an http launcher.
func planHTTP(x *drafting, names []Names) (*Plan, error) {
	var s HTTPSettings
	if err := x.e.Launcher(x.l, &s); err != nil {
		return nil, err
	}
	if err := x.f.Errors(s.Check(x.l)); err != nil {
		return nil, err
	}
	switch s.presetOf(x.l) {
	case presetWorkbench:
		return x.workbench(&s, names)
	case presetSlurm:
		return x.slurmrestd(&s, names)
	}
	k := &HTTP{Web: s.web(), Count: x.count(), Sent: s.sent(x.l)}
	p, err := x.beginApart(k, k.Count, s.Poll, s.Slots, s.Workdir, s.Muster, names)
	if err != nil || names == nil {
		return p, err
	}
	for i := range k.Count {
		var one HTTPSettings
		w, err := x.apart(p, i, k.Count, s.Join, &one, &one.WorkerCommand)
		if err != nil {
			return nil, err
		}
		start, err := x.start(&one, w, names[i].Launch != "")
		if err != nil {
			return nil, err
		}
		k.Starts = append(k.Starts, start)
	}
	return p, nil
}

// start makes the request for one worker of its settings. minted says that its name
// has been: what a person pastes twice is meant twice.
func (x *drafting) start(s *HTTPSettings, w config.Worker, minted bool) (Start, error) {
	r := mhttp.Request{Method: strings.ToUpper(s.Method), URL: s.URL, Headers: s.headers(), Body: s.Data, Secrets: x.e.Taken(&x.l.Block, "data", "cancel.data"), Once: true}
	if !isURL(s.URL) {
		return Start{}, x.at("url", "this is no URL of a service", "it is written https://HOST/PATH")
	}
	for _, m := range []struct{ setting, method string }{{"method", s.Method}, {"status.method", s.Status.Method}, {"cancel.method", s.Cancel.Method}} {
		if err := mhttp.CheckMethod(m.method); err != nil && !config.StandsIn(m.method) {
			return Start{}, x.at(m.setting, err.Error(), "")
		}
	}
	for i, h := range r.Headers {
		setting := "headers"
		if i >= len(s.Headers) {
			setting = map[string]string{"Cookie": "cookie", "Authorization": "token"}[h.Name]
		}
		if err := h.Check(); err != nil {
			return Start{}, x.at(setting, err.Error(), "")
		}
	}
	kind := header(r.Headers, "Content-Type")
	if !x.l.Mentions("data") && mhttp.HasPlace(s.Data) {
		as := mhttp.EscapingFor(kind)
		if s.Bare {
			as = mhttp.Mirai
		}
		var err error
		if r.Body, err = mhttp.Fill(s.Data, w.Command, as); err != nil {
			return Start{}, x.at("data", err.Error(), "")
		}
	}
	if !s.Bare {
		if kind == "" && looksLikeJSON(r.Body) {
			r.Headers = append(r.Headers, mhttp.Header{Name: "Content-Type", Value: "application/json"})
		}
		if minted && header(r.Headers, "Idempotency-Key") == "" {
			r.Headers = append(r.Headers, mhttp.Header{Name: "Idempotency-Key", Value: w.Name})
		}
	}
	return Start{r, Follow{ID: s.ID, Status: s.Status.URL, StatusMethod: strings.ToUpper(s.Status.Method), State: s.Status.State,
		States: States{s.Status.Pending, s.Status.Running, s.Status.Ended}, Cancel: s.Cancel.URL, CancelMethod: strings.ToUpper(s.Cancel.Method), CancelData: s.Cancel.Data}}, nil
}

func looksLikeJSON(text string) bool {
	text = strings.TrimSpace(text)
	return strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[")
}

// headers are those that are set, and what cookie and token add.
func (s *HTTPSettings) headers() []mhttp.Header {
	var list []mhttp.Header
	for _, h := range s.Headers {
		list = append(list, mhttp.Header{Name: h.Name, Value: h.Value})
	}
	if s.Cookie != "" {
		list = append(list, mhttp.Header{Name: "Cookie", Value: s.Cookie})
	}
	if s.Token != "" {
		list = append(list, mhttp.Header{Name: "Authorization", Value: "Bearer " + s.Token})
	}
	return list
}

// header is the value of a header, empty without one.
func header(list []mhttp.Header, name string) string {
	for _, h := range list {
		if strings.EqualFold(h.Name, name) {
			return h.Value
		}
	}
	return ""
}

func (h *HTTP) submissions(p *Plan) ([]*Submission, error) {
	var list []*Submission
	for _, s := range h.Starts {
		list = append(list, pasted(p, s.Request, h.Web, 1))
	}
	return list, nil
}

// pasted is a request as a person makes it with curl(1).
func pasted(p *Plan, r mhttp.Request, w Web, workers int) *Submission {
	argv, stdin := mhttp.Curl(r, w.CAFile)
	return &Submission{Launcher: p.Launcher, Argv: argv, Script: stdin, Workers: workers}
}
