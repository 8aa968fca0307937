package queue

import (
	"errors"
	"fmt"
	"os"
)

// inMemory are the folders in which a file takes no disk, first choice first.
var inMemory = [...]string{"/dev/shm", "/run", os.TempDir()}

// salvageInMemory carries over what is intact in a damaged file whose disk cannot
// be written, into a file in memory that has no name. It is put in the place of
// the damaged one when the disk can be written again.
func (st *store) salvageInMemory(damage, why error) (f *file, ends [2]seqs, err error) {
	s, err := scanDamaged(st.path)
	if err != nil {
		return nil, ends, err
	}
	if st.isOther(decodeOwner(s.owner)) {
		return nil, ends, why // it is not sent
	}
	part, err := nameless()
	if err != nil {
		return nil, ends, err
	}
	defer part.Close()
	f = &file{path: fmt.Sprint("/proc/self/fd/", part.Fd()), log: st.log}
	if err := f.open(); err != nil {
		return nil, ends, err
	}
	missing := s.declare(st.acked)
	event := st.newEvent(storageEvent{"storage", jsonObject("state", "read_only", "error", damage.Error(), "salvaged", s.readings(),
		"complete", s.complete(), "missing", missing)})
	err = errors.Join(f.prepare(), s.fill(f), f.putEvent(event), f.endWriting(why))
	f.path, f.salvagedFrom = st.path, damage
	if err != nil {
		return nil, ends, errors.Join(err, f.close())
	}
	st.log.Error("the queue is damaged and its disk cannot be written: what is intact is read from a copy in memory",
		"err", damage, "salvaged", s.readings(), "complete", s.complete(), "missing", missing)
	return f, s.ends, nil
}

// nameless makes a file in memory.
func nameless() (file *os.File, err error) {
	for _, dir := range inMemory {
		var failed error
		if file, failed = os.CreateTemp(dir, "holdfast-*"); failed == nil {
			return file, os.Remove(file.Name())
		}
		err = errors.Join(err, failed)
	}
	return nil, err
}
