package plan

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"muster/hpc"
	"muster/internal/config"
	"muster/internal/shell"
)

// ClusterSettings are what a launcher of kind cluster can say.
type ClusterSettings struct {
	Scheduler           string           `set:"scheduler" doc:"whose language is spoken: pbs is PBS Pro and OpenPBS, sge is Grid Engine" example:"slurm" oneof:"slurm,pbs,torque,sge,lsf" like:"openpbs=pbs,pbspro=pbs,pbs_pro=pbs,gridengine=sge,grid_engine=sge,uge=sge,ge=sge,ocs=sge,openlava=lsf" near:"batch_system,resource_manager"`
	Command             string           `set:"command" doc:"what submits, with options" example:"sbatch --clusters=big" unset:"sbatch, qsub or bsub" near:"sbatch,qsub,bsub,submit_command"`
	Array               config.Array     `set:"array" doc:"the indices of the job array, one worker each: 1-100, 1-100:2 or 1,3,7; %20 lets twenty run at a time" example:"1-100%20" unset:"one job" near:"job_array,ntasks,jobs,n_jobs,job_array_indices,task_ids"`
	Walltime            time.Duration    `set:"walltime" unit:"true" doc:"after which the scheduler ends a job" example:"4h" unset:"as the queue says" near:"time,time_limit,timelimit,h_rt,run_limit,max_time,wall_time,max_walltime,runtime,runlimit"`
	CPUs                int              `set:"cpus" doc:"CPUs of one job, on one node" example:"8" unset:"as the queue says" near:"cpus_per_task,ncpus,cores,threads,ppn,processors,num_cpus,n_cpus,cpu,nthreads,cores_per_job"`
	Memory              config.Size      `set:"memory" unit:"true" doc:"memory of one job; for Grid Engine, which counts it for each slot, muster divides it" example:"16GB" unset:"as the queue says" near:"mem,ram,h_vmem,vmem,mem_per_node,memory_limit,mem_per_cpu,mem_per_task,h_rss,maxmem"`
	GPUs                int              `set:"gpus" doc:"GPUs of one job" example:"1" unset:"none" near:"gpu,gres,ngpus,gpus_per_node,num_gpus,n_gpus,gpus_per_task"`
	Queue               string           `set:"queue" doc:"the queue, or Slurm's partition" example:"main" unset:"the scheduler's default" near:"partition,partitions,queues,queue_name"`
	Account             string           `set:"account" doc:"what is charged: Slurm's account, the project of others" example:"proj42" unset:"the scheduler's default" near:"project,allocation,charge_account,project_name,billing"`
	Name                string           `set:"name" doc:"what jobs are called; muster adds a word that makes it unique" example:"sim" unset:"muster" near:"job_name,jobname"`
	Output              string           `set:"output" doc:"the file for what a job prints, in the scheduler's own pattern" example:"/scratch/me/%A-%a.out" unset:"a file in the run's folder, which goes with it" near:"stdout,stderr,error,log,log_file,stdout_file,log_directory,log_dir"`
	ParallelEnvironment string           `set:"parallel_environment" doc:"Grid Engine's parallel environment, for more than one CPU; qconf -spl lists them" example:"smp" unset:"smp" near:"pe,pe_name"`
	Shell               string           `set:"shell" doc:"the interpreter of the job script; module needs /bin/bash -l" example:"/bin/bash -l" unset:"/bin/sh" near:"interpreter,shebang"`
	Workdir             string           `set:"workdir" doc:"the folder in which jobs start and tasks run" example:"/scratch/me" unset:"the folder in which the command was typed" near:"chdir,cwd,directory,dir,working_directory,wd,initialdir"`
	Setup               []string         `set:"setup" doc:"lines of shell before the worker" example:"[\"module load gcc/12\"]" unset:"none" near:"prologue,prolog,job_script_prologue,modules,module,module_load,init_script,before,worker_init"`
	Options             string           `set:"options" doc:"directives and lines of your own, which win over generated ones" example:"#SBATCH --constraint=ib" unset:"none" near:"directives,extra_args,job_extra_directives,qos,constraint,nodes,ntasks_per_node,email,mail,mail_user,mail_type,reservation,exclusive,nodelist,exclude,licenses,dependency,template,resources,nodes_per_block,scheduler_options,native_specification,sbatch_args,submit_args,features"`
	OptionsFile         config.TextFile  `set:"options_file" doc:"a file that holds what options would, taken byte for byte" example:"options.sh" unset:"none" near:"template_file"`
	Slots               int              `set:"slots" doc:"tasks at once in each worker" example:"8" unset:"as many as cpus, else as the profile says, else one" near:"tasks_per_worker,nprocs,processes,concurrency"`
	Poll                time.Duration    `set:"poll" doc:"how often the scheduler is asked how jobs stand, once a second at most" example:"30s" default:"10s" near:"interval,poll_interval"`
	Join                string           `set:"join" doc:"how workers get the secret by which they join: file is one that all nodes see, script puts it into the job script, for Slurm, PBS and Torque, which show that to nobody else" example:"script" default:"file" oneof:"file,script" near:"join_file,token"`
	Muster              string           `set:"muster" doc:"the muster that runs on the nodes" example:"/opt/muster/bin/muster" unset:"a copy of the one that was typed" near:"executable,muster_path"`
	WorkerCommand       string           `set:"worker_command" doc:"a line of shell that jobs run in the place of muster's worker: other people's workers" example:"dask worker tcp://10.0.0.1:8786" unset:"muster's worker" near:"worker,cmd,run"`
	Bare                bool             `set:"bare" doc:"submit nothing but options and worker_command" example:"true" default:"false"`
	Via                 config.Reference `set:"via" doc:"the launcher that leads to the login node" example:"launcher.ssh.login" unset:"the scheduler's commands are here" kind:"ssh" near:"login,host,hosts,ssh,remote,proxy_jump"`
}

