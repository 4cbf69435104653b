// Package plan holds what a config can say of each kind of launcher and of a
// profile: every setting is one tagged field.
package plan

import config "muster/internal/newconfig"

// Schema says which blocks and settings a config may have.
func Schema() config.Schema {
	return config.Schema{
		Kinds: []config.Kind{
			{Name: "cluster", Doc: "job arrays of a batch scheduler", Settings: ClusterSettings{}},
			{Name: "ssh", Doc: "machines that are reached by SSH", Settings: SSHSettings{}},
		},
		Later: []config.Kind{
			{Name: "http", Doc: "services that start workers when a request asks for it"},
			{Name: "command", Doc: "any command that starts a worker"},
		},
		Profile: ProfileSettings{},
	}
}

// Load reads the config that the user named.
func Load(path string) (*config.File, error) { return config.Load(path, Schema()) }
