// Package templates holds the text of everything muster renders, and Execute,
// which fills it in.
package templates

import (
	"embed"
	"fmt"
	"strings"
	"text/template"
)

//go:embed *.tmpl
var files embed.FS

var all = template.Must(template.New("").Option("missingkey=error").ParseFS(files, "*.tmpl"))

// Execute fills in the template that is called name, a file's name without its
// .tmpl. The same data make the same text.
func Execute(name string, data any) (string, error) {
	var b strings.Builder
	if err := all.ExecuteTemplate(&b, name+".tmpl", data); err != nil {
		return "", fmt.Errorf("render %s: %w", name, err)
	}
	return b.String(), nil
}
