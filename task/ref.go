package task

// Ref names one attempt at a task by one worker. Attempt grows with every
// assignment, from 1, so that no two assignments share a Ref. Whatever a worker
// says about a Ref that is no longer the task's own changes nothing.
type Ref struct {
	Task    ID
	Attempt uint32
	Epoch   uint64 // names the worker's session within its profile
}
