//go:build powercut

package record

import (
	"io"
	"os"

	"github.com/holdfast-iot/holdfast/build/powercut/disk"
)

// bootID is the file with Linux's boot ID. A queue that is recorded reads another ID than
// one that is opened from an image, because there is a power cut between them.
const bootID = "/proc/sys/kernel/random/boot_id"

// Hook makes package os report to the recorder. otherBoot is a file with the boot ID for
// the recording.
func (r *Recorder) Hook(otherBoot string) {
	os.PowercutHook = func(c *os.Powercut) func() {
		if c.Op == "openfile" && c.Name == bootID {
			c.Name = otherBoot
		}
		if c.File != nil {
			return r.file(c)
		}
		return r.name(c)
	}
}

// Unhook undoes Hook.
func Unhook() { os.PowercutHook = nil }

// file handles a method of an open file.
func (r *Recorder) file(c *os.Powercut) func() {
	upto := r.upto()
	return func() {
		if c.Failed != nil {
			r.failed(c)
			return
		}
		switch c.Op {
		case "file.write":
			end, _ := c.File.Seek(0, io.SeekCurrent)
			r.changed(c.File, disk.Event{Op: disk.Write, At: end - int64(c.Wrote), Data: c.Data})
		case "file.writeat":
			r.changed(c.File, disk.Event{Op: disk.Write, At: c.At, Data: c.Data})
		case "file.truncate":
			r.changed(c.File, disk.Event{Op: disk.Truncate, At: c.At})
		case "file.sync":
			r.changed(c.File, disk.Event{Op: disk.Sync, Upto: upto})
		}
	}
}

// failed handles a change of an open file that may have happened partly.
func (r *Recorder) failed(c *os.Powercut) {
	r.mu.Lock()
	_, ours := r.open[c.File]
	r.mu.Unlock()
	if ours {
		r.cannot(c.Op, c.File.Name(), c.Failed)
	}
}

// name handles a function that takes a path.
func (r *Recorder) name(c *os.Powercut) func() {
	name, in := r.inside(c.Name)
	to, toIn := r.inside(c.To)
	return func() {
		switch {
		case c.Failed != nil || !in && !toIn:
			if !missing(c.Failed) && in && c.Failed != nil {
				r.cannot(c.Op, c.Name, c.Failed)
			}
		case c.Op == "openfile":
			r.opened(name, c.Flag, c.File)
		case c.Op == "remove":
			r.moved(disk.Remove, name, "")
		case c.Op == "rename" && in && toIn:
			r.moved(disk.Rename, name, to)
		default:
			r.cannot(c.Op, c.Name+" "+c.To, errUnknown)
		}
	}
}
