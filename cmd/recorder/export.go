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

// export prints readings to standard output by stream and time, of one device or
// stream or all. Of CSV an empty field is NULL, and the first line has the names of the
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
	// All of it, unless flags say less.
	r := store.Range{From: 0, To: math.MaxInt64}
	if err := parseTimes(&r, *from, *to); err != nil {
		return err
	}
	// A slash can be in neither name: MQTT ends a level there.
	r.Device, r.Stream, _ = strings.Cut(first(rest), "/")
	if *format != "csv" && *format != "jsonl" {
		return usageError{fmt.Errorf("-format %q is not known: want csv or jsonl", *format)}
	}
	s, err := l.open(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	// One write for many rows; a year is a million of them.
	out := bufio.NewWriter(stdout)
	write, flush := writeJSON(out), out.Flush
	if *format == "csv" {
		write, flush = writeCSV(out)
	}
	// What was printed before an error stays: a person sees how far it came.
	return errors.Join(s.Readings(ctx, r, write), flush())
}

// writeCSV returns a function that writes readings as lines of CSV, and one that has
// to be called at the end. The first line has the names of the columns.
func writeCSV(out *bufio.Writer) (write func(store.Row) error, flush func() error) {
	// The writer quotes what has a comma, a quote or a line break in it. It keeps its first
	// error, and returns it each time.
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
	// From the most exact form to the loosest. None of them is also one of the others.
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
	// Go knows no days, as their length depends on the place; here one is 24 hours.
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

// record is a reading as a line of CSV.
func record(r store.Row) []string {
	number := func(n sql.NullInt64) string {
		if !n.Valid {
			return ""
		}
		return strconv.FormatInt(n.Int64, 10)
	}
	// As many digits as the number needs, so that reading it gives the same number.
	value := ""
	if r.Value.Valid {
		value = strconv.FormatFloat(r.Value.Float64, 'g', -1, 64)
	}
	return []string{r.Device, r.Stream, r.Boot.String, number(r.Seq), strconv.FormatInt(r.TS, 10),
		strconv.FormatInt(r.ReceivedAt, 10), value, r.State.String, r.Unit.String, r.Error.String, r.Clock.String,
		strconv.FormatBool(r.Historical)}
}

// writeJSON returns a function that writes readings as JSON Lines: the names, and the
// members of the payload, in the shape of `holdfast queue export`.
func writeJSON(out *bufio.Writer) func(store.Row) error {
	// A unit such as "<" stays as it is: nobody puts this into HTML unread.
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

// retain deletes old readings and hours. A timer of systemd or cron runs it, once a
// day. It may be interrupted: what is left is deleted the next time.
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
	// The ages are parsed before the database is opened: a mistake changes nothing.
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
	// What was deleted before an error is deleted: it is printed in any case.
	done, err := s.Retain(ctx, before[0], before[1])
	fmt.Fprintf(stdout, "deleted: %d readings, %d hours\n", done.Readings, done.Hours)
	return err
}

// backup copies the database into a file that is not there yet.
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
	// The recorder goes on meanwhile: a backup reads one state of the file.
	return s.Backup(ctx, rest[0])
}
