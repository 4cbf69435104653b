package http

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/url"
	"strings"
	"unicode/utf8"
)

// Escaping says how a text is written into a request's data.
type Escaping uint8

const (
	JSON  Escaping = iota // for the inside of a JSON string
	Form                  // for a value of an HTML form
	Plain                 // as it is
	Mirai                 // as mirai escapes for the inside of a JSON string, which leaves control characters other than newline
)

// EscapingFor returns the escaping for data of a content type: JSON, unless it is a
// form or plain text.
func EscapingFor(contentType string) Escaping {
	kind, _, err := mime.ParseMediaType(contentType)
	switch {
	case kind == "application/x-www-form-urlencoded" && err == nil:
		return Form
	case kind == "text/plain" && err == nil:
		return Plain
	}
	return JSON
}

// Fill puts text where data says %s, and a percent sign where it says %%.
func Fill(data, text string, e Escaping) (string, error) {
	text, err := e.escape(text)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(data, "%")
		b.WriteString(before)
		switch {
		case !found:
			return b.String(), nil
		case strings.HasPrefix(after, "s"):
			b.WriteString(text)
		case strings.HasPrefix(after, "%"):
			b.WriteByte('%')
		default:
			_, n := utf8.DecodeRuneInString(after)
			return "", fmt.Errorf("%q stands in the data: write %%%% for a percent sign, or %%s for the worker's command", "%"+after[:n])
		}
		data = after[1:]
	}
}

// HasPlace reports whether data has a %s, which Fill replaces.
func HasPlace(data string) bool {
	return strings.Contains(strings.ReplaceAll(data, "%%", ""), "%s")
}

func (e Escaping) escape(text string) (string, error) {
	switch e {
	case Form:
		return url.QueryEscape(text), nil
	case Plain:
		return text, nil
	case Mirai:
		return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(text), nil
	}
	if !utf8.ValidString(text) {
		return "", errors.New("the text is not UTF-8, and JSON holds nothing else")
	}
	quoted, err := encode(text)
	if err != nil {
		return "", err
	}
	return string(quoted[1 : len(quoted)-1]), nil
}

// encode is v in JSON, with <, > and & as they are.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
