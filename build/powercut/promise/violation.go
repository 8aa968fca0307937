package promise

import (
	"cmp"
	"fmt"
)

// A Sort is a kind of violation.
type Sort string

const (
	Lost      Sort = "lost"      // it must exist and does not
	Hole      Sort = "hole"      // it may be lost, but not while a later one of its stream exists
	Foreign   Sort = "foreign"   // it was never put
	Altered   Sort = "altered"   // it is not what was put
	Twice     Sort = "twice"     // it came twice in one drain
	Order     Sort = "order"     // it came after one that was put later
	Refused   Sort = "refused"   // Open failed, or something failed afterwards
	Aside     Sort = "aside"     // Open moved the file aside
	Complaint Sort = "complaint" // the log has an error although there was only a power cut
	Silent    Sort = "silent"    // lost by damage without a gap or an event
	Died      Sort = "died"      // the process did not survive Open
)

// A Violation is one broken promise.
type Violation struct {
	Sort Sort
	What string
}

func (v Violation) String() string { return fmt.Sprintf("%s: %s", v.Sort, v.What) }

func compare(a, b Violation) int {
	return cmp.Or(cmp.Compare(a.Sort, b.Sort), cmp.Compare(a.What, b.What))
}
