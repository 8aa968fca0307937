// Docs writes docs/sensors.md from the table of kinds in package drivers,
// docs/configuration.md from the structs of package config, docs/log.md from the log
// messages in the sources, and docs/doctor.md from the checks of holdfast doctor.
//
//	go run ./build/docs
package main

import (
	"fmt"
	"os"
)

// pages are the generated pages, with the functions that make their texts.
var pages = map[string]func(root string) (string, error){
	"docs/sensors.md":       sensorsPage,
	"docs/configuration.md": configurationPage,
	"docs/doctor.md":        doctorPage,
	"docs/log.md":           logPage,
}

func main() {
	for page, text := range pages {
		if err := write(page, text); err != nil {
			fmt.Fprintln(os.Stderr, "docs:", err)
			os.Exit(1)
		}
	}
}

func write(page string, text func(root string) (string, error)) error {
	s, err := text(".")
	if err != nil {
		return err
	}
	return os.WriteFile(page, []byte(s), 0o644)
}
