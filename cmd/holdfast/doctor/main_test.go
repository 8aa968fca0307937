package doctor

import (
	"flag"
	"testing"
)

// TestMain runs 24 tests at a time, unless -parallel says otherwise: they wait for
// brokers that do not answer more than they compute.
func TestMain(m *testing.M) {
	flag.Set("test.parallel", "24")
	m.Run()
}
