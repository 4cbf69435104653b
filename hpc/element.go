package hpc

// State is where an element of a job array stands.
type State uint8

// The states of an element.
const (
	Unknown State = iota // the scheduler's word for it is not known here
	Pending
	Running
	Ended
)

func (s State) String() string { return [...]string{"unknown", "pending", "running", "ended"}[s] }

// End is how an element ended, where its scheduler tells.
type End uint8

// The ends of an element.
const (
	EndUnknown   End = iota // it has not ended, or nobody knows how
	EndOrdinary             // its script ended, well or not
	EndCancelled            // by a person
	EndPreempted            // for another job, or to be run again
	EndWalltime             // its time was over
	EndMemory               // it used more than it may
	EndNode                 // its node failed
)

// Element is one element of a job array, or a plain job, as a scheduler lists it.
type Element struct {
	Job    string // the id that submission printed
	Index  int    // 0 for a plain job too
	State  State
	Raw    string // the scheduler's own word
	Reason string // why it waits, where the scheduler says so
	Node   string
	End    End
}

// merge adds what elements ended with to a list. One that is listed as waiting or
// running is so, whatever became of it before.
func merge(list, ended []Element) []Element {
	type place struct {
		job   string
		index int
	}
	at := map[place]int{}
	for i, e := range list {
		at[place{e.Job, e.Index}] = i
	}
	for _, e := range ended {
		i, listed := at[place{e.Job, e.Index}]
		switch {
		case !listed:
			at[place{e.Job, e.Index}] = len(list)
			list = append(list, e)
		case list[i].State == Ended:
			list[i].End, list[i].Raw = e.End, e.Raw
		}
	}
	return list
}
