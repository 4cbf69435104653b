package plan

import (
	"muster/internal/config"
)

// kind is all that the package has for a kind of launcher.
type kind struct {
	config.Kind
	make func() Kind                                     // for UnmarshalJSON
	plan func(x *drafting, names []Names) (*Plan, error) // of a launcher; without names, of what can be known without them
}

// kinds are all kinds, in the order in which they are told.
func kinds() []kind {
	return []kind{
		{config.Kind{Name: "cluster", Doc: "job arrays of a batch scheduler", Settings: ClusterSettings{}}, func() Kind { return &Cluster{} }, planCluster},
		{config.Kind{Name: "ssh", Doc: "machines that are reached by SSH", Settings: SSHSettings{}}, func() Kind { return &SSH{} }, planSSH},
	}
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
	s := config.Schema{
		Later: []config.Kind{
			{Name: "http", Doc: "services that start workers when a request asks for it"},
			{Name: "command", Doc: "any command that starts a worker"},
		},
		Profile: ProfileSettings{},
	}
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
