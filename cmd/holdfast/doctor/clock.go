package doctor

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// clockChecks check the time. The clock is not checked when the agent starts: a board
// without a battery has no time then, and agent/health has `clock` all the time.
var clockChecks = []Check{
	{"clock", "the wall clock and its time source", false,
		[]*Fault{clockUnsynced, clockEstimated}, nil, checkClock},
	{"time-zone", "the time zone of the machine: payloads are in UTC, and logs are not", true,
		[]*Fault{zoneUnknown, zoneFile, zonesDiffer}, nil, checkZone},
}

var (
	// Warnings: the agent records readings without a clock, and adds the time later. Home
	// routers and company networks often block UDP port 123, so the remedy names it.
	clockUnsynced = &Fault{Warning,
		"no time source confirms the clock, which shows {now}: readings have \"clock\":\"unsynced\"",
		"sudo timedatectl set-ntp true, and let the node reach a time server (UDP port 123), or fit a clock with a " +
			"battery"}
	// The time comes from a battery-backed clock, or from a time server that was asked before
	// the start.
	clockEstimated = &Fault{Warning, "the clock, which shows {now}, is accurate to minutes: no time server confirms it",
		"sudo timedatectl set-ntp true, and let the node reach a time server (UDP port 123); " +
			"clock: {trust: always} where the site has its own time"}

	// Faults of the zone. A program that finds no zone silently uses UTC, so logs are wrong by
	// hours. The environment of the doctor is that of the user who runs it; at the start of the
	// agent it is that of the service.
	zoneUnknown = &Fault{Warning, "the environment says TZ={zone}, and there is no such time zone",
		"set TZ to a name such as Europe/Vienna, or unset it"}
	zoneFile = &Fault{Warning, "{file} is not a time zone: {text}",
		"sudo timedatectl set-timezone Europe/Vienna, or the zone where the node is"}
	// /etc/localtime is taken as the right one, because most programs read it.
	zonesDiffer = &Fault{Warning, "{file} says {one} and {other} says {two}",
		"sudo timedatectl set-timezone {two}, or the zone where the node is"}
)

// checkClock reads the timekeeper, as the agent does for each reading. Times are printed in
// UTC, because the zone may be wrong as well. A synchronized clock is no finding.
func checkClock(_ context.Context, s *Site) []Finding {
	now, quality := s.Clock()
	text := now.UTC().Format("2006-01-02 15:04 UTC")
	switch quality {
	case clock.Unsynced:
		return []Finding{clockUnsynced.at("now", text)}
	case clock.Estimated:
		return []Finding{clockEstimated.at("now", text)}
	}
	return nil
}

// checkZone checks the three places that name a zone. Without any of them the zone is UTC,
// which is no fault. There is at most one finding for the files: the second check needs the
// first file to be right.
func checkZone(_ context.Context, s *Site) (found []Finding) {
	if zone := strings.TrimPrefix(os.Getenv("TZ"), ":"); zone != "" && !knownZone(zone) {
		found = append(found, zoneUnknown.at("zone", zone))
	}
	local := filepath.Join(s.Etc, "localtime")
	name, err := zoneOf(local)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !linked(local):
		return found // UTC
	case err != nil:
		return append(found, zoneFile.at("file", local, "text", err))
	}
	file := filepath.Join(s.Etc, "timezone") // Debian's: programs read one or the other
	text, err := os.ReadFile(file)
	if written := strings.TrimSpace(string(text)); err == nil && name != "" && written != "" &&
		!sameZone(written, name) {
		found = append(found, zonesDiffer.at("file", file, "one", written, "other", local, "two", name))
	}
	return found
}

// posixZone matches the start of a POSIX rule: CET-1CEST,M3.5.0,M10.5.0/3. It needs the
// offset after the name, so a misspelt zone name is not taken for a rule (POSIX, XBD
// section 8.3).
var posixZone = regexp.MustCompile(`^(<[^>]+>|[A-Za-z]{3,})[-+]?[0-9]`)

// knownZone reports whether a zone is in the database, or a POSIX rule. An absolute path is
// read as a file, as the C library does.
func knownZone(zone string) bool {
	if filepath.IsAbs(zone) {
		_, err := zoneOf(zone)
		return err == nil
	}
	_, err := time.LoadLocation(zone)
	return err == nil || posixZone.MatchString(zone)
}

// zoneOf returns the name of the zone that a link points to, empty for a copied file. A
// file that is no zone is an error. The name is the part of the target after zoneinfo/,
// such as Europe/Vienna.
func zoneOf(path string) (name string, err error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	head := make([]byte, 4)
	if _, err := io.ReadFull(file, head); err != nil || !bytes.Equal(head, []byte("TZif")) { // RFC 9636, section 3.1
		return "", errors.New("it has not the form of one (TZif)")
	}
	target, err := os.Readlink(path)
	if err != nil {
		return "", nil
	}
	_, name, _ = strings.Cut(target, "zoneinfo/")
	return name, nil
}

// linked reports whether a name exists, even as a broken link. exists follows links, and
// would miss a link to a zone that is not installed.
func linked(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// sameZone reports whether two names mean the same zone: the database has old names for
// some zones.
func sameZone(a, b string) bool {
	if a == b {
		return true
	}
	one, err1 := time.LoadLocation(a)
	two, err2 := time.LoadLocation(b)
	if err1 != nil || err2 != nil {
		return false
	}
	for month := range 12 { // the same rules give the same offsets all year round
		at := time.Date(2026, time.Month(month+1), 15, 12, 0, 0, 0, time.UTC)
		_, offset1 := at.In(one).Zone()
		_, offset2 := at.In(two).Zone()
		if offset1 != offset2 {
			return false
		}
	}
	return true
}