// Check returns what the settings of launcher l get wrong together.
func (s *ClusterSettings) Check(l *config.Launcher) []config.Diagnostic {
	var bad []config.Diagnostic
	add := func(setting, msg, hint string) { bad = append(bad, l.Mistake(setting, msg, hint)) }
	if !l.Has("scheduler") {
		add("scheduler", "it does not say which scheduler", `scheduler = "slurm", "pbs", "torque", "sge" or "lsf"`)
	}
	if l.Has("options") && l.Has("options_file") {
		add("options_file", "there are options and options_file", "keep one of them")
	}
	switch {
	case s.Bare && !l.Has("worker_command"):
		add("bare", "bare is for the command of other people's workers", "give worker_command too")
	case s.Bare && s.Join == "script" && whoseOf(l) != Foreign:
		add("join", "bare submits nothing but options and worker_command, so no script can carry the join string", `join = "file"`)
	}
	if d := hpc.Dialects[s.Scheduler]; d != nil && d.ShowsScripts() != "" && s.Join == "script" && whoseOf(l) != Foreign {
		add("join", "other users could read the secret in a job script and join as workers: "+d.ShowsScripts(),
			`leave join out: the secret is in a file that is yours alone then; all nodes have to see its folder, for which MUSTER_STATE names another, or state in the launcher of via`)
	}
	if s.Bare && l.Has("array") {
		add("array", "bare submits nothing but options and worker_command, and no array beside them", "write it in options")
	}
	if s.Workdir != "" && !config.StandsIn(s.Workdir) && s.Workdir[0] != '/' {
		add("workdir", fmt.Sprintf("workdir is %q, which depends on where a job begins, and no shell expands it", s.Workdir), "write a path from the root")
	}
	if s.Poll < time.Second {
		add("poll", "a scheduler is asked once a second at most", `such as poll = "10s"`)
	}
	return append(bad, early(l, "name", "account", "queue", "output", "setup", "options", "options_file", "worker_command")...)
}

// planCluster plans a cluster launcher.
func planCluster(x *drafting, names []Names) (*Plan, error) {
	var s ClusterSettings
	if err := x.e.Launcher(x.l, &s); err != nil {
		return nil, err
	}
	bad := []error{x.f.Errors(s.Check(x.l))}
	if hpc.Dialects[s.Scheduler] == nil {
		if x.l.Has("scheduler") {
			bad = append(bad, x.at("scheduler", "it cannot be told here which scheduler it is: its name comes from outside of the config", "write the name out"))
		}
		return nil, x.f.Join(bad...)
	}
	c := &Cluster{Scheduler: s.Scheduler, Command: words(s.Command), Bare: s.Bare, Counted: x.w.Workers > 0 && !s.Bare, JoinInScript: s.Join == "script"}
	login, err := via(x.e, x.f, x.l)
	c.Login, bad = login, append(bad, err)
	p := x.begin(c, s.Poll, s.Slots, s.Workdir, s.Muster)
	p.Worker.Slots = cmp.Or(p.Worker.Slots, max(s.CPUs, 1))
	if s.Walltime > 0 && (p.Worker.Walltime == 0 || s.Walltime < p.Worker.Walltime) {
		p.Worker.Walltime = s.Walltime
	}
	p.Names = names
	c.Jobs, err = x.jobs(p, &s)
	if err := x.f.Join(append(bad, err, x.tryCluster(p, names == nil))...); err != nil {
		return nil, err
	}
	return p, nil
}

