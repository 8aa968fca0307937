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

// A Device is one device of a [List], held by its open folder. When the kernel takes
// the device away nothing can be opened in that folder any more, whoever has got the
// number: a file that could be read was this device's. The open folder does not keep
// the kernel from taking the device away.
type Device struct {
	Name string // as configured

	list   List
	host   *host.Host
	option string // `device`, as configured

	dir  string // where root was when it was opened, for messages
	root *os.Root
}

// Open opens the device with a name and an option `device`. It has to be the one that it
// was when the configuration was read.
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

// resolve finds the device with a name: the one that it was when the configuration
// was read, also if the path that the configuration has is another's by now, as
// 11-0044 may be after its bus was bound anew.
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

// findMoved finds the device of a name at known hardware, whatever its number is now.
func (l List) findMoved(sys, name, device string, was host.Identity) (moved Entry, ok bool) {
	// Of two with one name at this hardware the option says which.
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

// Check makes sure that the configuration still means this device: that neither
// another has come in its place nor a second one beside it.
func (d *Device) Check() error {
	e, err := d.list.resolve(d.host, d.Name, d.option)
	if err != nil {
		return err
	}
	// The name still means a device; whether it is the one that is open, its folder
	// tells.
	is, err := os.Stat(e.dir)
	if err != nil {
		return err
	}
	held, err := d.root.Stat(".")
	if err != nil {
		return err
	}
	if !os.SameFile(is, held) {
		return fmt.Errorf("%s %s: was taken away and is opened anew", d.list.Kind, d.Name)
	}
	return nil
}

// Path is where a file of the device was when it was opened, for messages.
func (d *Device) Path(file string) string { return filepath.Join(d.dir, file) }

// ReadLine reads a file of one line of the device.
func (d *Device) ReadLine(file string) (string, error) {
	text, err := d.root.ReadFile(file)
	// The root's errors have the file's name alone.
	if at := (*fs.PathError)(nil); errors.As(err, &at) {
		at.Path = d.Path(file)
	}
	return strings.TrimSpace(string(text)), err
}

// Files are the names of the device's files that match a pattern.
func (d *Device) Files(pattern string) []string {
	names, _ := fs.Glob(d.root.FS(), pattern) // the patterns are fixed
	return names
}

// Close lets go of the folder.
func (d *Device) Close() error { return d.root.Close() }
