package page

import (
	"cmp"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/recorder/store"
)

const (
	defaultRange   = 24 * time.Hour
	maxRange       = 10 * 366 * 24 * time.Hour
	defaultBuckets = 400
	maxBuckets     = 2000
	// A longer range has buckets of an hour or more, from the rollups: a request must not read
	// all readings of a year.
	maxRaw  = 8 * 24 * time.Hour
	maxTime = 253_402_300_800_000 // Unix milliseconds: the year 10000
)

// widths are the allowed widths of buckets: round ones, so that buckets begin at round times.
// Each is a multiple of an hour or divides it; days begin at 00:00 UTC.
var widths = []time.Duration{
	time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond,
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
	24 * time.Hour, 2 * 24 * time.Hour, 7 * 24 * time.Hour, 14 * 24 * time.Hour, 28 * 24 * time.Hour,
	84 * 24 * time.Hour, 168 * 24 * time.Hour, 364 * 24 * time.Hour, maxRange,
}

// width returns the smallest width with which a range of the given length has at most wanted
// buckets, plus one if its ends are not at the borders of buckets.
func width(length time.Duration, wanted int) time.Duration {
	for _, w := range widths {
		if length <= w*time.Duration(wanted) && (length <= maxRaw || w >= time.Hour) {
			return w
		}
	}
	return maxRange
}

// A query holds the parameters of a request. An unknown parameter, or one that is given
// twice, is an error: a mistyped name must not be ignored.
type query url.Values

// checkNames returns an error if there are other parameters than the known ones.
func (q query) checkNames(known ...string) error {
	for name, values := range q {
		ok := false
		for _, k := range known {
			ok = ok || k == name
		}
		switch {
		case !ok:
			return &badParameter{name, "is not a parameter of this path: it takes " + cmp.Or(strings.Join(known, ", "), "none")}
		case len(values) != 1:
			return &badParameter{name, "is given more than once"}
		}
	}
	return nil
}

// at returns the time of a parameter in Unix milliseconds, or otherwise if it is not given.
func (q query) at(name string, otherwise int64) (int64, error) {
	text := url.Values(q).Get(name)
	if !url.Values(q).Has(name) {
		return otherwise, nil
	}
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		var t time.Time
		t, err = time.Parse(time.RFC3339Nano, text)
		ms = t.UnixMilli()
	}
	if err != nil || ms < 0 || ms > maxTime {
		return 0, &badParameter{name, fmt.Sprintf("%.40q is not a time: "+
			"write Unix milliseconds or RFC 3339, such as 2026-01-31T12:00:00Z", text)}
	}
	return ms, nil
}

// times returns the range of a request from the parameters from and to. others are further
// allowed parameters. Without to, the range ends now.
func (q query) times(now time.Time, others ...string) (r store.Range, err error) {
	if err = q.checkNames(append([]string{"from", "to"}, others...)...); err != nil {
		return r, err
	}
	if r.To, err = q.at("to", now.UnixMilli()); err != nil {
		return r, err
	}
	if r.From, err = q.at("from", max(0, r.To-defaultRange.Milliseconds())); err != nil {
		return r, err
	}
	switch {
	case r.To <= r.From:
		return r, &badParameter{"from", "must be before to"}
	case r.To-r.From > maxRange.Milliseconds():
		return r, &badParameter{"from", "is more than ten years before to"}
	}
	return r, nil
}

// span returns the range of a request and the width of its buckets.
func (q query) span(now time.Time) (r store.Range, w time.Duration, err error) {
	if r, err = q.times(now, "buckets"); err != nil {
		return r, 0, err
	}
	n := defaultBuckets
	if url.Values(q).Has("buckets") {
		text := url.Values(q).Get("buckets")
		if n, err = strconv.Atoi(text); err != nil || n < 1 || n > maxBuckets {
			return r, 0, &badParameter{"buckets", fmt.Sprintf("%.40q is not a number between 1 and %d", text, maxBuckets)}
		}
	}
	return r, width(time.Duration(r.To-r.From)*time.Millisecond, n), nil
}
