package nbd

import "time"

// A session is the disk until the next power cut. Offsets and lengths are whole sectors
// within the disk; the server has checked that.
type session struct {
	*Disk
	began int // the number of cuts at its start
}

// powered calls do under the lock, unless the power has been cut.
func (s *session) powered(do func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cuts != s.began {
		return errPowerCut
	}
	return do()
}

// read returns what the machine has written, durable or not.
func (s *session) read(b []byte, off int64) error {
	return s.powered(func() error {
		if _, err := s.file.ReadAt(b, off); err != nil {
			return err
		}
		for i := 0; i < len(b); i += sectorSize {
			if cached, ok := s.cache[(off+int64(i))/sectorSize]; ok {
				copy(b[i:], cached)
			}
		}
		return nil
	})
}

// write stores b; it is durable at once if forced is set.
func (s *session) write(b []byte, off int64, forced bool) error {
	return s.powered(func() error {
		s.writes++
		for i := 0; i < len(b); i += sectorSize {
			s.cache[(off+int64(i))/sectorSize] = b[i : i+sectorSize]
		}
		if forced {
			return s.settleLocked(off/sectorSize, int64(len(b))/sectorSize)
		}
		return nil
	})
}

// flush makes everything durable before it returns.
func (s *session) flush() error {
	time.Sleep(time.Duration(s.flushTakes.Load()))
	return s.powered(func() error {
		s.flushes++
		return s.settleLocked(0, s.size/sectorSize)
	})
}

// settleLocked makes n sectors durable, or returns an error.
func (s *session) settleLocked(first, n int64) error {
	if s.lies {
		return nil
	}
	for sector, b := range s.cache {
		if sector < first || sector >= first+n {
			continue
		}
		if _, err := s.file.WriteAt(b, sector*sectorSize); err != nil {
			return err
		}
		delete(s.cache, sector)
	}
	return nil
}
