package task

// LackKind says what a worker's machine cannot do that another may be able to.
// The numbers travel on the wire and never change their meaning.
type LackKind uint8

// The kinds of lack.
const (
	LackDirectory LackKind = 1 // it cannot enter the task's directory
	LackProgram   LackKind = 2 // it does not have the task's program, or not the shell
	LackScratch   LackKind = 3 // it cannot make or empty scratch folders: it can run nothing
	LackProcess   LackKind = 4 // it cannot start processes, those of slots included: it can run nothing
	LackShare     LackKind = 5 // it cannot read what the task shares with others
)

// Lack is why a worker hands a task back that it could not begin, by a fault of
// its machine and not of the task.
type Lack struct {
	Kind LackKind
	// Code is what the task resolves to, 126 or 127, if no machine can do it.
	Code int
	// Message is one line for a person, such as "cannot enter the working
	// directory /scratch/u: no such file or directory".
	Message string
	// Evidence is as in ErrorValue.
	Evidence string
}

// Err is the error value of a task that no machine can run.
func (l *Lack) Err() *ErrorValue {
	return &ErrorValue{Kind: KindSpawn, Code: l.Code, Message: l.Message, Evidence: l.Evidence}
}
