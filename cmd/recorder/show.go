package main

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/recorder/message"
	"github.com/holdfast-iot/holdfast/cmd/recorder/store"
)

// formatTime formats Unix milliseconds as RFC 3339 in UTC, to the second.
func formatTime(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }

// optionalTime formats a time that may be unknown.
func optionalTime(ms sql.NullInt64) string {
	if !ms.Valid {
		return "-"
	}
	return formatTime(ms.Int64)
}

// dash returns "-" for an empty column.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// table prints columns under a heading. lines writes one line for each row, with tabs
// between the columns. The heading is printed even if there are no rows, so that the user
// sees that the command has worked.
func table(heading string, lines func(w *tabwriter.Writer)) error {
	// Two spaces between columns: awk -F'  +' can split them.
	w := tabwriter.NewWriter(stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, heading)
	lines(w)
	return w.Flush()
}

// devices lists the fleet, or registers devices, which the recorder then accepts with
// its next batch.
func devices(ctx context.Context, args []string) error {
	l := flags("devices")
	rest, err := l.parse(args, 0, -1)
	switch {
	case err != nil:
		return err
	case len(rest) > 0 && rest[0] != "add", len(rest) == 1:
		return usageError{fmt.Errorf("%s takes no argument %q: want add and names", l.Name(), rest[0])}
	}
	// The first argument is "add", so the others are names.
	if len(rest) > 0 {
		return addDevices(ctx, l, rest[1:])
	}
	s, err := l.open(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	fleet, err := s.Fleet(ctx)
	if err != nil {
		return err
	}
	heading := "DEVICE\tSTATUS\tSINCE\tLAST READING\tSTREAMS\tMISSING\tBACKLOG\tCLOCK\tVERSION"
	return table(heading, func(w *tabwriter.Writer) {
		for _, d := range fleet {
			// A dash means that the device has not reported the value.
			status, backlog := "-", "-"
			if d.Online.Valid {
				status = map[bool]string{true: "online", false: "offline"}[d.Online.Bool]
			}
			if d.Backlog.Valid {
				backlog = fmt.Sprint(d.Backlog.Int64)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\n", d.Name, status, optionalTime(d.OnlineSince),
				optionalTime(d.LastAt), d.Streams, d.Missing, backlog, dash(d.Clock), dash(d.Version))
		}
	})
}

// addDevices registers devices. It creates the database if it does not exist, so that devices
// can be registered before the first start of the recorder.
func addDevices(ctx context.Context, l line, names []string) error {
	for _, name := range names {
		problem := message.NameProblem(name)
		if strings.Contains(name, "/") {
			problem = "has a / in its name, which no level of a topic can have"
		}
		if problem != "" {
			return usageError{fmt.Errorf("device %q %s: write its client_id", name, problem)}
		}
	}
	cfg, err := l.load(ctx)
	if err != nil {
		return err
	}
	// Open, not OpenExisting: it creates the file and its tables.
	s, err := store.Open(ctx, storeOptions(cfg))
	if err != nil {
		return err
	}
	defer s.Close()
	added, err := s.Register(ctx, names, time.Now())
	if err == nil {
		fmt.Fprintf(stdout, "%d added, %d were there\n", added, int64(len(names))-added)
	}
	return err
}

// first returns the first argument, or "" if there is none.
func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

// gaps lists the gaps of one device or all: those that are open, those that were
// filled late, and those that an agent has declared.
func gaps(ctx context.Context, args []string) error {
	l := flags("gaps")
	rest, err := l.parse(args, 0, 1)
	if err != nil {
		return err
	}
	s, err := l.open(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	// An empty name selects all devices.
	all, err := s.Gaps(ctx, first(rest))
	if err != nil {
		return err
	}
	return printGaps(all)
}

// printGaps prints gaps as a table, in the order in which they are given.
func printGaps(all []store.Gap) error {
	return table("STREAM\tBOOT\tFROM\tTO\tCOUNT\tSTATE\tWHY\tNOTICED", func(w *tabwriter.Writer) {
		for _, g := range all {
			fmt.Fprintf(w, "%s/%s\t%s\t%d\t%d\t%d\t%s\t%s\t%s\n", g.Device, g.Stream, g.Boot, g.From, g.To, g.Count,
				g.State, dash(g.Why), formatTime(g.NoticedAt))
		}
	})
}

// causeText explains the causes that verify finds.
var causeText = map[string]string{
	store.LostBySession: "the broker had no session for the recorder when these were published",
	store.LostByBroker:  "the connection was lost meanwhile: the broker may have been killed before it saved its queue",
	store.LostByQueue: "the recorder was away meanwhile: the broker's queue for it was full, or the broker was " +
		"killed, too",
}

// verify says whether every hole of a device is explained. If one is not, it returns
// errPrinted: the exit status is 1.
func verify(ctx context.Context, args []string) error {
	l := flags("verify")
	rest, err := l.parse(args, 1, 1)
	if err != nil {
		return err
	}
	s, err := l.open(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	v, err := s.Verify(ctx, rest[0])
	if err != nil {
		return err
	}
	// Print a sum for each cause, and a list of the unexplained gaps only.
	sums := map[string]int64{}
	var open []store.Gap
	for _, g := range v.Gaps {
		sums[g.Why] += g.Count
		if g.Why == store.Unexplained {
			open = append(open, g)
		}
	}
	fmt.Fprintf(stdout, "%s: %d readings, %d of them missing once and filled later\n", rest[0], v.Readings, v.Filled)
	fmt.Fprintf(stdout, "declared lost by the agent: %d\n", v.Declared)
	for _, why := range []string{store.LostBySession, store.LostByBroker, store.LostByQueue} {
		if sums[why] > 0 {
			fmt.Fprintf(stdout, "lost by the broker (%s): %d: %s\n", why, sums[why], causeText[why])
		}
	}
	printDrops(sums[store.LostByDrop], v.Drops)
	// An unclean start is not a gap, but limits what is proven.
	if v.UncleanStarts > 0 {
		fmt.Fprintf(stdout, "unclean starts of the agent: %d: the end of the boot before each cannot be proven\n",
			v.UncleanStarts)
	}
	if len(open) == 0 {
		fmt.Fprintln(stdout, "every hole is explained")
		return nil
	}
	fmt.Fprintf(stdout, "not explained: %d\n", v.Unexplained)
	if err := printGaps(open); err != nil {
		return err
	}
	// The readings around such a gap came over one connection, from a broker that was running:
	// only its full queue can have lost the readings between them.
	if slices.ContainsFunc(open, func(g store.Gap) bool { return g.BeforeAt.Valid }) {
		fmt.Fprintln(stdout, queueHint)
	}
	return errPrinted
}

// printDrops prints how many readings are explained by messages that the broker dropped, and
// when it dropped them.
func printDrops(lost int64, periods []store.DropPeriod) {
	if lost == 0 {
		return
	}
	fmt.Fprintf(stdout, "lost by the broker (%s): %d: it dropped messages of full queues meanwhile: "+
		"raise max_queued_messages, or set the agents' drain.rate\n", store.LostByDrop, lost)
	for _, p := range periods {
		fmt.Fprintf(stdout, "  the broker's count, which is of all its clients: %d between %s and %s\n", p.Count,
			formatTime(p.Since), formatTime(p.At))
	}
}

// queueHint says what to check if neither a connection nor the agent explains a gap.
const queueHint = "hint: a broker drops messages, and acknowledges them, while its queue for a slow recorder is " +
	"full: raise its limit (Mosquitto: max_queued_messages, 1000 by default) or set the agents' drain.rate; " +
	"see docs/recorder.md#a-full-queue"
