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

// moveOtherClient moves the file away that holds the backlog of another client ID, and
// puts a new one in its place that tells of it. If nothing waits in it, it
// becomes ours with the next commit.
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

// isOther reports whether a client ID is known and not ours. Where one of the two is
// not known the file counts as ours: nothing is held back without a reason.
func (st *store) isOther(id string) bool { return id != "" && st.clientID != "" && id != st.clientID }

// Owner reads the client ID whose readings a file holds, "" in a file of an
// older agent.
func Owner(path string) (clientID string, err error) {
	clientID, _, err = readOwner(path)
	return clientID, err
}

// readOwner reads from a sound file whose it is, and whether anything waits in it.
// What it cannot decode counts as waiting: nothing is thrown away unseen.
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
	waits = len(c.Gaps) > 0
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

// otherName is the end of the name of another client ID's file: whose, and since
// when.
var otherName = regexp.MustCompile(`\.of-([A-Za-z0-9_-]+)-(\d{8}T\d{6}\.\d{3})$`)

// An Other is a file with the backlog of another client ID.
type Other struct {
	ClientID string
	Path     string
	Since    time.Time // when it was moved aside
}

// Others are the files with the backlogs of other client IDs that were moved
// aside from a path, the oldest first.
func Others(path string) (all []Other) {
	for _, base := range [...]string{path, path + ".holdfast"} { // see useOtherPath
		names, _ := filepath.Glob(globQuote(base) + ".of-*") // the pattern is good
		for _, name := range names {
			m := otherName.FindStringSubmatch(name)
			if m == nil || len(name) != len(base)+len(m[0]) || !sensors.IsName(m[1]) {
				continue // not ours
			}
			since, _ := time.Parse(quarantineTime, m[2]) // the pattern is stricter
			all = append(all, Other{m[1], name, since})
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Since.Before(all[j].Since) })
	return all
}

// warnOtherClients says at each start which backlogs lie there that nobody sends.
func (st *store) warnOtherClients() {
	for _, o := range Others(st.path) {
		st.log.Warn("a backlog of another client ID lies beside the queue: "+
			"holdfast queue adopt sends it under this one, or delete the file", "client_id", o.ClientID, "file", o.Path)
	}
}

// laneOrder is the order in which lanes are read: alarms first.
var laneOrder = [...]sensors.Priority{sensors.Alarm, sensors.Routine}
