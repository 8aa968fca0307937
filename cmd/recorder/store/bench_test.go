package store

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
)

// BenchmarkCommit decodes and commits batches of 5,000 readings of 100 streams.
func BenchmarkCommit(b *testing.B) {
	s, err := Open(context.Background(), Options{Database: "sqlite:" + filepath.Join(b.TempDir(), "h.db"),
		Unknown: "accept"})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	const size = 5000
	next := 0
	for b.Loop() {
		batch := make([]Item, 0, size)
		for range size {
			topic := fmt.Sprintf("agent-%d/s%d", next%20, next/20%5)
			text := fmt.Sprintf(`{"ts":%d,"boot":"17-9f3c02ab","seq":%d,"value":%d.25,"unit":"%%"}`,
				start+int64(next), next/100+1, next%50)
			batch = append(batch, got(start+int64(next), topic, text))
			next++
		}
		commitAll(b, s, batch...)
	}
	b.ReportMetric(float64(next)/b.Elapsed().Seconds(), "readings/s")
}
