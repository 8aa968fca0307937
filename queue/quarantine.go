package queue

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"time"
)

const (
	keepQuarantined = 30 * 24 * time.Hour // a file that was salvaged completely
	quarantineTime  = "20060102T150405.000"
)

// quarantine carries over what is intact in a damaged file into a new one, and
// moves the damaged one aside. Until that is done, the file stays where it is.
//
// It runs in this process: the file is read with pread by code that trusts
// nothing in it (package pages), so there is nothing that a child process would
// have to die of.
//
// What is lost is declared in the new file, by gaps and an event, before that
// takes the place of the damaged one: no restart and no power cut loses it.
// ends are the last readings in the new file.
func (st *store) quarantine(why error) (ends [2]seqs, err error) {
	s, err := scanDamaged(st.path)
	if err != nil {
		return ends, err
	}
	other := st.isOther(decodeOwner(s.owner)) // then moveOtherClient reports the file
	if other {
		st.acked = [2]seqs{}
	}
	// Before the new file is filled: the gaps are a part of it.
	missing := s.declare(st.acked)
	aside := fmt.Sprintf("%s.aside-%s-%s", st.path, st.now.UTC().Format(quarantineTime), s.outcome())
	err = st.replace(aside, func(f *file) error {
		if err := s.fill(f); err != nil || other {
			return err
		}
		return f.putEvent(st.newEvent(storageEvent{"quarantine", jsonObject("file", aside, "why", why.Error(),
			"salvaged", s.readings(), "complete", s.complete(), "missing", missing)}))
	})
	if err != nil {
		return ends, fmt.Errorf("salvage %s: %w", st.path, err)
	}
	st.log.Error("the queue was damaged: what is intact was carried over, the file is kept aside",
		"err", why, "aside", aside, "salvaged", s.readings(), "complete", s.complete(), "missing", missing)
	if other {
		return ends, nil
	}
	return s.ends, nil
}

// replace makes a new file and puts it in the place of the present one, which
// gets the name kept. A power cut between the two renames leaves the new one
// under a name that finishRename knows.
func (st *store) replace(kept string, fill func(*file) error) error {
	if err := st.create(st.path+".salvaged", fill); err != nil {
		return err
	}
	if err := moveFile(st.path, kept); err != nil {
		return err
	}
	return moveFile(st.path+".salvaged", st.path)
}

// quarantinedName is the end of the name of a quarantined file: when, and what came out.
var quarantinedName = regexp.MustCompile(`\.aside-(\d{8}T\d{6}\.\d{3})-(complete|partial)$`)

// A quarantinedFile is a file that is kept: a damaged one, or that of another client ID.
type quarantinedFile struct {
	path     string
	since    time.Time
	complete bool // everything in it was carried over
	other    bool // of another client ID
	size     int64
}

// rank says what goes first when there is too much. A file that was carried over
// completely is a copy; a partial one may be of use to a person; the backlog of
// another client ID is data that nobody has elsewhere.
func (a quarantinedFile) rank() int {
	switch {
	case a.complete:
		return 0
	case !a.other:
		return 1
	}
	return 2
}

// quarantined are the quarantined files, the first to go first: complete ones, then partial
// ones, then those of other client IDs; the oldest of each.
func (st *store) quarantined() (all []quarantinedFile) {
	names, _ := filepath.Glob(globQuote(st.path) + ".aside-*")
	for _, name := range names {
		m := quarantinedName.FindStringSubmatch(name)
		info, err := os.Lstat(name)
		if m == nil || err != nil || !info.Mode().IsRegular() {
			continue // not ours
		}
		since, _ := time.Parse(quarantineTime, m[1]) // the pattern is stricter
		all = append(all, quarantinedFile{path: name, since: since, complete: m[2] == "complete", size: info.Size()})
	}
	for _, o := range Others(st.path) {
		if info, err := os.Lstat(o.Path); err == nil && info.Mode().IsRegular() {
			all = append(all, quarantinedFile{path: o.Path, since: o.Since, other: true, size: info.Size()})
		}
	}
	sort.Slice(all, func(i, j int) bool {
		a, b := &all[i], &all[j]
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), a.since.Compare(b.since)) < 0
	})
	return all
}

// deleteOldQuarantined deletes quarantined files that are not wanted any more: those that were
// salvaged completely, thirty days later; and while they take more room together
// than a full queue, the first to go, but never the youngest.
func (st *store) deleteOldQuarantined() (made []storageEvent) {
	all := st.quarantined()
	total := int64(0)
	for _, a := range all {
		total += a.size
	}
	for i, a := range all {
		old := a.complete && st.now.Sub(a.since) > keepQuarantined
		if !old && (total <= st.maxQuarantined || i == len(all)-1) {
			continue
		}
		if err := os.Remove(a.path); err != nil {
			st.log.Warn("a file aside stays", "err", err)
			continue
		}
		total -= a.size
		st.log.Warn("a file aside was deleted", "file", a.path, "bytes", a.size)
		made = append(made, storageEvent{"quarantine", jsonObject("file", a.path, "deleted", true)})
	}
	return made
}

// globQuote quotes what filepath.Glob would take for more than a letter: the path is
// the person's, and may have brackets.
func globQuote(path string) string {
	return strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`, `\`, `\\`).Replace(path)
}
