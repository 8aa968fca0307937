package main

import (
	"io"
	"os"

	"github.com/holdfast-iot/holdfast/cmd/printable"
)

// All text is written to these, not to os.Stdout and os.Stderr: they escape control characters,
// because names, versions and reasons come from anyone who may publish.
var (
	stdout io.Writer = printable.NewWriter(os.Stdout)
	stderr io.Writer = printable.NewWriter(os.Stderr)
)