// jobs makes the jobs of a plan. The array is known before a worker is, so that no
// setting that speaks of one can change it. With an error it returns a job in which
// more may be wrong, or none.
func (x *drafting) jobs(p *Plan, s *ClusterSettings) ([]hpc.Job, error) {
	c := p.Kind.(*Cluster)
	first, err := x.job(c, p.Whose, s)
	if err != nil {
		return []hpc.Job{first}, err
	}
	array := c.dialect().Submitted(first.Array)
	if err := x.unexpanded(c, array != nil); err != nil {
		return nil, err
	}
	times, each := x.times(c.Bare, first.Array != nil), max(x.w.Workers, 1)
	if first.Array != nil {
		each = first.Array.Count()
	}
	if err := x.bounded(times, each); err != nil {
		return nil, err
	}
	var list []hpc.Job
	for i := range times {
		job := first
		if p.Names != nil && speaks(x.l) {
			if job, err = x.jobFor(p, i, array != nil); err != nil {
				return nil, err
			}
			if !reflect.DeepEqual(job.Array, first.Array) {
				return nil, x.at(optionsOf(x.l), "there is an array in options that speak of the worker, and how many workers there are has to be known before", "write it as the setting array")
			}
		}
		job.Array = array
		list = append(list, job)
	}
	return list, nil
}

// unexpanded finds settings that are directives and have the index of an array's
// element, which is a variable of the shell.
func (x *drafting) unexpanded(c *Cluster, array bool) error {
	if !array {
		return nil
	}
	var bad []error
	for _, setting := range []string{"name", "account", "queue", "output"} {
		if x.l.Mentions(setting, "index") {
			hint := "leave it out"
			if pattern := c.dialect().IndexPattern(); setting == "output" && pattern != "" {
				hint = "the pattern of this scheduler is " + pattern
			}
			bad = append(bad, x.at(setting, "worker.index of an array's element is a variable of the shell, and no shell reads "+setting, hint))
		}
	}
	return x.f.Join(bad...)
}

// optionsOf is the setting that has the raw options.
func optionsOf(l *config.Launcher) string {
	if l.Has("options_file") {
		return "options_file"
	}
	return "options"
}

// times is how many jobs there are. If the wish says how many workers there are to be,
// that is one array, or as many jobs if these are bare.
func (x *drafting) times(bare, array bool) int {
	switch {
	case x.w.Workers > 0 && bare:
		return x.w.Workers
	case x.w.Workers > 0:
		return 1
	case x.w.Times == AsArray && array:
		return 1
	}
	return max(int(x.w.Times), 0)
}

// job makes a job of the settings, with as many elements as are wished.
func (x *drafting) job(c *Cluster, whose Whose, s *ClusterSettings) (hpc.Job, error) {
	d := c.dialect()
	options := s.Options
	if x.l.Has("options_file") {
		options = s.OptionsFile.Text
	}
	j := hpc.Job{Name: name(s.Name), Walltime: x.life(s.Walltime), CPUs: s.CPUs, Memory: int64(s.Memory), GPUs: s.GPUs, Queue: word(s.Queue), Account: word(s.Account),
		Output: s.Output, PE: word(s.ParallelEnvironment), Shell: s.Shell, Workdir: cmp.Or(s.Workdir, x.w.Dir), Setup: s.Setup, Options: options, Body: s.WorkerCommand}
	if config.StandsIn(s.Shell) {
		j.Shell = "/" + s.Shell
	}
	if whose != Foreign && j.Walltime > 0 {
		j.Warn = warning(j.Walltime)
	}
	var wrong error
	if s.Array != "" {
		var err error
		if j.Array, err = hpc.ParseArray(string(s.Array)); err != nil {
			wrong = x.at("array", err.Error(), "")
		}
	}
	if c.Bare {
		// Options stay as they are, whatever is in them; if it is an array it counts.
		if read, err := d.Normal(j); err == nil {
			j.Array = read.Array
		}
		return j, wrong
	}
	j, err := d.Normal(j)
	if err := x.f.Join(wrong, x.fields(err)); err != nil {
		return j, err
	}
	if n := x.w.Workers; n > 1 || n == 1 && j.Array != nil {
		j.Array = j.Array.Sized(n)
	}
	return j, nil
}

