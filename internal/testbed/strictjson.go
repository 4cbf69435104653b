package testbed

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// jsonObject takes a JSON object apart that has to have these keys, spelled so, once
// each, and no others. Keys that end in ? may be missing.
func jsonObject(raw []byte, where string, keys ...string) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("%s is no JSON object", where)
	}
	got := map[string]json.RawMessage{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", where, err)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, fmt.Errorf("%s: %w", where, err)
		}
		name := key.(string) // the decoder lets nothing else be a key
		if _, again := got[name]; again {
			return nil, fmt.Errorf("%s has %s twice", where, name)
		}
		got[name] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("there is something behind %s", where)
	}
	known := map[string]bool{}
	for _, k := range keys {
		name, optional := strings.CutSuffix(k, "?")
		known[name] = true
		if _, ok := got[name]; !ok && !optional {
			return nil, fmt.Errorf("%s has no %s", where, name)
		}
	}
	for name := range got {
		if !known[name] {
			return nil, fmt.Errorf("%s has an unknown key %s", where, name)
		}
	}
	return got, nil
}

// jsonString reads a string that is not empty.
func jsonString(raw json.RawMessage, where string) (string, error) {
	var s *string
	if err := json.Unmarshal(raw, &s); err != nil || s == nil || *s == "" {
		return "", fmt.Errorf("%s is %s and has to be a string", where, raw)
	}
	return *s, nil
}

// jsonStrings reads a list of strings.
func jsonStrings(raw json.RawMessage, where string) ([]string, error) {
	var list []*string
	if err := json.Unmarshal(raw, &list); err != nil || list == nil {
		return nil, fmt.Errorf("%s is %s and has to be a list of strings", where, raw)
	}
	var out []string
	for _, s := range list {
		if s == nil {
			return nil, fmt.Errorf("%s has null in it", where)
		}
		out = append(out, *s)
	}
	return out, nil
}

// jsonNumber reads a number above 0.
func jsonNumber(raw json.RawMessage, where string) (float64, error) {
	var n *float64
	if err := json.Unmarshal(raw, &n); err != nil || n == nil || *n <= 0 {
		return 0, fmt.Errorf("%s is %s and has to be a number above 0", where, raw)
	}
	return *n, nil
}

// jsonQuote makes a JSON string.
func jsonQuote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}
