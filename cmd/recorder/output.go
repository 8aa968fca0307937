package main

import (
	"io"
	"os"

	"github.com/holdfast-iot/holdfast/cmd/printable"
)

// Text goes to these and not to os.Stdout or os.Stderr: names, versions and reasons were
// written by whoever may publish.
var (
	stdout io.Writer = printable.NewWriter(os.Stdout)
	stderr io.Writer = printable.NewWriter(os.Stderr)
)
