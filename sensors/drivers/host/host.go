// Package host is the machine that the sensors hang on, as every driver needs it:
// where its device files and its sysfs are, which hardware a name of the kernel
// stood for, and small helpers for the files of sysfs, for waiting and for
// rounding. It knows no bus and no sensor.
package host

// A Host is the machine that the sensors hang on. Its three roots are set before
// the first use and do not change; the rest is safe for concurrent use. Tests set
// the roots to folders of their own.
type Host struct {
	Dev  string // where the device files are, "/dev"
	Sys  string // where sysfs is mounted, "/sys"
	Proc string // where procfs is mounted, "/proc"

	// Known is the hardware that the names in the configuration stood for.
	Known Identities
}

// Forget lets the names of a configuration that is read again stand for any
// hardware: a person may have moved it.
func (h *Host) Forget() { h.Known.Forget() }
