package fleet

import (
	"time"
)

// JobStanding says how the workers of one job stand.
type JobStanding struct {
	Launch   string    `json:"launch"`
	Launcher string    `json:"launcher"`
	Profile  string    `json:"profile,omitempty"`
	ID       string    `json:"id"` // empty: it may have been submitted
	Endpoint string    `json:"endpoint"`
	Sent     time.Time `json:"sent"`
	Workers  int       `json:"workers"`
	Pending  int       `json:"pending"`
	Running  int       `json:"running"`
	Ended    int       `json:"ended"`
	Reason   string    `json:"reason,omitempty"`  // for which most of them wait
	Trouble  string    `json:"trouble,omitempty"` // the last thing that went wrong
}

// Standing says how all jobs stand, in the order of their submission, after those that
// ended lately and had trouble.
func (f *Fleet) Standing() []JobStanding {
	f.lock()
	defer f.mu.Unlock()
	list := []JobStanding{}
	for _, k := range f.kept {
		list = append(list, k.JobStanding)
	}
	for _, j := range f.jobs {
		list = append(list, j.standing())
	}
	return list
}

// standing says how the job stands. It needs Fleet.mu.
func (j *job) standing() JobStanding {
	reasons := map[string]int{}
	s := j.tally(reasons)
	s.Launch, s.Launcher, s.Profile, s.ID = j.Launch, j.Launcher, j.Profile, j.theirs()
	s.Endpoint, s.Sent, s.Workers = j.endpoint.String(), j.Sent, j.Workers
	s.Reason, s.Trouble = most(reasons), j.trouble
	switch {
	case j.ID == "":
		s.Trouble = j.endpoint.whole(j.Record) + ": its submission was not answered"
	case j.endpoint.mute != nil && (s.Trouble == "" || j.silent && !j.heard):
		s.Trouble = j.endpoint.String() + " does not say how the workers stand: " + j.endpoint.mute.Error()
	case s.Trouble == "" && s.Pending == 0:
		s.Trouble, s.Reason = s.Reason, "" // nobody knows whether it waits
	}
	return s
}
