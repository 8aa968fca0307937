package uplink

import "os"

// proving is set by build/prove, which wants the full number of cases and the
// tests that take a minute of real time. build/test takes a sample.
var proving = os.Getenv("HOLDFAST_PROVE") != ""