// word makes one word of a text that stands for one which is not shown, or not known:
// what is shown has to be what a scheduler would take.
func word(text string) string {
	if config.StandsIn(text) {
		return strings.ReplaceAll(text, " ", "_")
	}
	return text
}

// name is a word that begins with a letter, as some schedulers want it.
func name(text string) string {
	if config.StandsIn(text) {
		return strings.Trim(word(text), "[]")
	}
	return text
}

// words are those of a command line, which has no quotes.
func words(line string) []string { return strings.Fields(word(line)) }

// jobFor makes the i-th job of a plan that has names. array says that it is submitted
// as one.
func (x *drafting) jobFor(p *Plan, i int, array bool) (hpc.Job, error) {
	c, n := p.Kind.(*Cluster), p.Names[0]
	argv := p.Worker.Argv(n.Muster, c.joinFile(n))
	w := config.Worker{Command: shell.Join(argv), Argv: argv, URL: n.URL, JoinFile: c.joinFile(n), Index: strconv.Itoa(i + 1)}
	if array {
		w.Index = "$" + c.dialect().IndexVariable()
	}
	var s ClusterSettings
	if err := x.fill(&s, w); err != nil {
		return hpc.Job{}, err
	}
	return x.job(c, p.Whose, &s)
}

// tryCluster finds what the scheduler would refuse before anything is sent.
func (x *drafting) tryCluster(p *Plan, placeholders bool) error {
	q := *p
	if placeholders {
		q.Names = []Names{{JoinFile: "join", Muster: "muster", Output: "/"}}
	}
	c := p.Kind.(*Cluster)
	for i := range c.Jobs {
		if i > 0 && placeholders {
			break
		}
		if _, err := c.Render(&q, i, ""); err != nil {
			return x.fields(err)
		}
	}
	return nil
}

// fields puts the FieldErrors of an error where the fields' settings stand.
func (x *drafting) fields(err error) error {
	list := hpc.FieldErrors(err)
	if len(list) == 0 {
		return err
	}
	var bad []error
	for _, field := range list {
		bad = append(bad, place(x.f, x.l, field))
	}
	return x.f.Join(bad...)
}

// place puts a FieldError where the field's setting stands.
func place(f *config.File, l *config.Launcher, e *hpc.FieldError) error {
	if e.Field == "options" && l.Has("options_file") && e.Line > 0 {
		return f.At(l.Where("options_file"), 0, fmt.Sprintf("line %d of the file: %s", e.Line, e.Msg), e.Hint)
	}
	at := e.Field
	if at == "options" {
		at = optionsOf(l)
	}
	return f.At(l.Where(at), e.Line, e.Msg, e.Hint)
}

// Warnings are what a scheduler takes and may not do as it is meant.
func (d *Draft) Warnings() []error {
	var list []error
	if c, j, is := d.job(); is {
		for _, w := range c.dialect().Warnings(j) {
			list = append(list, place(d.x.f, d.x.l, w))
		}
	}
	return list
}

// Ask asks the scheduler what it would refuse of the draft, or let wait for ever, and
// says what nobody could be asked.
func (d *Draft) Ask(ctx context.Context, client *hpc.Client) (unasked []string, err error) {
	_, j, is := d.job()
	if !is {
		return nil, nil
	}
	problems, unasked := client.Check(ctx, j)
	var bad []error
	for _, p := range problems {
		bad = append(bad, place(d.x.f, d.x.l, p))
	}
	return unasked, d.x.f.Join(bad...)
}

// job is the first job of a draft that has jobs, or would have one: the others are like
// it.
func (d *Draft) job() (*Cluster, hpc.Job, bool) {
	p := d.Plan
	if d.one != nil {
		p = d.one
	}
	c, is := p.Kind.(*Cluster)
	if !is || len(c.Jobs) == 0 {
		return nil, hpc.Job{}, false
	}
	return c, c.Jobs[0], true
}
