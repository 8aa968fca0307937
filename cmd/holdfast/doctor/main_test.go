package doctor

import (
	"flag"
	"testing"
)

// TestMain runs 24 tests at a time, unless -parallel is given, because they mostly wait for
// brokers that do not answer.
func TestMain(m *testing.M) {
	flag.Set("test.parallel", "24")
	m.Run()
}
