package work

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/holdfast-iot/holdfast/sensors"
)

// A store stores readings until they are acknowledged.
type store interface {
	// put adds a reading. An alarm is on disk when it returns.
	put(sensors.Reading) error
	// take reads and acknowledges the oldest readings, at most limit of them.
	take(ctx context.Context, limit int) (int, error)
	backlog() int
	commits() int
	close() error
}

func open(ctx context.Context, j Job) (store, error) {
	path := filepath.Join(j.Dir, file)
	switch j.Store {
	case "ours":
		return openOurs(ctx, path, syncEvery)
	case "naive":
		return openNaive(path, j.Backlog)
	case "ring":
		return openRing(path, j.Backlog)
	}
	return nil, fmt.Errorf("no store is called %q", j.Store)
}
