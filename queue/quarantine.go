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
	keepQuarantined = 30 * 24 * time.Hour   // for a file that was salvaged completely
	quarantineTime  = "20060102T150405.000" // format of the time in names of files
)

// quarantine copies what is intact in a damaged file into a new file, and renames the
// damaged one. The damaged file keeps its name until the new file is complete.
//
// No child process is needed to protect the agent: package pages reads the file with
// pread instead of mapping it into memory, and checks all that it reads.
//
// The new file declares the losses with gaps and an event before it replaces the damaged
// one, so a restart or a power cut does not lose the declaration. ends are the last seqs
// in the new file, by lane.
func (st *store) quarantine(why error) (ends [2]seqs, err error) {
	s, err := scanDamaged(st.path)
	if err != nil {
		return ends, err
	}
	other := st.isOther(decodeOwner(s.owner)) // if so, moveOtherClient reports the file
	if other {
		st.acked = [2]seqs{}
	}
	// declare comes before fill, because fill writes the gaps.
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

// replace makes a new file, renames the present one to kept and renames the new one to
// the queue's path. After a power cut between the two renames, finishRename does the
// second one.
func (st *store) replace(kept string, fill func(*file) error) error {
	if err := st.create(st.path+".salvaged", fill); err != nil {
		return err
	}
	if err := moveFile(st.path, kept); err != nil {
		return err
	}
	return moveFile(st.path+".salvaged", st.path)
}

// quarantinedName matches the end of a quarantined file's name: the time, and whether the
// file was salvaged completely.
var quarantinedName = regexp.MustCompile(`\.aside-(\d{8}T\d{6}\.\d{3})-(complete|partial)$`)

// A quarantinedFile is a damaged file, or the file of another client ID, that is kept
// beside the queue file.
type quarantinedFile struct {
	path     string
	since    time.Time
	complete bool // everything in it was salvaged
	other    bool // of another client ID
	size     int64
}

// rank orders the files for deletion, the lowest first. A file that was salvaged
// completely is a mere copy; a partial one may still be useful to a person; the backlog
// of another client ID exists nowhere else.
func (a quarantinedFile) rank() int {
	switch {
	case a.complete:
		return 0
	case !a.other:
		return 1
	}
	return 2
}

// quarantined returns the quarantined files in the order in which they may be deleted: by
// rank, and the oldest first within a rank.
func (st *store) quarantined() (all []quarantinedFile) {
	names, _ := filepath.Glob(globQuote(st.path) + ".aside-*")
	for _, name := range names {
		m := quarantinedName.FindStringSubmatch(name)
		info, err := os.Lstat(name)
		if m == nil || err != nil || !info.Mode().IsRegular() {
			continue // not ours
		}
		since, _ := time.Parse(quarantineTime, m[1]) // quarantinedName has checked it; impossible dates become zero
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

// deleteOldQuarantined deletes the files that were salvaged completely after
// keepQuarantined. While all of them together are larger than maxQuarantined, it also
// deletes by rank, but never the last one of that order.
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
			st.log.Warn("a quarantined file could not be deleted", "err", err)
			continue
		}
		total -= a.size
		st.log.Warn("a quarantined file was deleted", "file", a.path, "bytes", a.size)
		made = append(made, storageEvent{"quarantine", jsonObject("file", a.path, "deleted", true)})
	}
	return made
}

// globQuote escapes the characters that are special to filepath.Glob, because the path
// comes from the configuration and may contain brackets.
func globQuote(path string) string {
	return strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`, `\`, `\\`).Replace(path)
}
