package queue

import (
	"encoding/json"
	"path/filepath"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// crashesToQuarantine is how many starts must crash while they open the file, during one
// kernel boot, before the file is treated as the cause.
const crashesToQuarantine = 2

// A marker is a small file that exists while the queue file is opened. If a start finds
// one, the previous start ended while it opened the file. In the same kernel boot that was
// a crash, and the file may be the cause. In another boot the power was cut, which says
// nothing about the file. A marker that cannot be read is not counted.
type marker struct {
	path    string
	Kernel  string `json:"kernel"` // boot ID of the kernel
	Crashes int    `json:"deaths"` // of earlier starts during this kernel boot
}

// kernelBoot returns the kernel's ID of this boot; tests replace it. While it returns ""
// no crash is counted.
var kernelBoot = clock.KernelBootID

// set writes the marker. If there is one of this kernel boot, it counts one more crash.
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

// suspectFile reports whether there were enough crashes to treat the file as the cause.
func (m *marker) suspectFile() bool { return m.Crashes >= crashesToQuarantine }

// clear deletes the marker, when the file is open or opening it has returned an error.
func (m *marker) clear() error {
	if err := removeIfThere(m.path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(m.path))
}
