package disk

import "slices"

// A State is the synced and the unsynced part of a disk at one moment.
type State struct {
	names map[string]int // synced
	moves []change       // of names, not synced
	files map[int]*file
	lies  bool
}

type file struct {
	data    []byte // synced
	changes []change
}

// A change is an event that is not synced, and its number.
type change struct {
	number int
	Event
}

// Before returns the state of the disk before event n of a recording. A lying disk reports
// a sync that it has not done.
func Before(r *Recording, n int, lies bool) *State {
	s := &State{names: map[string]int{}, files: map[int]*file{}, lies: lies}
	for i, f := range r.Base {
		s.names[f.Name] = i + 1
		s.files[i+1] = &file{data: slices.Clone(f.Data)}
	}
	for i, e := range r.Events[:n] {
		s.apply(change{i, e})
	}
	return s
}

func (s *State) apply(c change) {
	switch c.Op {
	case Write, Truncate:
		f := s.files[c.File]
		f.changes = append(f.changes, c)
	case Create:
		s.files[c.File] = &file{}
		s.moves = append(s.moves, c)
	case Rename, Remove:
		s.moves = append(s.moves, c)
	case Sync:
		if !s.lies {
			s.sync(c.File, c.Upto)
		}
	}
}

// sync makes durable what was changed before event number upto.
func (s *State) sync(number, upto int) {
	if number == Folder {
		n := covered(s.moves, upto)
		for _, c := range s.moves[:n] {
			move(s.names, c)
		}
		s.moves = s.moves[n:]
		return
	}
	f := s.files[number]
	n := covered(f.changes, upto)
	for _, c := range f.changes[:n] {
		f.data = whole(f.data, c)
	}
	f.changes = f.changes[n:]
}

func covered(changes []change, upto int) int {
	n := slices.IndexFunc(changes, func(c change) bool { return c.number >= upto })
	if n < 0 {
		return len(changes)
	}
	return n
}

func move(names map[string]int, c change) {
	switch c.Op {
	case Create:
		names[c.Name] = c.File
	case Rename:
		names[c.To] = c.File
		leave(names, c)
	case Remove:
		leave(names, c)
	}
}

// leave removes a file's name, unless it belongs to another file now: a disk may have kept
// this rename and not the one before.
func leave(names map[string]int, c change) {
	if names[c.Name] == c.File {
		delete(names, c.Name)
	}
}

// whole applies all of a change.
func whole(data []byte, c change) []byte {
	if c.Op == Truncate {
		return sized(data, int(c.At))
	}
	return put(data, c.At, c.Data)
}

func put(data []byte, at int64, piece []byte) []byte {
	if end := int(at) + len(piece); end > len(data) {
		data = sized(data, end)
	}
	copy(data[at:], piece)
	return data
}

// sized truncates data, or extends it with zeros.
func sized(data []byte, size int) []byte {
	if size <= len(data) {
		return data[:size:size]
	}
	return append(data, make([]byte, size-len(data))...)
}
