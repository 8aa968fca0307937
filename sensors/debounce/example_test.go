package debounce_test

import (
	"fmt"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/debounce"
)

// A door closes, and its contact bounces for 12 ms. One change comes out of five
// edges, at the time of the last one.
func ExampleFilter() {
	f := debounce.New(debounce.Options{Mode: debounce.Stable, Quiet: 50 * time.Millisecond})
	start := time.Date(2026, 11, 25, 3, 0, 0, 0, time.UTC)
	after := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }

	f.Level(false, after(0))
	f.Level(false, after(50)) // the level of the start counts
	for i, ms := range []int{1000, 1002, 1005, 1009, 1012} {
		f.Edge(i%2 == 0, after(ms), 0)
	}
	fmt.Println("due:", f.Due().Sub(start))
	f.Level(true, f.Due())
	for _, n := range f.Take() {
		fmt.Println(n.On, "since", n.Since.Sub(start))
	}
	// Output:
	// due: 1.062s
	// false since 0s
	// true since 1.012s
}
