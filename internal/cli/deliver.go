package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"

	"muster/dispatcher"
	"muster/internal/report"
	safe "muster/internal/terminal"
	"muster/task"
)

// read sends results as tasks end, until there are no more or ctx is done.
func (e *execution) read(ctx context.Context, results chan<- *dispatcher.Done, ended chan<- error) {
	c := e.b.Results(dispatcher.AsResolved)
	defer c.Close()
	for {
		r, err := c.Next(ctx)
		if err != nil {
			ended <- err
			return
		}
		results <- r
	}
}

// deliver reports one result, and prints those whose turn has come with it.
func (e *execution) deliver(r *dispatcher.Done) error {
	select {
	case e.room <- struct{}{}:
	default:
	}
	e.tally.add(r)
	err := e.out.File(e.item(r))
	if e.order == nil {
		err = errors.Join(err, e.print(r))
	} else {
		e.order.add(r)
		err = errors.Join(err, e.printTurns())
	}
	e.sayHalted()
	e.bar.add(r.Err != nil && r.Err.Kind != task.KindCancelled)
	e.delivered.Add(1)
	return err
}

// printTurns prints what has resolved of the inputs that are next in order.
func (e *execution) printTurns() (first error) {
	for r := e.order.take(); r != nil; r = e.order.take() {
		e.turn = e.p.turnAfter(r.Index)
		first = cmp.Or(first, e.print(r))
		delete(e.printed, r.Index)
	}
	return cmp.Or(first, e.printTurn())
}

// printRest prints what waited for the turn of inputs that nobody has computed.
func (e *execution) printRest() (first error) {
	if e.order == nil {
		return nil
	}
	for _, r := range e.order.rest() {
		first = cmp.Or(first, e.print(r))
	}
	return first
}

// print prints one result and lets go of it.
func (e *execution) print(r *dispatcher.Done) error {
	defer r.Release()
	err := e.out.Print(e.item(r))
	if err == nil && r.Err != nil && (!e.p.o.json || e.p.o.flat) && r.Err.Kind != task.KindCancelled {
		e.say("task %s: %s", label(r), describe(r.Err))
	}
	if err == nil && r.Note != "" && !e.p.o.json {
		e.say("task %s succeeded, but %s", label(r), r.Note)
	}
	return err
}

func (e *execution) item(r *dispatcher.Done) report.Item {
	return report.Item{Result: r.Result, Output: r.Output, Row: r.Row,
		Host: ":", Command: e.p.commandLine(r.Argv), Tag: e.p.tagOf(r.Row.Values, r.Index, r.Slot)}
}

func label(r *dispatcher.Done) string { return labelOf(r.Index, r.Name, r.Row) }

// labelOf names a task to a person: by its number, and by its name or else its input.
func labelOf(index int, name string, row task.Row) string {
	if name == "" {
		name = row.String()
	}
	if name == "" {
		return strconv.Itoa(index)
	}
	return fmt.Sprintf("%d (%s)", index, shortName(name))
}

// Of a task's name, and of what it failed of, so many bytes are shown; --json has all.
const (
	mostName    = 200
	mostMessage = 4 << 10
	mostSample  = 300 // in a summary
)

func shortName(name string) string { return safe.Cut(name, mostName) }

func describe(v *task.ErrorValue) string {
	text := safe.Cut(v.Message, mostMessage)
	if v.Evidence == "" {
		return text
	}
	return text + " (" + safe.Cut(v.Evidence, mostMessage) + ")"
}
