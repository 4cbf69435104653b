package plan

import (
	"time"

	"muster/internal/config"
	"muster/rng"
)

// DefaultReattach is how long a worker may be cut off from its dispatcher
// before its tasks are given to others, unless a profile says otherwise.
const DefaultReattach = 10 * time.Minute

// ProfileSettings are what a profile can say.
type ProfileSettings struct {
	Launcher   config.References `set:"launcher" doc:"what starts the workers: a launcher, \"local\", or a list of such" example:"launcher.cluster.slurm" unset:"workers on this machine" near:"launchers,backend,executor,provider"`
	URL        config.URLs       `set:"url" doc:"where workers dial, a string or a list: tls+tcp://HOST:PORT, or what host_url() and local_url() make" example:"host_url({ port = 5555 })" unset:"any free port of this machine, if workers are elsewhere" near:"urls,host,address,listen,port"`
	Workers    config.Count      `set:"workers" doc:"how often the configured array goes out, or how many workers start on each machine" example:"2" unset:"the configured array once, else none" near:"n,daemons,num_workers,n_workers,jobs"`
	Memory     config.Size       `set:"memory" doc:"submissions wait while so many bytes of tasks are queued" example:"100MB" unset:"no limit" near:"mem,queue_size,capacity"`
	ShareLimit config.Size       `set:"share_limit" doc:"how many bytes the profile's shares may have" example:"4GB" unset:"half of the memory that is available" near:"shared_memory,share,shm_size"`
	Spread     bool              `set:"spread" doc:"workers on other machines are sent a copy of the shares that their tasks need, once each" example:"false" default:"false" near:"copy_shares,broadcast,replicate"`
	Scheduling string            `set:"scheduling" doc:"who gets a task: fifo is whoever is free, round-robin is everybody in turn" example:"fifo" unset:"fifo" oneof:"fifo,round-robin" near:"scheduler,policy"`
	Reattach   time.Duration     `set:"reattach" doc:"how long a worker is waited for whose connection broke, with its tasks; 0s is not at all" example:"10m" default:"10m" near:"lease,reconnect,heartbeat_timeout"`
	Everywhere []string          `set:"everywhere" doc:"lines of shell that every worker runs before its first task" example:"[\"export OMP_NUM_THREADS=8\"]" unset:"none" near:"setup,prologue,env,environment"`
	Sync       bool              `set:"sync" doc:"for debugging: tasks run where they are submitted, one after another, without workers" example:"false" default:"false" near:"synchronous"`
	Seed       rng.Streams       `set:"seed" doc:"the seed of random streams, which tasks have in the order of their submission" example:"42" unset:"streams of their slots, others each time" near:"random_seed,rng"`
	Worker     WorkerSettings    `set:"worker" doc:"options of each worker" near:"daemon"`
	TLS        TLSSettings       `set:"tls" doc:"a certificate by which workers know the dispatcher, in the place of a pinned key" near:"ssl,certificates"`
}

// WorkerSettings are what the worker block of a profile can say.
type WorkerSettings struct {
	Slots     int           `set:"slots" doc:"tasks at once in each worker, unless the launcher says" example:"8" unset:"as the launcher says" near:"cpus,cores,threads,nprocs,concurrency"`
	IdleTime  time.Duration `set:"idletime" doc:"a worker leaves after so long without a task" example:"5m" unset:"no limit" near:"idle_time,idle_timeout,seconds_idle"`
	Walltime  time.Duration `set:"walltime" unit:"true" doc:"a worker leaves before it has lived so long" example:"3h50m" unset:"as the launcher says" near:"time,time_limit,lifetime,seconds_wall"`
	MaxTasks  int           `set:"maxtasks" doc:"a worker leaves after so many tasks; 0 is no limit" example:"1000" unset:"no limit" near:"max_tasks,tasks_max"`
	Cleanup   bool          `set:"cleanup" doc:"MUSTER_TASK_DIR is emptied after each task" example:"true" default:"true"`
	AutoExit  string        `set:"autoexit" doc:"what a worker does when its dispatcher ends: now gives tasks 200 ms, finish lets them end, never waits for a dispatcher" example:"now" unset:"now" oneof:"now,finish,never" near:"auto_exit"`
	Output    string        `set:"output" doc:"what becomes of what tasks print: it comes back, it is thrown away, or it comes back and is printed by the worker too" example:"collect" unset:"collect" oneof:"collect,discard,echo" near:"stdout"`
	AsyncDial bool          `set:"asyncdial" doc:"a worker goes on dialling when nobody answers at first" example:"false" default:"false" near:"async_dial"`
}

// TLSSettings are what the tls block of a profile can say.
type TLSSettings struct {
	Cert       config.Text `set:"cert" doc:"the dispatcher's certificate in PEM, and behind it what signed it and its key, if they are not elsewhere" expr:"file(\"tls/host.pem\")" unset:"workers pin a key that is made on first use" near:"certificate,crt,server_cert"`
	Key        config.Text `set:"key" doc:"its private key in PEM, PKCS#8 or older, encrypted or not" expr:"file(\"tls/host.key\")" unset:"cert holds it" secret:"true" near:"private_key,server_key"`
	Passphrase string      `set:"passphrase" doc:"opens the key, if it is encrypted" expr:"exec([\"pass\", \"muster\"])" unset:"muster asks at the terminal" secret:"true" near:"password,pass"`
	Chain      config.Text `set:"chain" doc:"what leads from the certificate to the CA that workers trust, and that CA, in PEM; it travels with the join string" expr:"file(\"tls/ca.pem\")" unset:"chain_path, else workers pin the key unless they have --tls-ca" near:"ca,root,ca_cert,tlscert"`
	ChainPath  string      `set:"chain_path" doc:"the same as a file on the workers' machines, from the root" example:"/etc/ssl/certs/ca-certificates.crt" unset:"chain" near:"ca_path,ca_file,cafile"`
	CRL        config.Text `set:"crl" doc:"the CA's list of what it has revoked, in PEM; it travels with the join string" expr:"file(\"tls/ca.crl\")" unset:"nothing is revoked" near:"revoked,revocation_list"`
	CRLPath    string      `set:"crl_path" doc:"the same as a file on the workers' machines, from the root" example:"/etc/ssl/ca.crl" unset:"crl" near:"crl_file"`
	Name       string      `set:"name" doc:"the name or address that the certificate has to be for, whatever workers dial" example:"head.example.org" unset:"the host of url" near:"server_name,servername,hostname,common_name"`
}
