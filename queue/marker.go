package queue

import (
	"encoding/json"
	"path/filepath"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// crashesToQuarantine is how many starts must crash while they open the file,
// under one kernel boot, before the file counts as the cause.
const crashesToQuarantine = 2

// A marker lies beside the file while it is opened. A start that finds one knows
// that the start before ended there. If the kernel is still the same boot, that
// start crashed, and the file may be the cause. If not, the power was cut, which
// says nothing about the file, however often it happens. A marker that cannot be
// read counts nothing.
type marker struct {
	path    string
	Kernel  string `json:"kernel"` // its boot ID
	Crashes int    `json:"deaths"` // of starts before this one, under this kernel boot
}

// kernelBoot is the kernel's name for this boot; tests put another in place. Without one
// no crash counts.
var kernelBoot = clock.KernelBootID

// set leaves the marker, with one crash more than the last marker counts.
func (m *marker) set() error {
	var last marker
	if text, err := readStateFile(m.path); err == nil && json.Unmarshal(text, &last) == nil {
		if last.Kernel != "" && last.Kernel == kernelBoot() {
			m.Crashes = last.Crashes + 1
		}
	}
	m.Kernel = kernelBoot()
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return replaceFile(m.path, text)
}

// suspectFile reports whether the file must be taken for the cause of the crashes.
func (m *marker) suspectFile() bool { return m.Crashes >= crashesToQuarantine }

// clear takes the marker away: the file is open.
func (m *marker) clear() error {
	if err := removeIfThere(m.path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(m.path))
}
