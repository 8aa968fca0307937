package main

import (
	"io"
	"os"

	"github.com/holdfast-iot/holdfast/cmd/printable"
)

// Text that comes from elsewhere goes to these and not to os.Stdout or os.Stderr.
// Colours do not, as they are escapes on purpose.
var (
	stdout io.Writer = printable.NewWriter(os.Stdout)
	stderr io.Writer = printable.NewWriter(os.Stderr)
)
