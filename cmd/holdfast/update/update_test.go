package update

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/status"
)

// A machine has an installed package, a source, and an agent.
type machine struct {
	t         *testing.T
	cache     string
	installed string
	source    string          // the newest version of the source
	gone      bool            // the source does not have the installed version
	delivers  map[string]bool // by version
	refuses   map[string]bool // versions that cannot be installed
	ran       []string
	told      []Outcome
}

func newMachine(t *testing.T) *machine {
	return &machine{t: t, cache: t.TempDir(), installed: "1.0", source: "1.1",
		delivers: map[string]bool{"1.0": true, "1.1": true}}
}

func (m *machine) run(_ context.Context, name string, args ...string) (string, error) {
	line := name + " " + strings.Join(args, " ")
	m.ran = append(m.ran, line)
	last := args[len(args)-1]
	switch {
	case name == "dpkg-query":
		return m.installed, nil
	case name == "apt-cache":
		return "holdfast:\n  Installed: " + m.installed + "\n  Candidate: " + m.source + "\n", nil
	case strings.HasPrefix(line, "dpkg --compare-versions"):
		if args[1] <= args[3] {
			return "", errors.New("exit status 1")
		}
	case name == "env" && !m.gone:
		name := filepath.Join(args[1], "holdfast_x.deb")
		return "", os.WriteFile(name, []byte(strings.TrimPrefix(last, "holdfast=")), 0o600)
	case name == "apt-get" && strings.HasPrefix(last, "holdfast="):
		if m.refuses[strings.TrimPrefix(last, "holdfast=")] {
			return "", errors.New("dpkg: error")
		}
		m.installed = strings.TrimPrefix(last, "holdfast=")
	case strings.HasPrefix(line, "dpkg -i"):
		text, err := os.ReadFile(last)
		if err != nil {
			return "", err
		}
		m.installed = string(text)
	}
	return "", nil
}

func (m *machine) ask() (status.Snapshot, error) {
	var s status.Snapshot
	s.Node.Version = m.installed
	if s.Link.Connected = m.delivers[m.installed]; s.Link.Connected {
		s.Link.RoundTrip = 0.1
	}
	return s, nil
}

func (m *machine) update(ctx context.Context) error {
	return Run(ctx, Options{Cache: m.cache, Wait: 10 * time.Minute, Run: m.run, Ask: m.ask,
		Report: func(o Outcome) error { m.told = append(m.told, o); return nil }, Log: slog.New(slog.DiscardHandler)})
}

func (m *machine) has(name string) bool {
	_, err := os.Stat(filepath.Join(m.cache, name))
	return err == nil
}

func TestVersionThatDeliversIsKept(t *testing.T) {
	m := newMachine(t)
	if err := m.update(t.Context()); err != nil || m.installed != "1.1" {
		t.Errorf("version %s, %v", m.installed, err)
	}
	if fmt.Sprint(m.told) != "[{1.0 1.1 kept }]" || !m.has("holdfast_1.0.deb") || m.has("pending") {
		t.Errorf("told %v; ran %q", m.told, m.ran)
	}
	m.source, m.delivers["1.2"] = "1.2", true
	if err := m.update(t.Context()); err != nil || m.has("holdfast_1.0.deb") || !m.has("holdfast_1.1.deb") {
		t.Errorf("after the next update: %v; ran %q", err, m.ran)
	}
}

func TestVersionThatDoesNotDeliverIsReverted(t *testing.T) {
	dir := newMachine(t).cache
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		m.cache, m.delivers["1.1"] = dir, false
		began := time.Now()
		if err := m.update(t.Context()); !errors.Is(err, ErrReturned) || m.installed != "1.0" {
			t.Errorf("version %s, %v", m.installed, err)
		}
		if d := time.Since(began); d < 10*time.Minute || d > 11*time.Minute {
			t.Errorf("given back after %v", d)
		}
		if len(m.told) != 1 || m.told[0].Result != "returned" || m.told[0].Why == "" || m.has("pending") {
			t.Errorf("told %v", m.told)
		}
		refused := func(ago time.Duration) { // by the clock of synctest: the file has that of the machine
			at := time.Now().Add(-ago)
			if err := os.Chtimes(filepath.Join(dir, "refused-1.1"), at, at); err != nil {
				t.Fatal(err)
			}
		}
		m.ran = nil
		refused(time.Hour)
		if err := m.update(t.Context()); err != nil || strings.Contains(strings.Join(m.ran, ";"), "install holdfast=") {
			t.Errorf("it is tried again: %v, %q", err, m.ran)
		}
		refused(8 * 24 * time.Hour)
		m.delivers["1.1"] = true
		if err := m.update(t.Context()); err != nil || m.installed != "1.1" {
			t.Errorf("after a week: version %s, %v", m.installed, err)
		}
	})
}

