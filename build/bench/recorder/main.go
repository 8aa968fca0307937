// Recorder measures holdfast-recorder through a real Mosquitto, compared with limits that
// it cannot exceed and with the subscriber of tutorials:
//
//	go run ./build/bench/recorder [-n 100000] [-rounds 5] [-dir FOLDER] [-postgres URL] [-telegraf FILE] [-year]
//
// Each round measures each line once, in turn, so that other load of the machine affects
// all of them; the table has the medians. Everything is on loopback and on one disk.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// A line is one row of the table.
type line struct {
	name string
	run  func(ctx context.Context, b *bench) (perSecond float64, err error)
	note string
}

// lines are the rows of the table, in its order and in that of a round.
var lines = []line{
	{"batch inserts, SQLite", ceiling, "5,000 rows a transaction into the same table, no broker"},
	{"broker", brokerCeiling, "Mosquitto to a subscriber that only acknowledges"},
	{"recorder, SQLite", recorder, "Mosquitto, holdfast-recorder, one row a reading"},
	{"batch inserts, PostgreSQL", ceiling, "the same with -postgres"},
	{"recorder, PostgreSQL", recorder, "the same with -postgres"},
	{"Telegraf, PostgreSQL", telegraf, "the recipe of docs/recipes with -telegraf; no limit in flight at its broker"},
	{"one row a callback", callback, "paho, an INSERT and a COMMIT in each callback; fewer messages"},
}

// A bench is one run. dir and server change for each measurement.
type bench struct {
	n        int    // readings
	dir      string // of this round and line
	binary   string // holdfast-recorder
	telegraf string // its binary; empty: it is not measured
	server   string // the URL of a PostgreSQL server; empty: SQLite
	peak     int    // maximum of the recorder's memory, in kB
}

func main() {
	n := flag.Int("n", 100_000, "`readings` of one measurement")
	rounds := flag.Int("rounds", 5, "how often each is measured")
	dir := flag.String("dir", "", "`folder` on the disk to measure; else a temporary one")
	long := flag.Bool("year", false, "measure queries and memory with a year of ten streams instead")
	server := flag.String("postgres", "", "`URL` of a PostgreSQL server where databases may be made, "+
		"such as postgres://recorder@127.0.0.1:5432/postgres")
	agent := flag.String("telegraf", "", "`file` of Telegraf, such as build/.cache/recipes/telegraf (build/recipes/fetch)")
	flag.Parse()
	// Ctrl-C also ends the programs that were started.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *n, *rounds, *dir, *server, *agent, *long); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures all lines in turn and prints the table. It leaves nothing behind except the
// databases on a PostgreSQL server.
func run(ctx context.Context, n, rounds int, dir, server, agent string, long bool) error {
	// On the disk to be measured: a tmpfs has no fsync to wait for.
	work, err := os.MkdirTemp(dir, "recorder-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	b := &bench{n: n, telegraf: agent, binary: filepath.Join(work, "holdfast-recorder")}
	// The program as it is released, in its own process.
	if err := build(ctx, b.binary); err != nil {
		return err
	}
	if long {
		b.dir = work
		return year(ctx, b)
	}
	got := map[string][]float64{}
	for round := range rounds {
		for i, l := range lines {
			b.server = ""
			if strings.HasSuffix(l.name, "PostgreSQL") {
				if b.server = server; server == "" || strings.HasPrefix(l.name, "Telegraf") && agent == "" {
					continue
				}
			}
			// Each measurement has new files, and the previous ones do not fill the disk.
			b.dir = filepath.Join(work, fmt.Sprintf("%d-%d", round, i))
			if err := os.Mkdir(b.dir, 0o700); err != nil {
				return err
			}
			rate, err := l.run(ctx, b)
			if err != nil {
				return fmt.Errorf("%s: %w", l.name, err)
			}
			got[l.name] = append(got[l.name], rate)
			os.RemoveAll(b.dir)
		}
	}
	fmt.Printf("| line | readings/s | lowest, highest | what |\n|---|---:|---:|---|\n")
	for _, l := range lines {
		// The median, with its range.
		r := slices.Sorted(slices.Values(got[l.name]))
		if len(r) == 0 {
			continue
		}
		fmt.Printf("| %s | %.0f | %.0f, %.0f | %s |\n", l.name, r[len(r)/2], r[0], r[len(r)-1], l.note)
	}
	fmt.Printf("\n%d readings, medians of %d rounds; the recorder's memory was %.1f MiB at most\n",
		n, rounds, float64(b.peak)/1024)
	return nil
}
