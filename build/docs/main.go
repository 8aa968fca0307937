// Docs writes docs/sensors.md from the table of kinds in package drivers.
//
//	go run ./build/docs
package main

import (
	"fmt"
	"os"
)

const page = "docs/sensors.md"

func main() {
	text, err := sensorsPage()
	if err == nil {
		err = os.WriteFile(page, []byte(text), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "docs:", err)
		os.Exit(1)
	}
}
