package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A card is a separate file system in a file, which becomes read-only when the kernel finds
// an error, like that of a Pi.
type card struct{ image, dir string }

func newCard(dir string) (*card, error) {
	c := &card{filepath.Join(dir, "image"), filepath.Join(dir, "card")}
	if err := os.Mkdir(c.dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(c.image, nil, 0o600); err != nil {
		return nil, err
	}
	if err := os.Truncate(c.image, 96<<20); err != nil {
		return nil, err
	}
	if err := tool("mkfs.ext4", "-q", "-F", "-e", "remount-ro", c.image); err != nil {
		return nil, err
	}
	return c, c.mount()
}

func tool(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %v: %w: %s", name, args, err, out)
	}
	return nil
}

func (c *card) mount() error { return tool("mount", "-o", "loop", c.image, c.dir) }
func (c *card) close()       { exec.Command("umount", "-l", c.dir).Run() }

// fill writes a file that uses all free space of the card; free deletes it.
func (c *card) fill() error {
	f, err := os.Create(c.ballast())
	if err != nil {
		return err
	}
	defer f.Close()
	for _, size := range []int{1 << 16, 1} {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
	}
	return nil
}

func (c *card) ballast() string { return filepath.Join(c.dir, "ballast") }
func (c *card) free() error     { return os.Remove(c.ballast()) }

// breakDown makes the kernel find an error of the file system. It stays read-only until
// repair, which requires that no process uses it.
func (c *card) breakDown() error {
	out, err := exec.Command("findmnt", "-n", "-o", "SOURCE", c.dir).Output()
	if err != nil {
		return err
	}
	return os.WriteFile("/sys/fs/ext4/"+filepath.Base(strings.TrimSpace(string(out)))+"/trigger_fs_error", []byte("1"),
		0)
}

func (c *card) repair() error {
	if err := tool("umount", c.dir); err != nil {
		return err
	}
	exec.Command("e2fsck", "-p", "-f", c.image).Run() // its status says what it mended
	return c.mount()
}

// truncate empties the queue's file while the agent has it open.
func (c *card) truncate() error { return os.Truncate(filepath.Join(c.dir, "queue.db"), 0) }

// remove deletes the queue's file.
func (c *card) remove() error { return os.Remove(filepath.Join(c.dir, "queue.db")) }
