package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A disk is an ext4 image on a loop device. The bytes written to the device are what a card
// would have to write, including the journal.
type disk struct{ home, mount, device string }

func newDisk(dir string) (*disk, error) {
	home, err := os.MkdirTemp(dir, "disk")
	if err != nil {
		return nil, err
	}
	d := &disk{home: home, mount: filepath.Join(home, "mnt")}
	image := filepath.Join(home, "ext4")
	err = errors.Join(os.Mkdir(d.mount, 0o700), os.WriteFile(image, nil, 0o600), os.Truncate(image, 1<<30),
		command("mkfs.ext4", "-q", "-F", "-N", "40000", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard",
			image))
	if err == nil {
		err = command("mount", "-o", "loop,noatime", image, d.mount)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(home))
	}
	out, err := exec.Command("findmnt", "-n", "-o", "SOURCE", d.mount).Output()
	d.device = filepath.Base(strings.TrimSpace(string(out)))
	return d, err
}

// written is the number of bytes written to the device, after a sync of everything.
func (d *disk) written() (int64, error) {
	if err := command("sync", "-f", d.mount); err != nil {
		return 0, err
	}
	text, err := os.ReadFile(filepath.Join("/sys/block", d.device, "stat"))
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(text))
	if len(f) < 7 {
		return 0, fmt.Errorf("/sys/block/%s/stat has %d numbers", d.device, len(f))
	}
	sectors, err := strconv.ParseInt(f[6], 10, 64)
	return sectors * 512, err
}

// close unmounts the disk when its files are closed, and deletes it.
func (d *disk) close() (err error) {
	for range 50 {
		if err = command("umount", d.mount); err == nil {
			return os.RemoveAll(d.home)
		}
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

func command(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
