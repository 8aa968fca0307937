package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/build/powercut/disk"
	"github.com/holdfast-iot/holdfast/build/powercut/promise"
	"github.com/holdfast-iot/holdfast/sensors"
)

const (
	syncEvery      = 5 * time.Second // the option of the recorded queue
	choicesPerCut  = 2
	openingChanges = 20 // opening a queue makes about this many changes
	afterMove      = 6  // changes between a rename and the sync of the folder, at most
	reuseEvery     = 8  // one in this many images is used again after it was drained
)

// A worker opens the images of one recording.
type worker struct {
	rec     *disk.Recording
	seed    uint64 // of the recording, combined with the number of its life
	dir     string
	lies    bool
	changes []int // numbers of the events that change the disk
	moves   []int // indexes in changes of the renames
	cut     int   // the cut that state and ledger belong to
	state   *disk.State
	ledger  *promise.Ledger
}

func workerMain(args []string) {
	flags := flag.NewFlagSet("worker", flag.ExitOnError)
	path := flags.String("recording", "", "")
	dir := flags.String("dir", "", "")
	seed := flags.Uint64("seed", 0, "")
	life := flags.Uint64("life", 0, "")
	lies := flags.Bool("lies", false, "")
	from, to := flags.Int("from", 0, ""), flags.Int("to", 0, "")
	cut, choice := flags.Int("cut", -1, ""), flags.Int("choice", 0, "")
	flags.Parse(args)
	rec, err := disk.Load(*path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	w := &worker{rec: rec, seed: *seed<<8 | *life, dir: *dir, lies: *lies, cut: -1}
	for i, e := range rec.Events {
		if e.Op == disk.Rename || e.Op == disk.Remove {
			w.moves = append(w.moves, len(w.changes))
		}
		if e.Op != disk.Note {
			w.changes = append(w.changes, i)
		}
	}
	if *cut >= 0 {
		w.say(min(*cut, len(rec.Events)), *choice)
		return
	}
	for n := *from; n < *to; n++ {
		w.say(w.pick(n/choicesPerCut), n)
	}
}

// pick chooses a moment: mostly just after a change of the disk, and sometimes after a
// change that opens the queue, soon after a rename, or at the end.
func (w *worker) pick(n int) int {
	random := rand.New(rand.NewPCG(w.seed, uint64(n)|1<<32))
	among := w.changes
	switch random.IntN(8) {
	case 0, 1:
		return random.IntN(len(w.rec.Events) + 1)
	case 2:
		among = among[:min(len(among), openingChanges)]
	case 3:
		among = among[max(0, len(among)-openingChanges):]
	case 4:
		if len(w.moves) > 0 {
			among = among[w.moves[random.IntN(len(w.moves))]:]
			among = among[:min(len(among), afterMove)]
		}
	}
	if len(among) == 0 {
		return 0
	}
	return among[random.IntN(len(among))] + 1
}

func (w *worker) say(cut, choice int) {
	fmt.Printf("image %d %d\n", cut, choice)
	for _, b := range w.image(cut, choice) {
		fmt.Printf("%s %s\n", b.Sort, strings.ReplaceAll(b.What, "\n", "; "))
	}
	fmt.Println("done", w.ledger.Expected(w.rec.Now(cut), syncEvery))
}

// image creates one image, opens it and checks what it contains.
func (w *worker) image(cut, choice int) []promise.Violation {
	if cut != w.cut {
		w.cut, w.state, w.ledger = cut, disk.Before(w.rec, cut, w.lies), w.rec.Ledger(cut)
	}
	random := rand.New(rand.NewPCG(w.seed, uint64(cut)<<8|uint64(choice)))
	if err := disk.Lay(w.dir, w.state.Torn(random)); err != nil {
		return []promise.Violation{{Sort: promise.Refused, What: "lay the image: " + err.Error()}}
	}
	items, found := promise.Drain(w.dir, syncEvery, w.rec.ClientID)
	if w.rec.Upset {
		found = slices.DeleteFunc(found, func(b promise.Violation) bool {
			return b.Sort == promise.Aside || b.Sort == promise.Complaint
		})
	}
	found = append(found, w.ledger.Check(items, w.rec.Now(cut), syncEvery)...)
	if len(found) == 0 && random.IntN(reuseEvery) == 0 {
		s := promise.Source{Rand: random}
		found = promise.Reuse(w.dir, syncEvery, w.rec.ClientID, s.Next(sensors.Alarm, 0))
	}
	return found
}
