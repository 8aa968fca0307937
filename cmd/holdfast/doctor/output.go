package doctor

import (
	"encoding/json"
	"fmt"
	"io"
)

// Text prints a result as a person reads it: one line for a check that found nothing, with
// its note, two for each finding. The first column is the level or "skipped", so that a script
// can look for it. Errors of writing are dropped: there is nowhere else to print them.
func Text(w io.Writer, r Result) {
	switch {
	case r.Skipped != "":
		fmt.Fprintf(w, "%-8s %s: %s\n", "skipped", r.Check, r.Skipped)
	case len(r.Findings) == 0 && r.Note != "":
		fmt.Fprintf(w, "%-8s %s: %s\n", OK, r.Check, r.Note)
	case len(r.Findings) == 0:
		fmt.Fprintf(w, "%-8s %s\n", OK, r.Check)
	}
	for _, f := range r.Findings {
		fmt.Fprintf(w, "%-8s %s: %s\n%-8s %s\n", f.Level, r.Check, f.What, "  mend:", f.Mend)
	}
}

// A Report is what --json prints. Scripts read its keys.
type Report struct {
	Result Level    `json:"result"` // the worst
	Agent  bool     `json:"agent"`  // one runs
	Checks []Result `json:"checks"`
}

// JSON prints a report. It is one object, indented, and with < and & as they are, since
// no browser reads it.
func (r Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
