package config

import (
	"encoding/json"
	"runtime"
	"testing"
)

// TestHugeNumber has a service name a number that nobody could write out.
func TestHugeNumber(t *testing.T) {
	for number, want := range map[string]string{
		"12345678901234567890": "12345678901234567890", "1.5": "1.5", "1e3": "1000", "-2E2": "-200",
		"1e999999999": "1e999999999", "1E-999999999": "1E-999999999", "1e99999999999999999999": "1e99999999999999999999", "1e+401": "1e+401",
	} {
		known := Known{"answer": map[string]any{"json": map[string]any{"list": []any{map[string]any{"id": json.Number(number)}}}}}
		known["body"] = `[{"id": ` + number + "}]\n"
		for _, text := range []string{"answer.json.list[0].id", "jsondecode(body)[0].id"} {
			got, err := Formula{Text: text, File: "f", Line: 1, Column: 1}.String(known)
			if err != nil || got != want {
				t.Errorf("%s of %s: %s, %v", text, number, got, err)
			}
		}
	}
}

// TestDeepAnswer has an answer of lists in lists, as deep as JSON is read: what that takes
// grows with its length, and not with the square of it.
func TestDeepAnswer(t *testing.T) {
	var deep any
	for range 9_000 {
		deep = []any{deep}
	}
	known := Known{"answer": map[string]any{"id": "a", "json": deep}}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got, err := Formula{Text: "answer.id", File: "f", Line: 1, Column: 1}.String(known)
	if err != nil || got != "a" {
		t.Fatalf("%q, %v", got, err)
	}
	runtime.ReadMemStats(&after)
	if mb := (after.TotalAlloc - before.TotalAlloc) >> 20; mb > 50 {
		t.Errorf("it took %d MB", mb)
	}
}
