package kernel

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

// A Device is one device of a [List], held by its open folder. When the kernel removes the device,
// no file in that folder can be opened any more, even if another device gets its number. The open
// folder does not prevent the removal.
type Device struct {
	Name string // as configured

	list   List
	host   *host.Host
	option string // `device`, as configured

	dir  string // path of root when it was opened, for messages
	root *os.Root
}

// Open opens the device with a name and an option `device`. It must be the same hardware as when
// the configuration was read.
func (l List) Open(h *host.Host, name, device string) (*Device, error) {
	e, err := l.resolve(h, name, device)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(e.dir)
	if err != nil {
		return nil, err
	}
	return &Device{list: l, host: h, Name: name, option: device, dir: e.dir, root: root}, nil
}

// resolve finds the device with a name: the same hardware as when the configuration was read, even
// if its path now belongs to another device, as 11-0044 may after its bus was bound again.
func (l List) resolve(h *host.Host, name, device string) (Entry, error) {
	words := strings.TrimSpace(l.Kind + " " + name + " " + device)
	was, known := h.Known.Lookup(words)
	e, err := l.find(h.Sys, name, device)
	if known && (err == nil && host.StablePath(e.hardware) != was.Stable || errors.Is(err, os.ErrNotExist)) {
		if moved, ok := l.findMoved(h.Sys, name, device, was); ok {
			return moved, nil
		}
	}
	if err != nil {
		return Entry{}, err
	}
	return e, h.Known.Confirm(words, host.Identity{Stable: host.StablePath(e.hardware), Shown: e.hardware})
}

// findMoved finds the device with a name at known hardware, under any number.
func (l List) findMoved(sys, name, device string, was host.Identity) (moved Entry, ok bool) {
	// If two have this name at this hardware, the option says which.
	_, nth, counted := strings.Cut(device, "#")
	for _, e := range l.named(l.Entries(sys), name) {
		if host.StablePath(e.hardware) != was.Stable || counted && nth != strconv.Itoa(e.nth) {
			continue
		}
		if ok {
			return Entry{}, false // two
		}
		moved, ok = e, true
	}
	return moved, ok
}

// Check returns an error unless the configuration still means this device: it fails if another
// device has taken its place, or if there is a second one with its name.
func (d *Device) Check() error {
	e, err := d.list.resolve(d.host, d.Name, d.option)
	if err != nil {
		return err
	}
	// Compare the folder of that device with the open one.
	is, err := os.Stat(e.dir)
	if err != nil {
		return err
	}
	held, err := d.root.Stat(".")
	if err != nil {
		return err
	}
	if !os.SameFile(is, held) {
		return fmt.Errorf("%s %s: was removed and is opened again", d.list.Kind, d.Name)
	}
	return nil
}

// Path is where a file of the device was when it was opened, for messages.
func (d *Device) Path(file string) string { return filepath.Join(d.dir, file) }

// ReadLine reads a file of one line of the device.
func (d *Device) ReadLine(file string) (string, error) {
	text, err := d.root.ReadFile(file)
	// Errors of os.Root have only the name of the file.
	if at := (*fs.PathError)(nil); errors.As(err, &at) {
		at.Path = d.Path(file)
	}
	return strings.TrimSpace(string(text)), err
}

// Files returns the names of the device's files that match a pattern.
func (d *Device) Files(pattern string) []string {
	names, _ := fs.Glob(d.root.FS(), pattern) // the patterns are fixed
	return names
}

// Close closes the folder.
func (d *Device) Close() error { return d.root.Close() }
