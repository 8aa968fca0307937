package drivers

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
)

// A kernelDevice is one device of a [kernelList], held by its open folder. When
// the kernel takes the device away nothing can be opened in that folder any more,
// whoever has got the number: a file that could be read was this device's. The
// open folder does not keep the kernel from taking the device away.
type kernelDevice struct {
	list         kernelList
	hw           *Hardware
	name, device string // as configured

	dir  string
	root *os.Root
}

// open opens the device with a name, which has to be the one that it was when
// the configuration was read.
func (l kernelList) open(h *Hardware, name, device string) (*kernelDevice, error) {
	e, err := l.resolve(h, name, device)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(e.dir)
	if err != nil {
		return nil, err
	}
	return &kernelDevice{list: l, hw: h, name: name, device: device, dir: e.dir, root: root}, nil
}

// resolve finds the device with a name: the one that it was when the configuration
// was read, also if the path that the configuration has is another's by now, as
// 11-0044 may be after its bus was bound anew.
func (l kernelList) resolve(h *Hardware, name, device string) (kernelEntry, error) {
	words := strings.TrimSpace(l.kind + " " + name + " " + device)
	was, known := h.Known.Lookup(words)
	e, err := l.find(h.Sys, name, device)
	if known && (err == nil && host.StablePath(e.hangs) != was.Stable || errors.Is(err, os.ErrNotExist)) {
		if moved, ok := l.moved(h.Sys, name, device, was); ok {
			return moved, nil
		}
	}
	if err != nil {
		return kernelEntry{}, err
	}
	return e, h.Known.Confirm(words, host.Identity{Stable: host.StablePath(e.hangs), Shown: e.hangs})
}

// moved finds the device of a name at known hardware, whatever its number is now.
func (l kernelList) moved(sys, name, device string, was host.Identity) (moved kernelEntry, ok bool) {
	_, nth, counted := strings.Cut(device, "#")
	for _, e := range l.named(l.entries(sys), name) {
		if host.StablePath(e.hangs) != was.Stable || counted && nth != strconv.Itoa(e.nth) {
			continue
		}
		if ok {
			return kernelEntry{}, false // two
		}
		moved, ok = e, true
	}
	return moved, ok
}

// check makes sure that the configuration still means this device: that neither
// another has come in its place nor a second one beside it.
func (d *kernelDevice) check() error {
	e, err := d.list.resolve(d.hw, d.name, d.device)
	if err != nil {
		return err
	}
	is, err := os.Stat(e.dir)
	if err != nil {
		return err
	}
	held, err := d.root.Stat(".")
	if err != nil {
		return err
	}
	if !os.SameFile(is, held) {
		return fmt.Errorf("%s %s: was taken away and is opened anew", d.list.kind, d.name)
	}
	return nil
}

// path is where a file of the device was when it was opened, for messages.
func (d *kernelDevice) path(file string) string { return filepath.Join(d.dir, file) }

// readLine reads a file of the device.
func (d *kernelDevice) readLine(file string) (string, error) {
	text, err := d.root.ReadFile(file)
	if at := (*fs.PathError)(nil); errors.As(err, &at) {
		at.Path = d.path(file)
	}
	return strings.TrimSpace(string(text)), err
}

// files are the names of the device's files that match a pattern.
func (d *kernelDevice) files(pattern string) []string {
	names, _ := fs.Glob(d.root.FS(), pattern) // the patterns are fixed
	return names
}

func (d *kernelDevice) Close() error { return d.root.Close() }
