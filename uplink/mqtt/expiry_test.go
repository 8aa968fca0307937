package mqtt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

const aDay = 24 * time.Hour

// watchFor watches certificates for a time and returns the log's lines.
func watchFor(t *testing.T, e *Expiries, trust clock.Trust, length time.Duration, certs ...Certificate) []string {
	t.Helper()
	var out strings.Builder
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	e.Watch(ctx, certs, clock.NewTimekeeper(trust), slog.New(slog.NewTextHandler(&out, nil)))
	return strings.Split(strings.TrimSpace(out.String()), "\n")
}

func issued(t *testing.T, name, whose string, days float64) Certificate {
	t.Helper()
	left := time.Duration(days * float64(aDay))
	pair := newAuthority(t).issue(t, name, x509.Certificate{NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(left)})
	return Certificate{pair.Leaf, whose}
}

var daysLeft = regexp.MustCompile(`days_left=(-?\d+)`)

func TestExpiryIsLoggedOnceAtEachStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e Expiries
		node := issued(t, "node", "ours, node.pem", 45)
		lines := watchFor(t, &e, clock.TrustAlways, 50*aDay, node, issued(t, "broker", "the broker's", 400))
		var days []string
		for _, line := range lines {
			days = append(days, daysLeft.FindStringSubmatch(line)[1])
			if !strings.Contains(line, "level=WARN") || !strings.Contains(line, `certificate="ours, node.pem"`) ||
				!strings.Contains(line, "CN=node") {
				t.Errorf("the line does not name the certificate: %s", line)
			}
		}
		if got := fmt.Sprint(days); got != "[30 7 1 0]" {
			t.Errorf("warned with days left %s:\n%s", got, strings.Join(lines, "\n"))
		}
		if !strings.Contains(lines[len(lines)-1], "has expired") {
			t.Errorf("the last line is %s", lines[len(lines)-1])
		}
		if again := watchFor(t, &e, clock.TrustAlways, 10*aDay, node); again[0] != "" {
			t.Errorf("warned again after a reconnect: %q", again)
		}
	})
}

func TestExpiryIsLoggedOnceForACertificateThatIsFoundLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e Expiries
		if lines := watchFor(t, &e, clock.TrustAlways, time.Hour, issued(t, "node", "ours", 5)); len(lines) != 1 ||
			!strings.Contains(lines[0], "days_left=5") {
			t.Errorf("logged %q", lines)
		}
		if lines := watchFor(t, &e, clock.TrustAlways, time.Hour,
			issued(t, "node", "ours", 5)); !strings.Contains(lines[0], "days_left=5") {
			t.Errorf("the next certificate is another one: %q", lines)
		}
	})
}

func TestAnExpiryWarningHasTheStateOfTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for trust, want := range map[clock.Trust]string{clock.TrustNever: "clock=unsynced",
			clock.TrustAlways: "clock=ok"} {
			if lines := watchFor(t, &Expiries{}, trust, aDay/4, issued(t, "node", "ours", 0.5)); len(lines) != 1 ||
				!strings.Contains(lines[0], want) {
				t.Errorf("logged %q, want %s", lines, want)
			}
		}
	})
}

// A root that is being replaced is signed twice; the chain that holds counts.
func TestTheChainThatExpiresLastCounts(t *testing.T) {
	leaf, short, long := issued(t, "leaf", "", 90), issued(t, "old root", "", 3), issued(t, "new root", "", 900)
	for _, chains := range [][][]*x509.Certificate{
		{{leaf.Certificate, short.Certificate}, {leaf.Certificate, long.Certificate}},
		{{leaf.Certificate, long.Certificate}, {leaf.Certificate, short.Certificate}},
	} {
		got := peerCertificates(tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf.Certificate},
			VerifiedChains: chains})
		if !slices.Equal(got, []Certificate{{leaf.Certificate, "the broker's"},
			{long.Certificate, "of an authority behind the broker's"}}) {
			t.Errorf("got %v", got)
		}
	}
}
