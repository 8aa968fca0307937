// Package guest is the virtual machine of the rig: QEMU's arm64 board "virt" with Debian's
// kernel, named GPIO lines, one I2C adapter, a disk, and a network that reaches one broker
// and nothing else.
package guest

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// Fetched is the folder that build/rig/fetch has filled.
type Fetched string

// Plan lists the parts of a machine.
type Plan struct {
	Agent   string // holdfast for arm, a file
	Settime string // build/rig/settime for arm, a file
	Config  []byte // of holdfast
	Work    string // a folder for what is built for the machine
	Disk    string // the socket of an NBD server
	Adapter string // the socket of a usbredir server
	Forward string // a command that connects its standard input and output to the broker
}

// Names that a story uses.
const (
	Card      = "net0"  // the network card, whose cable can be pulled
	GPIO      = "pl061" // the type of the GPIO controller
	DoorLine  = 0       // the line that the device tree names GPIO17
	SirenLine = 2       // the line that the device tree names GPIO22
)

// Build creates the files that the machine boots from, and returns a function that creates
// its command. Each start of the machine needs a new command, with the date of its
// real-time clock; empty: the host's date.
func (f Fetched) Build(ctx context.Context, p Plan) (func(date string) *exec.Cmd, error) {
	kernel, err := f.one("guest/boot/vmlinuz-*")
	if err != nil {
		return nil, err
	}
	image, tree := filepath.Join(p.Work, "initrd"), filepath.Join(p.Work, "virt.dtb")
	if err := f.writeImage(image, p); err != nil {
		return nil, fmt.Errorf("write the boot image: %w", err)
	}
	if err := f.writeTree(ctx, tree); err != nil {
		return nil, fmt.Errorf("write the device tree: %w", err)
	}
	args := append(board(),
		"-dtb", tree, "-kernel", kernel, "-initrd", image, "-append", "console=ttyAMA0 panic=-1 quiet",
		"-drive", "if=none,id=disk,format=raw,cache=writeback,file=nbd+unix:///?socket="+p.Disk,
		"-device", "virtio-blk-device,drive=disk",
		// restrict: the guest reaches this one address and nothing else
		"-netdev", "user,id=net,restrict=on,guestfwd=tcp:10.0.2.100:1883-cmd:"+strings.ReplaceAll(p.Forward, ",", ",,"),
		"-device", "virtio-net-device,netdev=net,id="+Card,
		"-device", "qemu-xhci", "-chardev", "socket,id=i2c,path="+p.Adapter, "-device", "usb-redir,chardev=i2c")
	return func(date string) *exec.Cmd {
		return f.command(ctx, qemu, append(args, "-rtc", "base="+cmp.Or(date, "utc"))...)
	}, nil
}

const qemu = "qemu-system-aarch64"

// board are the arguments that QEMU's device tree depends on. The machine is always
// emulated (TCG), so it is the same on every host.
func board() []string {
	return []string{"-M", "virt", "-accel", "tcg,thread=multi", "-cpu", "cortex-a53", "-m", "256"}
}

// command is a fetched program with its own libraries and modules, or the host's if fetch
// did not download one.
func (f Fetched) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	root := filepath.Join(string(f), "host")
	program := filepath.Join(root, "usr/bin", name)
	if _, err := os.Stat(program); err != nil {
		return exec.CommandContext(ctx, name, args...)
	}
	libs := filepath.Join(root, "usr/lib", triplet)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(),
		"LD_LIBRARY_PATH="+libs+":"+filepath.Join(root, "lib", triplet), // not all packages have moved to /usr
		"QEMU_MODULE_DIR="+filepath.Join(libs, "qemu"))
	return cmd
}

// triplet is the name of Debian's folder for the libraries of this architecture.
var triplet = map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[runtime.GOARCH]

// one is the one file below the folder that matches the pattern.
func (f Fetched) one(pattern string) (string, error) {
	files, err := filepath.Glob(filepath.Join(string(f), pattern))
	if err == nil && len(files) != 1 {
		err = fmt.Errorf("%d files like %s in %s, want one", len(files), pattern, f)
	}
	if err != nil {
		return "", err
	}
	return files[0], nil
}
