package main

import (
	"io"
	"os"

	"github.com/holdfast-iot/holdfast/cmd/printable"
)

// Text from elsewhere goes to these writers instead of os.Stdout or os.Stderr. Colours do
// not, because their escapes must not be changed.
var (
	stdout io.Writer = printable.NewWriter(os.Stdout)
	stderr io.Writer = printable.NewWriter(os.Stderr)
)
