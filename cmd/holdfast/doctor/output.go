package doctor

import (
	"encoding/json"
	"fmt"
	"io"
)

// Text prints a result as text: one line for a check without findings, with its note, two
// for each finding. The first column is the level or "skipped", so that scripts can search
// for it. Write errors are ignored: there is no other place to report them.
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
	Result Level    `json:"result"` // the worst level
	Agent  bool     `json:"agent"`  // an agent runs
	Checks []Result `json:"checks"`
}

// JSON prints a report as one indented object. < and & are not escaped, because no browser
// reads it.
func (r Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
