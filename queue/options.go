package queue

import "time"

// Options say where the queue is and how much it may hold.
type Options struct {
	Path      string        // of the file; its folder is the state directory
	MaxSize   int64         // bytes of content on disk
	MaxAge    time.Duration // of a reading; 0: no bound
	SyncEvery time.Duration // the most routine history that a power cut can take
}
