package disk

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

// recording has two pages of file 1, the first synced, and a new file that replaces it.
func recording() *Recording {
	return &Recording{
		Base: []File{{"db", make([]byte, 1024)}},
		Events: []Event{
			{Op: Write, File: 1, Data: bytes.Repeat([]byte("a"), 1024)},
			{Op: Sync, File: 1, Upto: 1},
			{Op: Write, File: 1, At: 1024, Data: bytes.Repeat([]byte("b"), 1024)},
			{Op: Create, File: 2, Name: "db.new"},
			{Op: Write, File: 2, Data: []byte("new")},
			{Op: Sync, File: 2, Upto: 5},
			{Op: Rename, File: 2, Name: "db.new", To: "db"},
			{Op: Sync, File: Folder, Upto: 7},
		},
	}
}

func tear(t *testing.T, n int, lies bool, each func(files map[string]string)) {
	t.Helper()
	s := Before(recording(), n, lies)
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		files := map[string]string{}
		for _, f := range s.Torn(random) {
			files[f.Name] = string(f.Data)
		}
		each(files)
	}
}

func TestSyncedBytesSurvive(t *testing.T) {
	seen := map[string]bool{}
	tear(t, 3, false, func(files map[string]string) {
		if got := files["db"]; got[:1024] != string(bytes.Repeat([]byte("a"), 1024)) {
			t.Fatalf("a synced page is lost: %q", got[:1024])
		}
		seen[files["db"][1024:]] = true
	})
	// Nothing, zeros of either length, one of the two sectors, and both.
	if len(seen) < 5 {
		t.Errorf("only %d ways to tear a write of two sectors", len(seen))
	}
}

func TestUnsyncedBytesMayBeLost(t *testing.T) {
	for _, c := range []struct {
		name string
		n    int
		lies bool
	}{{"before the sync", 1, false}, {"a disk that lies", 2, true}} {
		lost := false
		tear(t, c.n, c.lies, func(files map[string]string) { lost = lost || files["db"][0] == 0 })
		if !lost {
			t.Errorf("%s: the write never fails", c.name)
		}
	}
}

func TestNamesMoveInOrder(t *testing.T) {
	seen := map[string]bool{}
	tear(t, 7, false, func(files map[string]string) {
		switch text, there := files["db.new"]; {
		case files["db"] == "new" && !there:
			seen["renamed"] = true
		case there && text == "new":
			seen["created"] = true
		case !there:
			seen["not yet"] = true
		default:
			t.Fatalf("db.new holds %q", text)
		}
	})
	if len(seen) != 3 {
		t.Errorf("seen only %v", seen)
	}
	r := recording() // without a journal only the first of two renames may be lost
	r.Events = slices.Insert(r.Events, 7, Event{Op: Create, File: 3, Name: "marker"},
		Event{Op: Remove, File: 3, Name: "marker"})
	s := Before(r, 9, false)
	random, alone := rand.New(rand.NewPCG(1, 2)), false
	for range 2000 {
		files := map[string]bool{}
		for _, f := range s.Torn(random) {
			files[f.Name] = true
		}
		alone = alone || files["marker"] && !files["db.new"] && len(files) == 2
	}
	if !alone {
		t.Error("a later move never outlives an earlier one")
	}
	tear(t, 8, false, func(files map[string]string) {
		if files["db"] != "new" || len(files) != 1 {
			t.Fatalf("after the sync of the folder: %d files, db is %q", len(files), files["db"])
		}
	})
}
