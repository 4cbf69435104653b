package expand

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/xrash/smetrics"
)

// unknown is the error of braces that name no column of a table, nil if they cannot
// have been meant to, as those of a share: before is what stands before them in the word.
func (o Options) unknown(before, s string) error {
	if o.Columns == nil || strings.HasPrefix(s, sharePrefix) || notOurs.MatchString(before) {
		return nil
	}
	base, _ := splitForm(s)
	names := o.nearest(base)
	if len(names) == 0 || !looksLikeName(base) && !alike(base, names[0]) {
		return nil
	}
	const most = 20
	list := strings.Join(names[:min(most, len(names))], ", ")
	if len(names) > most {
		list += fmt.Sprintf(" and %d more", len(names)-most)
	}
	return fmt.Errorf("placeholder {%s}: there is no column %q; the columns are %s; --literal '%s' leaves {%s} as it is", s, base, list, s, s)
}

// notOurs ends where braces are the shell's (${NAME}), or LaTeX's (\begin{NAME},
// \frac{A}{B}).
var notOurs = regexp.MustCompile(`(\$|\\[A-Za-z]+\*?(\[[^\]]*\])?(\{[^{}]*\})*)$`)

// name is what a column may be called by people who type: words of letters and digits.
var name = regexp.MustCompile(`^\s*[\pL\pN_]+([ .-][\pL\pN_]+)*\s*$`)

// program is a statement of awk, which stands in braces too, or numbers, as in the
// counts of a regular expression.
var program = regexp.MustCompile(`^\s*((print|printf|next|nextfile|exit|getline|delete|return)\b.*|[0-9]+)\s*$`)

func looksLikeName(s string) bool { return name.MatchString(s) && !program.MatchString(s) }

// nearest returns the columns' names, those first that are most like s.
func (o Options) nearest(s string) (names []string) {
	for _, c := range o.Columns {
		if c != "" {
			names = append(names, c)
		}
	}
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(likeness(b, s), likeness(a, s)) })
	return names
}

// alike reports whether a name can be a slip of the keyboard for the other.
func alike(a, b string) bool { return likeness(a, b) > 0.9 }

func likeness(a, b string) float64 {
	a, b = strings.ToLower(strings.TrimSpace(a)), strings.ToLower(strings.TrimSpace(b))
	if a == b {
		return 1
	}
	return smetrics.JaroWinkler(a, b, 0.7, 4)
}
