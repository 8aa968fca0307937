package queue

import (
	"cmp"
	"fmt"
	"path/filepath"
	"regexp"
	"sort"
	"time"

	"github.com/holdfast-iot/holdfast/queue/pages"
	"github.com/holdfast-iot/holdfast/sensors"
)

// moveOtherClient renames the file if it holds the backlog of another client ID, and
// makes a new one with an event about that. A file in which nothing waits is kept: the
// next commit stores our client ID in it.
func (st *store) moveOtherClient() error {
	owner, waits, err := readOwner(st.path)
	if err != nil || !st.isOther(owner) {
		return err
	}
	if !waits {
		st.log.Info("the queue of another client ID is empty: it is used", "client_id", st.clientID, "was", owner)
		return nil
	}
	kept := fmt.Sprintf("%s.of-%s-%s", st.path, owner, st.now.UTC().Format(quarantineTime))
	event := st.newEvent(storageEvent{"storage", jsonObject("state", "other_client", "client_id", owner, "file", kept)})
	if err := st.replace(kept, func(f *file) error { return f.putEvent(event) }); err != nil {
		return fmt.Errorf("move the backlog of client ID %s aside: %w", owner, err)
	}
	st.log.Error("the queue held the backlog of another client ID: it is kept aside, and not sent",
		"client_id", st.clientID, "was", owner, "file", kept)
	return nil
}

// isOther reports whether a client ID is known and is not ours. If either of the two is
// unknown the file counts as ours, so that its readings are sent.
func (st *store) isOther(id string) bool { return id != "" && st.clientID != "" && id != st.clientID }

// Owner returns the client ID in whose name the readings of a file are sent, or "" for a
// file of an older agent, which does not store it.
func Owner(path string) (clientID string, err error) {
	clientID, _, err = readOwner(path)
	return clientID, err
}

// readOwner reads the client ID from a file with an intact structure, and whether
// anything waits in it: items, gaps or rejected items. A value that cannot be decoded
// counts as waiting, so that nothing is deleted unread.
func readOwner(path string) (owner string, waits bool, err error) {
	file, size, err := openSized(path)
	if err != nil {
		return "", false, err
	}
	defer file.Close()
	p, err := pages.Open(file, size)
	if err != nil {
		return "", false, err
	}
	var c Contents
	s := snapshot{file: p}
	cursors, err := s.meta(&c)
	waits = len(c.Gaps)+c.Damaged > 0
	for p, from := range cursors {
		err = cmp.Or(err, s.file.Each(string(bucketLanes[p]), key(from), func(_, _ []byte) (bool, error) {
			waits = true
			return false, nil
		}), s.file.Each(string(bucketTails[p]), nil, func(_, value []byte) (bool, error) {
			r, err := decode(value)
			waits = waits || err != nil || r.last() >= from
			return true, nil
		}))
	}
	err = cmp.Or(err, s.file.Each(string(bucketRejects), nil, func(_, _ []byte) (bool, error) {
		waits = true
		return false, nil
	}))
	return c.ClientID, waits, err
}

// otherName matches the end of the name of another client ID's file: the client ID and
// the time at which the file was moved.
var otherName = regexp.MustCompile(`\.of-([A-Za-z0-9_-]+)-(\d{8}T\d{6}\.\d{3})$`)

// An Other is a file with the backlog of another client ID.
type Other struct {
	ClientID string
	Path     string
	Since    time.Time // when it was moved aside
}

// Others returns the files with the backlogs of other client IDs that were moved aside
// from the queue file at a path, the oldest first.
func Others(path string) (all []Other) {
	for _, base := range [...]string{path, path + ".holdfast"} { // see useOtherPath
		names, _ := filepath.Glob(globQuote(base) + ".of-*") // fails only for a malformed pattern
		for _, name := range names {
			m := otherName.FindStringSubmatch(name)
			if m == nil || len(name) != len(base)+len(m[0]) || !sensors.IsName(m[1]) {
				continue // not ours
			}
			since, _ := time.Parse(quarantineTime, m[2]) // otherName has checked it; impossible dates become zero
			all = append(all, Other{m[1], name, since})
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Since.Before(all[j].Since) })
	return all
}

// warnOtherClients logs at each start which backlogs of other client IDs are kept and
// are not sent.
func (st *store) warnOtherClients() {
	for _, o := range Others(st.path) {
		st.log.Warn("a backlog of another client ID lies beside the queue: "+
			"holdfast queue adopt sends it under this one, or delete the file", "client_id", o.ClientID, "file", o.Path)
	}
}

// laneOrder is the order in which lanes are read: alarms first.
var laneOrder = [...]sensors.Priority{sensors.Alarm, sensors.Routine}
