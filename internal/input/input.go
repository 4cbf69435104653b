// Package input reads the rows that a run is made over: words, lines, CSV,
// TSV and JSON, from files, pipes and the command line, combined or side by
// side.
package input

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

// MaxRow is the length of the longest row that is accepted, in bytes.
const MaxRow = 16 << 20

// Source is one place where inputs come from.
type Source struct {
	File string   // a path, or - for standard input; not used if Args is set
	Args []string // words, taken as they are; each is one value
	// Linked sources go side by side with the one before them.
	Linked bool
}

// Options says what to read and how.
type Options struct {
	Sources []Source // at least one
	// CSV, TSV or JSONL is the format of files; lines if none is set.
	CSV, TSV, JSONL bool
	NoHeader        bool // the first row of CSV or TSV is data
	// Null says that what is in files ends with NUL bytes instead of newlines.
	Null bool
	// ColSep splits lines and words into columns, and Trim takes blanks off values.
	ColSep *regexp.Regexp
	Trim   Trim
	// Header says that the first line or word of each source names its columns.
	Header bool
	// Shuffle puts the rows into an order of their own, which Seed stands for.
	Shuffle bool
	Seed    uint64
	// Link puts all sources side by side, starting short ones again, instead
	// of making all combinations.
	Link  bool
	Stdin io.Reader
	// Warn tells a person about inputs that may not be what was meant. Open and Next
	// call it.
	Warn func(text string)
}

// Reader gives the rows of a run one after another.
type Reader struct {
	columns []string
	width   int
	total   int // -1 if it is not known before the end
	next    func() ([]string, error)
	files   []io.Closer
	warned  bool // of lines that end in CR LF
}

// Columns returns the names of a row's values, nil if none has one.
func (r *Reader) Columns() []string { return r.columns }

// Width returns how many values a row has at most; Unlimited if nobody knows. Rows that
// a separator splits may have fewer, and so may the last of a group.
func (r *Reader) Width() int { return r.width }

// Total returns how many rows there are, if that is known: a pipe of lines is
// read while the run goes on.
func (r *Reader) Total() (n int, known bool) { return max(r.total, 0), r.total >= 0 }

// Next returns the next row, or io.EOF after the last.
func (r *Reader) Next() ([]string, error) { return r.next() }

// Close closes the files.
func (r *Reader) Close() error {
	var err error
	for _, f := range r.files {
		err = errors.Join(err, f.Close())
	}
	r.files = nil
	return err
}

