package sensors

import "sync"

// Seqs are the last numbers that the streams of a start of the agent have given to their
// readings. Sensors, outputs and the alarm panel share them: a stream that another of these
// makes after a reload goes on, because two readings with one number are one reading for
// whoever stores them. It may be used from any goroutine.
type Seqs struct {
	mu   sync.Mutex
	last map[string]uint64 // by stream; a sensor that runs counts by itself
}

// NewSeqs returns the numbers of a start in which no stream has a reading.
func NewSeqs() *Seqs { return &Seqs{last: map[string]uint64{}} }

// Next returns the number of a stream's next reading: 1, 2, 3, ...
func (s *Seqs) Next(stream string) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last[stream]++
	return s.last[stream]
}

// get returns the last number of a stream, 0 if it has no reading.
func (s *Seqs) get(stream string) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last[stream]
}

// set notes the last number of a stream.
func (s *Seqs) set(stream string, seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last[stream] = seq
}
