package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A card is a separate file system with the agent's state.
type card struct {
	t    *testing.T
	dir  string // the mount point
	loop string // the loop device
}

// newCard creates a card of 16 MiB. It needs root, which CI has. The file system becomes
// read-only after an error, like that of a Pi.
func newCard(t *testing.T) *card {
	t.Helper()
	dir := t.TempDir()
	image := filepath.Join(dir, "image")
	c := &card{t: t, dir: filepath.Join(dir, "card")}
	err := os.WriteFile(image, nil, 0o600)
	if err == nil {
		err = os.Truncate(image, 16<<20)
	}
	if err == nil {
		err = os.Mkdir(c.dir, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.must("mkfs.ext4", "-q", "-F", "-e", "remount-ro", image)
	if os.Geteuid() != 0 && os.Getenv("CI") == "" {
		t.Skip("only root can mount a card")
	}
	c.must("mount", "-o", "loop", image, c.dir)
	t.Cleanup(func() { exec.Command("umount", "-l", c.dir).Run() })
	c.loop = filepath.Base(strings.TrimSpace(c.must("findmnt", "-n", "-o", "SOURCE", c.dir)))
	return c
}

func (c *card) must(command string, args ...string) string {
	c.t.Helper()
	out, err := exec.Command(command, args...).CombinedOutput()
	if err != nil {
		c.t.Fatalf("%s %v: %v: %s", command, args, err, out)
	}
	return string(out)
}

// fail makes the kernel find an error of the file system.
func (c *card) fail() {
	c.t.Helper()
	if err := os.WriteFile("/sys/fs/ext4/"+c.loop+"/trigger_fs_error", []byte("1"), 0); err != nil {
		c.t.Fatal(err)
	}
}

func (c *card) fill() {
	c.t.Helper()
	f, err := os.Create(filepath.Join(c.dir, "ballast"))
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	for _, size := range []int{1 << 16, 1} {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
	}
}

// freeze blocks all writes until the returned function is called.
func (c *card) freeze() (thaw func()) {
	c.must("fsfreeze", "--freeze", c.dir)
	return func() { exec.Command("fsfreeze", "--unfreeze", c.dir).Run() }
}

// TestNoDiskFaultDelaysReadings breaks the disk during an outage. Later readings are
// delivered without delay and after a reload, and SIGTERM ends the agent.
func TestNoDiskFaultDelaysReadings(t *testing.T) {
	takesLong(t)
	queue := func(c *card) string { return filepath.Join(c.dir, "state", "queue.db") }
	for name, breakIt := range map[string]func(c *card) (mend func()){
		"truncated":      func(c *card) func() { os.Truncate(queue(c), 0); return nil },
		"deleted":        func(c *card) func() { os.Remove(queue(c)); return nil },
		"folder-deleted": func(c *card) func() { os.RemoveAll(filepath.Dir(queue(c))); return nil },
		"full":           func(c *card) func() { c.fill(); return nil },
		"read-only":      func(c *card) func() { c.fail(); return nil },
		"truncated-and-full": func(c *card) func() {
			os.Truncate(queue(c), 0)
			c.fill()
			return nil
		},
		"truncated-and-read-only": func(c *card) func() {
			os.Truncate(queue(c), 0)
			c.fail()
			return nil
		},
		"hangs": (*card).freeze,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCard(t)
			w := wire(t, startMosquitto(t, ""), 0, `
  load: {kind: simulated, counter: {}, every: 50ms}
  gate: {kind: simulated, steps: {states: [closed, open], every: 500ms}, alarm: true}
`)
			config, err := os.ReadFile(w.agent.configPath())
			if err != nil {
				t.Fatal(err)
			}
			w.agent.configure(strings.Replace(string(config), w.agent.dir+"/queue.db", queue(c), 1))
			w.agent.retrySoon()
			w.agent.expectProblems = true // the card is smaller than queue.max_size
			w.agent.start()
			w.live(t, "load")
			w.cable.Pull()
			time.Sleep(8 * time.Second) // part of the backlog is on disk
			mend := breakIt(c)
			if mend == nil {
				mend = func() {}
			}
			defer mend()
			time.Sleep(2 * time.Second)
			w.cable.Plug()
			w.live(t, "load")
			w.live(t, "gate")

			if strings.Contains(name, "deleted") {
				eventually(t, 90*time.Second, "the file is there again", func() bool {
					_, err := os.Stat(queue(c))
					return err == nil
				})
			}
			boot := w.sub.last("store/load").Boot
			// The keys of the queue change: it is closed, and opened again with what it could not
			// write.
			w.agent.reload(func(text string) string {
				return strings.Replace(text, "queue: {", "queue: {sync_every: 4s, ", 1)
			})
			eventually(t, time.Minute, "readings after a reload", func() bool {
				return w.sub.last("store/load").Boot != boot
			})
			w.live(t, "gate")

			asked := time.Now()
			w.agent.cmd.Process.Signal(syscall.SIGTERM)
			if name == "hangs" { // the agent has ended, but the kernel keeps the process until the disk answers
				eventually(t, time.Minute, "the agent says that it ends", func() bool {
					return strings.Contains(w.agent.log.String(),
						"the disk hangs: what was in memory only could not be written")
				})
				mend()
			}
			dead := time.AfterFunc(30*time.Second, func() { w.agent.cmd.Process.Kill() })
			w.agent.cmd.Wait() // the exit status may report unwritten readings
			dead.Stop()
			w.agent.done = true
			if d := time.Since(asked); d > 10*time.Second {
				t.Errorf("SIGTERM took %v", d)
			}
			gaps := fmt.Sprint(w.sub.on("agent/event"))
			if !strings.HasPrefix(name, "truncated") && strings.Contains(gaps, `"damaged"`) {
				t.Errorf("readings were lost: %s", gaps)
			}
		})
	}
}

// TestBacklogIsSentFromACardThatCannotBeWritten starts the agent on such a card.
func TestBacklogIsSentFromACardThatCannotBeWritten(t *testing.T) {
	takesLong(t)
	for name, breakIt := range map[string]func(c *card){
		"full":      (*card).fill,
		"read-only": func(c *card) { c.must("mount", "-o", "remount,ro", c.dir) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCard(t)
			w := wire(t, startMosquitto(t, ""), 0, `
  load: {kind: simulated, counter: {}, every: 50ms}
  gate: {kind: simulated, steps: {states: [closed, open], every: 500ms}, alarm: true}
`)
			config, err := os.ReadFile(w.agent.configPath())
			if err != nil {
				t.Fatal(err)
			}
			w.agent.configure(strings.Replace(string(config), w.agent.dir+"/queue.db", c.dir+"/queue.db", 1))
			w.agent.retrySoon()
			w.agent.expectProblems = true
			w.cable.Pull()
			w.agent.start()
			time.Sleep(8 * time.Second)
			w.agent.stop()
			breakIt(c)
			w.agent.start()
			w.cable.Plug()
			for _, stream := range []string{"load", "gate"} { // the newest of the backlog may be less than a second old
				eventually(t, reconnectLimit, stream+" of both starts", func() bool {
					starts := map[string]bool{}
					for _, m := range w.sub.on("store/" + stream) {
						starts[m.Boot] = true
					}
					return len(starts) == 2
				})
				w.live(t, stream)
			}
			for _, stream := range []string{"load", "gate"} {
				if boots := w.checkComplete(t, stream); len(boots) != 2 {
					t.Errorf("%s: boots %v, want that of the backlog, too", stream, boots)
				}
			}
			w.agent.kill()
		})
	}
}
