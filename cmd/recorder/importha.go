package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/recorder/homeassistant"
	"github.com/holdfast-iot/holdfast/cmd/recorder/store"
)

// importHA writes the hours of late readings into the statistics of Home Assistant. It may be
// interrupted and repeated: writing an hour again gives the same result.
func importHA(ctx context.Context, args []string) error {
	l := flags("import-ha")
	address := l.String("url", "", "`address` of Home Assistant, such as http://homeassistant.local:8123")
	tokenFile := l.String("token_file", "", "`file` with a long-lived access token of an administrator")
	from := l.String("from", "30d", "`time` of the first reading: RFC 3339, a date, or an age such as 30d")
	dry := l.Bool("dry", false, "say what would be written")
	rest, err := l.parse(args, 0, 1)
	if err != nil {
		return err
	}
	if *address == "" || *tokenFile == "" {
		return usageError{fmt.Errorf("%s needs -url ADDRESS and -token_file FILE", l.Name())}
	}
	r := store.Range{To: time.Now().UnixMilli()}
	if err := parseTimes(&r, *from, ""); err != nil {
		return err
	}
	r.Device, r.Stream, _ = strings.Cut(first(rest), "/")
	token, err := os.ReadFile(*tokenFile)
	if err != nil {
		return usageError{fmt.Errorf("%w: write the token into it", err)}
	}
	s, err := l.open(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	i := homeassistant.Importer{URL: *address, Token: strings.TrimSpace(string(token)), Store: s, Range: r, DryRun: *dry}
	all, err := i.Run(ctx, time.Now())
	// Print what was written before an error, too.
	printed := table("STREAM\tENTITY\tHOURS\tWHY NOT", func(w *tabwriter.Writer) {
		for _, o := range all {
			fmt.Fprintf(w, "%s/%s\t%s\t%d\t%s\n", o.Device, o.Stream, dash(o.Entity), o.Hours, dash(o.Skipped))
		}
	})
	if err != nil {
		return err
	}
	return printed
}
