package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/holdfast-iot/holdfast/config"
)

// release is set by build/release with -ldflags -X. It has no leading v.
var release = "0.1.0-dev"

// commit is set by build/release; otherwise Go's own build information is used.
var commit = ""

// versionName is the version that agent/info has.
func versionName() string { return release }

// version prints one line, for a bug report. It opens nothing, so it works in any state of
// the machine.
func version(_ context.Context, args []string) error {
	if err := parse(flags("version"), args, 0); err != nil {
		return err
	}
	fmt.Printf("holdfast %s (commit %s, %s, %s/%s)\n",
		release, commitName(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}

// commitName is the commit of the build, "unknown" if neither build/release nor Go has
// recorded one. Go's is shortened to 12 digits, as git shows it.
func commitName() string {
	if commit != "" {
		return commit
	}
	// go build records the commit of the work tree.
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value[:min(12, len(s.Value))]
			}
		}
	}
	return "unknown"
}

// describe fills in the fields about this program and its board, which are not in the file.
func describe(cfg *config.Config) {
	cfg.Uplink.Version, cfg.Uplink.Hardware, cfg.Uplink.Serial = versionName(), hardwareName(), config.BoardSerial()
}

// hardwareName is the model of the board. On other machines it is the system and the
// architecture, such as linux/amd64.
func hardwareName() string {
	// "Raspberry Pi 4 Model B Rev 1.4", ended by a NUL; not present on a PC. The kernel gets it
	// from the device tree of the board.
	model, err := os.ReadFile("/proc/device-tree/model")
	if name := strings.Trim(string(model), "\x00\n "); err == nil && name != "" {
		return name
	}
	return runtime.GOOS + "/" + runtime.GOARCH
}
