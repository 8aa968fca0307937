package main

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/holdfast-iot/holdfast/build/powercut/disk"
	"github.com/holdfast-iot/holdfast/build/powercut/promise"
)

const (
	childSync = 5 * time.Millisecond   // sync_every of the process that is killed
	slack     = 200 * time.Millisecond // added to it for a busy machine
	childTime = time.Minute            // limit for one life
)

func kills(s settings, t *tally) error      { return killAll(s, t, false) }
func earlyKills(s settings, t *tally) error { return killAll(s, t, true) }

// A victim is a queue whose process is killed repeatedly.
type victim struct {
	dir    string
	seed   uint64
	random *rand.Rand
	early  bool
	epoch  time.Time

	ledger *promise.Ledger
	killed time.Duration // when, by epoch
	opened bool          // the last process has opened the queue
}

// killAll kills s.kills times; each time the next process reports what it finds.
func killAll(s settings, t *tally, early bool) error {
	v := &victim{dir: filepath.Join(s.scratch, fmt.Sprint("victim-", early)), seed: s.seed, early: early,
		random: rand.New(rand.NewPCG(s.seed, 0)), epoch: time.Now(), ledger: promise.Open(), opened: true}
	if err := disk.Lay(v.dir, nil); err != nil {
		return err
	}
	for n := 0; n <= s.kills; n++ {
		expected := v.ledger.Expected(v.killed, childSync+slack)
		found, err := v.life(n, n == s.kills)
		if err != nil {
			return err
		}
		if len(found) > 0 && !early && s.keep != "" {
			if err := copyFolder(filepath.Join(s.keep, fmt.Sprintf("kill%d-seed%d", n, s.seed)),
				asFound(v.dir)); err != nil {
				return err
			}
		}
		if n > 0 || len(found) > 0 {
			t.one(found, expected, fmt.Sprintf("kill %d of -seed %d", n, s.seed))
		}
	}
	return nil
}

// life starts a process, checks what it finds of the life before, and kills it at a random
// moment. The last process is killed at once.
func (v *victim) life(n int, last bool) (found []promise.Violation, err error) {
	cmd, messages, stderr, err := v.begin(n)
	if err != nil {
		return nil, err
	}
	var killed time.Duration // read after Wait, which returns after the kill
	kill := time.AfterFunc(childTime, func() { killed = time.Since(v.epoch); cmd.Process.Kill() })
	mayKillEarly, wait := v.opened, v.delay()
	if last {
		mayKillEarly, wait = true, 0
	}
	v.opened = false
	checked := false
	for {
		var m message
		if messages.Decode(&m) != nil {
			break
		}
		switch m.Kind {
		case msgFound:
			checked = true
			found = append(m.Violations, v.ledger.Check(m.Items, v.killed, childSync+slack)...)
			v.carry(m)
			if mayKillEarly {
				kill.Reset(wait)
			}
		case msgOpened:
			v.opened = true
			if !mayKillEarly {
				kill.Reset(wait)
			}
		case msgFact:
			v.ledger.Note(m.Fact)
		}
	}
	err = cmd.Wait()
	if kill.Stop() || !checked {
		found = append(found, promise.Violation{Sort: promise.Died,
			What: fmt.Sprintf("%v: %s", err, firstLine(stderr.String()))})
	}
	v.killed = killed
	return found, nil
}

// carry starts the next ledger with what is on disk.
func (v *victim) carry(m message) {
	v.ledger = promise.Open()
	for _, f := range promise.Carry(m.Items) {
		v.ledger.Note(f)
	}
}

// delay is how long a process lives: a few milliseconds, rarely long enough that its
// readings must be on disk because of their age.
func (v *victim) delay() time.Duration {
	if v.random.IntN(50) == 0 {
		return time.Duration(v.random.Int64N(int64(2 * slack)))
	}
	return time.Duration(v.random.Int64N(int64(25 * time.Millisecond)))
}

func (v *victim) begin(n int) (*exec.Cmd, *gob.Decoder, *bytes.Buffer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, nil, err
	}
	cmd := exec.Command(self, "child", "-dir", v.dir, "-seed", fmt.Sprint(v.seed), "-life", fmt.Sprint(n),
		"-epoch", fmt.Sprint(v.epoch.UnixNano()), fmt.Sprint("-early=", v.early))
	stderr := new(bytes.Buffer)
	cmd.Stderr = stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, nil, err
	}
	return cmd, gob.NewDecoder(stdout), stderr, cmd.Start()
}
