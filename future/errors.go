package future

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"muster/task"
)

// detail is what an error value says of a Go function's error, beside its
// message.
type detail struct {
	Message string   `json:"message"`
	Class   []string `json:"class"` // the types of the error's chain
	Stack   []string `json:"stack,omitempty"`
	Fields  any      `json:"fields,omitempty"` // the exported fields of the first error that has any
}

func errorValue(err error) *task.ErrorValue {
	d := detail{Message: err.Error()}
	for e := err; e != nil; e = errors.Unwrap(e) {
		d.Class = append(d.Class, fmt.Sprintf("%T", e))
		if d.Fields == nil {
			d.Fields = exported(e)
		}
	}
	return described(d)
}

func panicked(p any, stack []byte) *task.ErrorValue {
	d := detail{Message: fmt.Sprintf("panic: %v", p), Class: []string{fmt.Sprintf("%T", p)}}
	d.Stack = strings.Split(strings.TrimSpace(string(stack)), "\n")
	return described(d)
}

func described(d detail) *task.ErrorValue {
	line, _, _ := strings.Cut(d.Message, "\n")
	text, err := json.Marshal(d)
	if err != nil {
		d.Fields = nil // something in it has no JSON
		text, _ = json.Marshal(d)
	}
	return &task.ErrorValue{Kind: task.KindError, Code: 1, Message: line, Detail: text}
}

// exported returns an error's exported fields, nil if it has none.
func exported(err error) any {
	v := reflect.ValueOf(err)
	for v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return nil
	}
	fields := map[string]any{}
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() && !f.Anonymous {
			value := v.Field(i).Interface()
			if e, ok := value.(error); ok {
				value = e.Error()
			}
			fields[f.Name] = value
		}
	}
	if len(fields) == 0 {
		return nil
	}
	return fields
}

// IsErrorValue reports whether err is what a task resolved to: an error of its
// own, an interrupt, a timeout, a cancellation or a lost worker.
func IsErrorValue(err error) bool {
	var v *task.ErrorValue
	return errors.As(err, &v)
}

// IsError reports whether err is an error of the task itself.
func IsError(err error) bool {
	var v *task.ErrorValue
	return errors.As(err, &v) && v.Kind.Class() == task.ClassError
}

// IsInterrupt reports whether err is the interrupt of a task.
func IsInterrupt(err error) bool {
	var v *task.ErrorValue
	return errors.As(err, &v) && v.Kind.Class() == task.ClassInterrupt
}
