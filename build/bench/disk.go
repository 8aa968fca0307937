package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A disk is an ext4 image on a loop device: the bytes written to the device are what a card
// would have to write, including the journal.
type disk struct {
	image, mount string
	device       string // the kernel's name: loop2
}

const diskSize = 2 << 30 // sparse: it uses only what is written

// newDisk creates an empty file system. Its tables are written at once, because otherwise
// the kernel would write them during a measurement.
func newDisk(ctx context.Context, dir string) (d *disk, err error) {
	d = &disk{image: filepath.Join(dir, "disk.ext4"), mount: filepath.Join(dir, "mnt")}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		return d, err
	}
	if err := os.Truncate(d.image, diskSize); err != nil {
		return d, err
	}
	if err := os.MkdirAll(d.mount, 0o700); err != nil {
		return d, err
	}
	err = command(ctx, "mkfs.ext4", "-q", "-F", "-N", "256", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard",
		d.image)
	if err != nil {
		return d, err
	}
	if err := command(ctx, "mount", "-o", "loop,noatime", d.image, d.mount); err != nil {
		return d, err
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return d, err
	}
	device, err := mounted(string(mounts), d.mount)
	d.device = filepath.Base(device)
	return d, err
}

// mounted finds the device of a mount in /proc/self/mountinfo: proc(5) has the
// mount point as the fifth field, and the device second after a lone hyphen.
func mounted(mountinfo, dir string) (device string, err error) {
	for line := range strings.Lines(mountinfo) {
		left, right, ok := strings.Cut(line, " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if ok && len(l) >= 5 && len(r) >= 2 && l[4] == dir {
			return r[1], nil
		}
	}
	return "", fmt.Errorf("%s is not mounted", dir)
}

// close unmounts the disk, which detaches its loop device, and deletes it. It also works
// after an interrupt and on an incomplete disk.
func (d *disk) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var err error
	for d.mounted() {
		if err = command(ctx, "umount", d.mount); err == nil || ctx.Err() != nil {
			break
		}
		time.Sleep(100 * time.Millisecond) // a file is still open
	}
	return errors.Join(err, os.Remove(d.image))
}

func (d *disk) mounted() bool {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return true // unknown: try to unmount
	}
	_, err = mounted(string(mounts), d.mount)
	return err == nil
}

func command(ctx context.Context, name string, arg ...string) error {
	if out, err := exec.CommandContext(ctx, name, arg...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(arg, " "), err, out)
	}
	return nil
}
