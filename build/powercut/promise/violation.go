package promise

import (
	"cmp"
	"fmt"
)

// A Sort is a way to break a promise.
type Sort string

const (
	Lost      Sort = "lost"      // it must be there and is not
	Hole      Sort = "hole"      // it may be lost, but not before a later one of its stream
	Foreign   Sort = "foreign"   // it was never put
	Altered   Sort = "altered"   // it is not what was put
	Twice     Sort = "twice"     // it came two times in one drain
	Order     Sort = "order"     // it came after one that was put later
	Refused   Sort = "refused"   // Open failed, or what should work afterwards did not
	Aside     Sort = "aside"     // Open put the file away
	Complaint Sort = "complaint" // the log has an error after a mere power cut
	Silent    Sort = "silent"    // damage has taken it, and neither a gap nor an event says so
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
