// Package disk replays a recording of what a program did to the files of one folder, and
// creates images that a disk could have after a power cut.
//
// A file is its synced content and a list of later changes that are not synced. Names are
// modelled in the same way: the names at the last sync of the folder, and the changes
// since.
package disk

import (
	"encoding/gob"
	"fmt"
	"os"
	"time"

	"github.com/holdfast-iot/holdfast/build/powercut/promise"
)

// An Op is the operation of an event.
type Op uint8

const (
	Note     Op = iota // no change of the disk: a fact about the queue
	Write              // Data at At
	Truncate           // to At bytes
	Sync               // all changes before event number Upto
	Create             // Name
	Rename             // Name to To
	Remove             // Name
)

// Folder is the number of the folder itself, which is synced like a file.
const Folder = 0

// An Event is one operation.
type Event struct {
	Time time.Duration // since the start of the recording
	Op   Op
	File int // the number of a file, which a rename does not change
	Name string
	To   string
	At   int64
	Data []byte
	Upto int
	Fact promise.Fact
}

// A Recording is one life of a queue: from the opening of its files to the end.
type Recording struct {
	Base   []File // the files at the start; the first has number 1
	Kept   []promise.Fact
	Events []Event

	ClientID string // the client ID with which the queue was opened
	// Upset means that the base may be damaged, or of another client ID: Open may move it aside
	// and log an error.
	Upset bool
}

// A File is a name and a content.
type File struct {
	Name string
	Data []byte
}

// Save writes a recording to a file.
func (r *Recording) Save(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	err = gob.NewEncoder(f).Encode(r)
	if shut := f.Close(); err == nil {
		err = shut
	}
	if err != nil {
		return fmt.Errorf("save recording %s: %w", path, err)
	}
	return nil
}

// Load reads what Save wrote.
func Load(path string) (*Recording, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := new(Recording)
	if err := gob.NewDecoder(f).Decode(r); err != nil {
		return nil, fmt.Errorf("load recording %s: %w", path, err)
	}
	return r, nil
}

// Now is the latest possible time of a power cut before event n.
func (r *Recording) Now(n int) time.Duration {
	return r.Events[min(n, len(r.Events)-1)].Time
}

// Ledger is what had happened to the queue before event n.
func (r *Recording) Ledger(n int) *promise.Ledger {
	l := promise.Open()
	for _, f := range r.Kept {
		l.Note(f)
	}
	for _, e := range r.Events[:n] {
		if e.Op == Note {
			l.Note(e.Fact)
		}
	}
	return l
}
