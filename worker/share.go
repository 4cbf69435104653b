package worker

import (
	"fmt"

	"muster/share"
	"muster/task"
)

// readable returns a task with the paths of what it shares with others, or says that
// this machine, or this user of it, cannot read what the task needs.
func readable(s task.Spec) (task.Spec, *task.Lack) {
	if len(s.Shares) == 0 {
		return s, nil
	}
	paths := map[string]string{}
	for _, sh := range s.Shares {
		path, err := pathOf(sh)
		if err == nil {
			paths[sh.Name] = path
		} else if sh.Needed {
			return s, &task.Lack{Kind: task.LackShare, Code: 126, Message: fmt.Sprintf("cannot read the share %s: %v", sh.Name, err)}
		}
	}
	return s.WithShares(paths), nil
}

// pathOf is where a share is on this machine.
func pathOf(sh task.Share) (string, error) {
	ref, err := share.ParseRef(sh.Ref)
	if err != nil {
		return "", err
	}
	return ref.Path(), ref.Check()
}