func TestVersionThatCannotBeInstalledIsReverted(t *testing.T) {
	m := newMachine(t)
	m.refuses = map[string]bool{"1.1": true}
	if err := m.update(t.Context()); !errors.Is(err, ErrReturned) || m.installed != "1.0" || len(m.told) != 1 {
		t.Errorf("version %s, %v, told %v", m.installed, err, m.told)
	}
}

// The power fails while a version is checked: the next run checks it.
func TestAnInterruptedUpdateIsChecked(t *testing.T) {
	for _, delivers := range []bool{true, false} {
		t.Run(fmt.Sprint(delivers), func(t *testing.T) {
			dir := newMachine(t).cache
			synctest.Test(t, func(t *testing.T) {
				m := newMachine(t)
				m.cache, m.delivers["1.1"] = dir, false
				ctx, cut := context.WithTimeout(t.Context(), time.Minute)
				defer cut()
				if err := m.update(ctx); !errors.Is(err, context.DeadlineExceeded) || !m.has("pending") ||
					m.installed != "1.1" {
					t.Fatalf("version %s, %v", m.installed, err)
				}
				m.delivers["1.1"] = delivers
				err := m.update(t.Context())
				want := map[bool]string{true: "1.1", false: "1.0"}[delivers]
				if m.installed != want || errors.Is(err, ErrReturned) == delivers || m.has("pending") ||
					len(m.told) != 1 {
					t.Errorf("version %s, %v, told %v", m.installed, err, m.told)
				}
			})
		})
	}
}

func TestNoUpdateWhileTheAgentDoesNotDeliver(t *testing.T) {
	for name, change := range map[string]func(m *machine){
		"the agent does not deliver now":     func(m *machine) { m.delivers["1.0"] = false },
		"the source has not got the old one": func(m *machine) { m.gone = true },
		"the source has nothing newer":       func(m *machine) { m.source = "1.0" },
		"the source has an older one":        func(m *machine) { m.source = "0.9" },
		"the source knows no such package":   func(m *machine) { m.source = "(none)" },
		"the note of an update cannot be read": func(m *machine) {
			os.WriteFile(filepath.Join(m.cache, "pending"), nil,
				0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			change(m)
			err := m.update(t.Context())
			if m.installed != "1.0" || len(m.told) > 0 {
				t.Errorf("version %s, told %v, %v", m.installed, m.told, err)
			}
			if wrong := !strings.HasPrefix(name, "the source has nothing") && !strings.Contains(name, "older") &&
				!strings.Contains(name, "no such"); wrong != (err != nil) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// The power failed before the downloaded package was on disk: the file has its name.
func TestEmptyPackageIsDownloadedAgain(t *testing.T) {
	dir := newMachine(t).cache
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		m.cache, m.delivers["1.1"] = dir, false
		if err := os.WriteFile(filepath.Join(dir, "holdfast_1.0.deb"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := m.update(t.Context()); !errors.Is(err, ErrReturned) || m.installed != "1.0" {
			t.Errorf("version %q, %v", m.installed, err)
		}
	})
}

// The clock was wrong by years when a version was refused: the version must not be skipped
// for years.
func TestRefusalWithAFutureTimeIsIgnored(t *testing.T) {
	m := newMachine(t)
	if err := os.WriteFile(filepath.Join(m.cache, "refused-1.1"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	future := time.Now().AddDate(5, 0, 0)
	if err := os.Chtimes(filepath.Join(m.cache, "refused-1.1"), future, future); err != nil {
		t.Fatal(err)
	}
	if err := m.update(t.Context()); err != nil || m.installed != "1.1" {
		t.Errorf("version %q, %v", m.installed, err)
	}
}
