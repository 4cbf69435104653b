package plan

import (
	"muster/internal/config"
)

// kind is all that the package has for a kind of launcher.
type kind struct {
	config.Kind
	plan func(x *drafting, names []Names) (*Plan, error) // of a launcher; without names, of what can be known without them
	// late says that nothing is known of how its workers are started before there are
	// names.
	late bool
}

// kinds are all kinds, in the order in which they are told.
func kinds() []kind {
	return []kind{
		{config.Kind{Name: "cluster", Doc: "job arrays of a batch scheduler", Settings: ClusterSettings{}}, planCluster, false},
		{config.Kind{Name: "ssh", Doc: "machines that are reached by SSH", Settings: SSHSettings{}}, planSSH, false},
		{config.Kind{Name: "http", Doc: "services that start workers when a request asks for it", Settings: HTTPSettings{}}, planHTTP, true},
		{config.Kind{Name: "command", Doc: "any command that starts a worker", Settings: CommandSettings{}}, planCommand, true},
	}
}

// tagged returns an empty Kind of a tag, and whether there is one.
func tagged(tag string) (Kind, bool) {
	for _, k := range []Kind{&Cluster{}, &SSH{}, &HTTP{}, &Workbench{}, &Slurmrestd{}, &Command{}} {
		if k.Tag() == tag {
			return k, true
		}
	}
	return nil, false
}

// kindOf returns the kind of a name, empty if there is none.
func kindOf(name string) kind {
	for _, k := range kinds() {
		if k.Name == name {
			return k
		}
	}
	return kind{}
}

// Schema says which blocks and settings a config may have.
func Schema() config.Schema {
	s := config.Schema{Profile: ProfileSettings{}}
	for _, k := range kinds() {
		s.Kinds = append(s.Kinds, k.Kind)
	}
	return s
}

// Load reads the config that the user named.
func Load(path string) (*config.File, error) { return config.Load(path, Schema()) }

// speaks reports whether a setting of a launcher speaks of the worker.
func speaks(l *config.Launcher) bool {
	for _, f := range config.Fields(kindOf(l.Kind).Settings) {
		if l.Mentions(f.Name) {
			return true
		}
	}
	return false
}
