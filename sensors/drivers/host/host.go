// Package host has what all drivers need to know about the machine: the paths of device files and
// sysfs, the hardware that a kernel name stood for, and helpers for files of sysfs, for waiting and
// for rounding. It does not depend on buses or sensors.
package host

// A Host is the machine to which the sensors are connected. Its three paths are set before the
// first use and do not change; the rest is safe for concurrent use. Tests set the paths to their
// own folders.
type Host struct {
	Dev  string // folder of the device files, "/dev"
	Sys  string // where sysfs is mounted, "/sys"
	Proc string // where procfs is mounted, "/proc"

	// Known is the hardware of the names in the configuration.
	Known Identities
}

// Forget forgets the hardware of all names. It is called when the configuration is read again,
// because the user may have moved the hardware.
func (h *Host) Forget() { h.Known.Forget() }
