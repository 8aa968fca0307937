package main

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/recorder/store"
)

// export prints readings to standard output, ordered by stream and time: of one device, one
// stream, or all. In CSV an empty field is NULL, and the first line has the names of the
// columns. It holds one row in memory.
func export(ctx context.Context, args []string) error {
	l := flags("export")
	format := l.String("format", "csv", "csv or jsonl")
	from := l.String("from", "", "first `time`: RFC 3339, a date, or a duration before now such as 24h")
	to := l.String("to", "", "`time` of the first reading that is not wanted, in the same forms")
	rest, err := l.parse(args, 0, 1)
	if err != nil {
		return err
	}
	// Everything, unless flags restrict it.
	r := store.Range{From: 0, To: math.MaxInt64}
	if err := parseTimes(&r, *from, *to); err != nil {
		return err
	}
	// Neither name can contain a slash: it separates the levels of a topic.
	r.Device, r.Stream, _ = strings.Cut(first(rest), "/")
	if *format != "csv" && *format != "jsonl" {
		return usageError{fmt.Errorf("-format %q is not known: want csv or jsonl", *format)}
	}
	s, err := l.open(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	// Buffered: a year may have millions of rows.
	out := bufio.NewWriter(stdout)
	write, flush := writeJSON(out), out.Flush
	if *format == "csv" {
		write, flush = writeCSV(out)
	}
	// Flush after an error, too: the user sees how far the export got.
	return errors.Join(s.Readings(ctx, r, write), flush())
}

// writeCSV returns a function that writes a reading as a line of CSV, and one that must be
// called at the end. The first line has the names of the columns.
func writeCSV(out *bufio.Writer) (write func(store.Row) error, flush func() error) {
	// An error of this first Write is returned by the next one, too.
	c := csv.NewWriter(out)
	c.Write(strings.Split("device,stream,boot,seq,ts,received_at,value,state,unit,error,clock,historical", ","))
	flush = func() error {
		c.Flush()
		return errors.Join(c.Error(), out.Flush())
	}
	return func(r store.Row) error { return c.Write(record(r)) }, flush
}

// parseTimes fills the times of a range from flags. An empty text is a flag that was
// not given, and leaves its end open.
func parseTimes(r *store.Range, from, to string) error {
	for _, end := range []struct {
		text string
		into *int64
	}{{from, &r.From}, {to, &r.To}} {
		if end.text == "" {
			continue
		}
		when, err := parseTime(end.text)
		if err != nil {
			return err
		}
		*end.into = when.UnixMilli()
	}
	return nil
}

// parseTime reads RFC 3339, a date in UTC, or a duration before now.
func parseTime(text string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t, nil
	}
	if d, err := parseAge(text); err == nil {
		return time.Now().Add(-d), nil
	}
	return time.Time{}, usageError{fmt.Errorf(
		"%q is not a time: want 2026-11-30T12:00:00Z, 2026-11-30, or a duration before now such as 24h or 90d", text)}
}

// parseAge reads a duration, which may be in days.
func parseAge(text string) (time.Duration, error) {
	// time.ParseDuration has no days, because of daylight saving time; here a day is 24 hours.
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err
	}
	d, err := time.ParseDuration(text)
	if err == nil && d < 0 {
		err = fmt.Errorf("%q is negative", text)
	}
	return d, err
}

// record returns the fields of a reading for CSV.
func record(r store.Row) []string {
	number := func(n sql.NullInt64) string {
		if !n.Valid {
			return ""
		}
		return strconv.FormatInt(n.Int64, 10)
	}
	// The shortest form that parses to the same number.
	value := ""
	if r.Value.Valid {
		value = strconv.FormatFloat(r.Value.Float64, 'g', -1, 64)
	}
	return []string{r.Device, r.Stream, r.Boot.String, number(r.Seq), strconv.FormatInt(r.TS, 10),
		strconv.FormatInt(r.ReceivedAt, 10), value, r.State.String, r.Unit.String, r.Error.String, r.Clock.String,
		strconv.FormatBool(r.Historical)}
}

// writeJSON returns a function that writes a reading as a line of JSON: the names and the
// members of the payload, in the format of `holdfast queue export`.
func writeJSON(out *bufio.Writer) func(store.Row) error {
	// This is not HTML: write < and & unescaped.
	to := json.NewEncoder(out)
	to.SetEscapeHTML(false)
	return func(r store.Row) error {
		var value *float64
		if r.Value.Valid {
			value = &r.Value.Float64
		}
		return to.Encode(struct {
			Device     string   `json:"client_id"`
			Stream     string   `json:"stream"`
			TS         int64    `json:"ts"`
			Received   int64    `json:"received_at"`
			Boot       string   `json:"boot,omitempty"`
			Seq        int64    `json:"seq,omitempty"`
			Value      *float64 `json:"value"`
			State      string   `json:"state,omitempty"`
			Unit       string   `json:"unit,omitempty"`
			Historical bool     `json:"historical,omitempty"`
			Clock      string   `json:"clock,omitempty"`
			Error      string   `json:"error,omitempty"`
		}{r.Device, r.Stream, r.TS, r.ReceivedAt, r.Boot.String, r.Seq.Int64, value, r.State.String, r.Unit.String,
			r.Historical, r.Clock.String, r.Error.String})
	}
}

// retain deletes old readings and hours. A systemd timer or cron should run it once a day. It
// may be interrupted: the next run deletes the rest.
func retain(ctx context.Context, args []string) error {
	l := flags("retain")
	readings := l.String("readings", "", "delete readings that are older than this `age`, such as 90d; "+
		"their hours and days stay")
	hours := l.String("hours", "", "delete hours that are older than this `age`; their days stay")
	if _, err := l.parse(args, 0, 0); err != nil {
		return err
	}
	if *readings == "" && *hours == "" {
		return usageError{fmt.Errorf("%s needs -readings AGE or -hours AGE, such as -readings 90d", l.Name())}
	}
	// Parse both ages before anything is deleted.
	var before [2]time.Time
	for i, text := range []string{*readings, *hours} {
		if text == "" {
			continue
		}
		age, err := parseAge(text)
		if err != nil {
			return usageError{fmt.Errorf("%q is not an age: want 90d or 2160h", text)}
		}
		before[i] = time.Now().Add(-age)
	}
	s, err := l.open(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	// Print what was deleted before an error, too.
	done, err := s.Retain(ctx, before[0], before[1])
	fmt.Fprintf(stdout, "deleted: %d readings, %d hours\n", done.Readings, done.Hours)
	return err
}

// backup copies the database into a new file.
func backup(ctx context.Context, args []string) error {
	l := flags("backup")
	rest, err := l.parse(args, 1, 1)
	if err != nil {
		return err
	}
	s, err := l.open(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	// The recorder can keep running: a backup reads a consistent state.
	return s.Backup(ctx, rest[0])
}
