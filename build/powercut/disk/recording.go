// Package disk plays a recording of what a program did to the files of one
// folder, and builds what a disk could hold after a power cut.
//
// A file is its synced content and a list of changes that no sync has covered.
// Names are the same: a list of names that the last sync of the folder has
// covered, and the moves since.
package disk

import (
	"encoding/gob"
	"fmt"
	"os"
	"time"

	"github.com/holdfast-iot/holdfast/build/powercut/promise"
)

// An Op is what an event did.
type Op uint8

const (
	Note     Op = iota // nothing to the disk: a fact about the queue
	Write              // Data at At
	Truncate           // to At bytes
	Sync               // all changes before event number Upto
	Create             // Name
	Rename             // Name to To
	Remove             // Name
)

// Folder is the number of the folder itself, which is synced as a file is.
const Folder = 0

// An Event is one thing that happened.
type Event struct {
	Time time.Duration // since the start of the recording
	Op   Op
	File int // a file's number for ever, whatever its name
	Name string
	To   string
	At   int64
	Data []byte
	Upto int
	Fact promise.Fact
}

// A Recording is one life of a queue: from the opening of its files to the end.
type Recording struct {
	Base   []File // what the disk held; the first has number 1
	Kept   []promise.Fact
	Events []Event

	ClientID string // whose queue it was opened as
	// Upset says that the base may be damaged, or of another client ID: Open may
	// put it away, and complain.
	Upset bool
}

// A File is a name and what is in it.
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

// Now is the latest moment at which a power cut comes before event n.
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
