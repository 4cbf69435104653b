package plan

import (
	"time"

	config "muster/internal/newconfig"
)

// ClusterSettings are what a launcher of kind cluster can say.
type ClusterSettings struct {
	Scheduler           string           `set:"scheduler" doc:"whose language is spoken: pbs is PBS Pro and OpenPBS, sge is Grid Engine" example:"slurm" oneof:"slurm,pbs,torque,sge,lsf" like:"openpbs=pbs,pbspro=pbs,pbs_pro=pbs,gridengine=sge,grid_engine=sge,uge=sge,ge=sge,ocs=sge,openlava=lsf" near:"batch_system,resource_manager"`
	Command             string           `set:"command" doc:"what submits, with options" example:"sbatch --clusters=big" unset:"sbatch, qsub or bsub" near:"sbatch,qsub,bsub,submit_command"`
	Array               config.Array     `set:"array" doc:"the indices of the job array, one worker each: 1-100, 1-100:2 or 1,3,7; %20 lets twenty run at a time" example:"1-100%20" unset:"one job" near:"job_array,ntasks,jobs,n_jobs"`
	Walltime            time.Duration    `set:"walltime" doc:"after which the scheduler ends a job" example:"4h" unset:"as the queue says" near:"time,time_limit,timelimit,h_rt,run_limit,max_time"`
	CPUs                int              `set:"cpus" doc:"CPUs of one job, on one node" example:"8" unset:"as the queue says" near:"cpus_per_task,ncpus,cores,threads,ppn,processors"`
	Memory              config.Size      `set:"memory" doc:"memory of one job; for Grid Engine, which counts it for each slot, muster divides it" example:"16GB" unset:"as the queue says" near:"mem,ram,h_vmem,vmem,mem_per_node,memory_limit"`
	GPUs                int              `set:"gpus" doc:"GPUs of one job" example:"1" unset:"none" near:"gpu,gres,ngpus,gpus_per_node"`
	Queue               string           `set:"queue" doc:"the queue, or Slurm's partition" example:"main" unset:"the scheduler's default" near:"partition,partitions,queues"`
	Account             string           `set:"account" doc:"what is charged: Slurm's account, the project of others" example:"proj42" unset:"the scheduler's default" near:"project,allocation"`
	Name                string           `set:"name" doc:"what jobs are called; muster adds a word that makes it unique" example:"sim" unset:"muster" near:"job_name,jobname"`
	Output              string           `set:"output" doc:"the file for what a job prints, in the scheduler's own pattern" example:"/scratch/me/%A-%a.out" unset:"a file in the run's folder, which goes with it" near:"stdout,stderr,error,log,log_file"`
	ParallelEnvironment string           `set:"parallel_environment" doc:"Grid Engine's parallel environment, for more than one CPU; qconf -spl lists them" example:"smp" unset:"smp" near:"pe,pe_name"`
	Shell               string           `set:"shell" doc:"the interpreter of the job script; module needs /bin/bash -l" example:"/bin/bash -l" unset:"/bin/sh" near:"interpreter,shebang"`
	Workdir             string           `set:"workdir" doc:"the folder in which jobs start and tasks run" example:"/scratch/me" unset:"the folder in which the command was typed" near:"chdir,cwd,directory,dir,working_directory,wd,initialdir"`
	Setup               []string         `set:"setup" doc:"lines of shell before the worker" example:"[\"module load gcc/12\"]" unset:"none" near:"prologue,prolog,job_script_prologue,modules,module"`
	Options             string           `set:"options" doc:"directives and lines of your own, which win over generated ones" example:"#SBATCH --constraint=ib" unset:"none" near:"directives,extra_args,job_extra_directives,qos,constraint,nodes,ntasks_per_node,email,mail,mail_user,mail_type,reservation,exclusive,nodelist,exclude,licenses,dependency,template,resources"`
	OptionsFile         config.TextFile  `set:"options_file" doc:"a file that holds what options would, taken byte for byte" example:"options.sh" unset:"none" near:"template_file"`
	Slots               int              `set:"slots" doc:"tasks at once in each worker" example:"8" unset:"as many as cpus, else as the profile says, else one" near:"tasks_per_worker,nprocs,processes,concurrency"`
	Poll                time.Duration    `set:"poll" doc:"how often the scheduler is asked how jobs stand, once a second at most" example:"30s" default:"10s" near:"interval,poll_interval"`
	Join                string           `set:"join" doc:"how workers get the secret by which they join: file is one that all nodes see, script puts it into the job script" example:"script" default:"file" oneof:"file,script" near:"join_file,token"`
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
	if s.Bare && !l.Has("worker_command") {
		add("bare", "bare is for the command of other people's workers", "give worker_command too")
	}
	if s.Poll < time.Second {
		add("poll", "a scheduler is asked once a second at most", `such as poll = "10s"`)
	}
	return bad
}