// Open checks all that can be checked before a run: every file is read to its
// end once, unless it is a pipe of lines. Errors name file and line.
func Open(o Options) (*Reader, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	r := &Reader{}
	err := r.open(o)
	if err == nil && o.Shuffle {
		err = r.shuffle(o.Seed)
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// open opens the sources, and combines them if there is more than one.
func (r *Reader) open(o Options) error {
	if len(o.Sources) == 1 {
		t, err := o.open(o.Sources[0], r)
		if err == nil {
			r.columns, r.width, r.total, r.next = t.columns, t.width, t.total, t.next
		}
		return err
	}
	var lists []list
	for _, s := range o.Sources {
		t, err := o.open(s, r)
		if err != nil {
			return err
		}
		l, err := t.readAll()
		if err != nil {
			return err
		}
		l.linked, l.name = s.Linked, s.name()
		lists = append(lists, l)
	}
	return r.combine(lists, o.Link)
}

func (o *Options) check() error {
	stdin, files := 0, 0
	for _, s := range o.Sources {
		if s.Args != nil {
			continue
		}
		files++
		if s.File == "-" {
			stdin++
		}
	}
	switch {
	case len(o.Sources) == 0:
		return errors.New("no inputs")
	case stdin > 1:
		return errors.New("standard input can be read once: only one -a can be -")
	case files == 0 && (o.CSV || o.TSV || o.JSONL):
		return errors.New("--csv, --tsv and --jsonl are for files and standard input; words after ::: are taken as they are")
	case files == 0 && o.Null:
		return errors.New("--null is for files and standard input; words after ::: are taken as they are")
	case o.formatted() && (o.Null || o.ColSep != nil || o.Trim != TrimDefault):
		return errors.New("--csv, --tsv and --jsonl say how values are told apart: --null, --colsep and --trim are for lines")
	case o.Header && (o.NoHeader || o.JSONL):
		return errors.New("--header : says that the first row names the columns: --no-header and --jsonl say that it does not")
	case o.Sources[0].Linked:
		return errors.New(":::+ needs a source before it to go side by side with")
	}
	return nil
}

func (s *Source) name() string {
	switch {
	case s.Args != nil:
		return ":::"
	case s.File == "-":
		return "standard input"
	}
	return s.File
}

// table is one source being read.
type table struct {
	columns []string
	width   int
	total   int // -1 if unknown
	next    func() ([]string, error)
}

// open opens a source and reads it to its end if it can be read again.
func (o *Options) open(s Source, r *Reader) (*table, error) {
	if s.Args != nil {
		return o.words(s.Args)
	}
	f, at, again, err := o.file(s, r)
	if err != nil {
		return nil, err
	}
	if !again && !o.formatted() {
		t, err := o.parse(s.name(), f, r)
		if err == nil {
			t.total = -1
		}
		return t, err
	}
	file, ok := f.(io.ReadSeeker)
	if !again {
		file, ok, at = nil, true, 0
		if file, err = keep(f, s.name(), r); err != nil {
			return nil, err
		}
	}
	if !ok {
		return nil, fmt.Errorf("read %s: it cannot be read twice", s.name())
	}
	t, err := o.parse(s.name(), file, r)
	if err != nil {
		return nil, err
	}
	total, most := 0, len(t.columns)
	for {
		var row []string
		if row, err = t.next(); err != nil {
			break
		}
		total, most = total+1, max(most, len(row))
	}
	if err != io.EOF {
		return nil, err
	}
	if _, err := file.Seek(at, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read %s again: %w", s.name(), err)
	}
	if t, err = o.parse(s.name(), file, r); err == nil {
		t.total = total
		if t.width == Unlimited {
			t.width = max(1, most)
		}
	}
	return t, err
}

func (o *Options) formatted() bool { return o.CSV || o.TSV || o.JSONL }

// file opens what a source names and says from where it can be read again.
func (o *Options) file(s Source, r *Reader) (f io.Reader, at int64, again bool, err error) {
	if s.File == "-" {
		f = o.Stdin
	} else {
		file, err := os.Open(s.File)
		if err != nil {
			return nil, 0, false, fmt.Errorf("read inputs: %w", err)
		}
		r.files = append(r.files, file)
		f = file
	}
	if file, ok := f.(*os.File); ok {
		st, err := file.Stat()
		if err != nil {
			return nil, 0, false, fmt.Errorf("read %s: %w", s.name(), err)
		}
		if st.IsDir() {
			return nil, 0, false, fmt.Errorf("read %s: it is a directory; `muster run -- CMD ::: %s/*` takes what is in it", s.name(), strings.TrimSuffix(s.File, "/"))
		}
		if st.Mode().IsRegular() {
			at, err = file.Seek(0, io.SeekCurrent)
			return f, at, err == nil, nil
		}
	}
	return f, 0, false, nil
}

// keep copies a pipe into a file without a name.
func keep(f io.Reader, name string, r *Reader) (*os.File, error) {
	tmp, err := os.CreateTemp("", "muster-input-*")
	if err != nil {
		return nil, fmt.Errorf("read %s: keep it until it is whole: %w", name, err)
	}
	r.files = append(r.files, tmp)
	os.Remove(tmp.Name())
	if _, err = io.Copy(tmp, f); err == nil {
		_, err = tmp.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: keep it until it is whole: %w; TMPDIR names another place", name, err)
	}
	return tmp, nil
}

func (o *Options) parse(name string, f io.Reader, r *Reader) (*table, error) {
	switch {
	case o.CSV:
		return csvTable(name, f, o.NoHeader)
	case o.TSV:
		return tsvTable(name, f, o.NoHeader)
	case o.JSONL:
		return jsonTable(name, f)
	}
	return o.lines(name, f, r)
}

// at is an error at a line of a file.
func at(name string, line int, format string, args ...any) error {
	return fmt.Errorf("%s:%d: "+format, append([]any{name, line}, args...)...)
}

// checkNames refuses two columns of one name: a placeholder would be ambiguous.
func checkNames(name string, columns []string) error {
	seen := map[string]int{}
	for i, c := range columns {
		if j, ok := seen[c]; ok && c != "" {
			return fmt.Errorf("%s: columns %d and %d are both named %q", name, j+1, i+1, c)
		}
		seen[c] = i
	}
	return nil
}
