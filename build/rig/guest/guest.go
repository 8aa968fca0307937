// Package guest is the machine that holdfast runs on in the rig: QEMU's arm64
// board "virt" with Debian's kernel, one named GPIO line, one I2C adapter, a disk,
// and a network that leads to one broker and nowhere else.
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

// Plan says what a machine is made of.
type Plan struct {
	Agent   string // holdfast for arm, a file
	Settime string // build/rig/settime for arm, a file
	Config  []byte // of holdfast
	Work    string // a folder for what is built for the machine
	Disk    string // the socket of an NBD server
	Adapter string // the socket of a usbredir server
	Forward string // a command whose input and output are one connection to the broker
}

// Names that a story needs.
const (
	Card      = "net0"  // the network card, whose cable can be pulled
	GPIO      = "pl061" // the type of the GPIO controller
	DoorLine  = 0       // its line that the device tree calls GPIO17
	SirenLine = 2       // and GPIO22
)

// Build makes what the machine boots from and returns how to make its command;
// each start of the machine needs a new one, with the date that its real-time
// clock says, the host's if that is empty.
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

// board is what QEMU's device tree depends on. TCG always: the same machine
// everywhere, whatever the host can do.
func board() []string {
	return []string{"-M", "virt", "-accel", "tcg,thread=multi", "-cpu", "cortex-a53", "-m", "256"}
}

// command is a fetched program with its own libraries and modules, or the
// host's where fetch had no need to fetch it.
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

// triplet is Debian's name for the folder of this architecture's libraries.
var triplet = map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[runtime.GOARCH]

// one is the one file below the folder that the pattern fits.
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
