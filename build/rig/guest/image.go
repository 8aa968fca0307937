package guest

import (
	_ "embed"
	"os"
	"path/filepath"
	"strings"

	"github.com/holdfast-iot/holdfast/build/rig/initrd"
)

//go:embed init
var initScript []byte

// Door is the configuration of a house: a door and two climate sensors.
//
//go:embed config.yaml
var Door []byte

// Workbench is the configuration with one of every device that the rig has.
//
//go:embed workbench.yaml
var Workbench []byte

// Alarm is the configuration of a siren that a door switches on.
//
//go:embed alarm.yaml
var Alarm []byte

// modules are the drivers of the board's disk, network, USB and I2C, and the file system.
// GPIO and the console are built into Debian's kernel.
var modules = []string{
	"virtio_mmio", "virtio_blk", "virtio_net", "ext4", "crc32c_generic",
	"xhci-pci", "i2c-dev", "i2c-tiny-usb", "bmp280-i2c",
}

// writeImage writes the file system that the machine boots into.
func (f Fetched) writeImage(file string, p Plan) error {
	var a initrd.Archive
	for _, folder := range []string{"proc", "sys", "run", "tmp", "var/lib/holdfast"} {
		a.Folder(folder)
	}
	a.CharDevice("dev/console", 5, 1) // the first process has it before /dev is mounted
	a.Link("bin/sh", "busybox")
	a.File("init", 0o755, initScript)
	a.File("etc/holdfast/config.yaml", 0o644, p.Config)
	busybox, err := f.one("guest/bin/busybox")
	if err != nil {
		return err
	}
	for name, source := range map[string]string{"bin/busybox": busybox, "bin/holdfast": p.Agent,
		"bin/settime": p.Settime} {
		data, err := os.ReadFile(source)
		if err != nil {
			return err
		}
		a.File(name, 0o755, data)
	}
	if err := f.addModules(&a); err != nil {
		return err
	}
	return os.WriteFile(file, a.Bytes(), 0o644)
}

func (f Fetched) addModules(a *initrd.Archive) error {
	folder, err := f.one("guest/lib/modules/*")
	if err != nil {
		return err
	}
	found, err := initrd.Modules(folder, modules...)
	if err != nil {
		return err
	}
	var order []string
	for _, m := range found {
		a.File(filepath.Join("lib/modules", m.Name+".ko"), 0o644, m.Data)
		order = append(order, m.Name)
	}
	a.File("lib/modules/order", 0o644, []byte(strings.Join(order, "\n")+"\n"))
	return nil
}
