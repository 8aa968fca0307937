package mqtt

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// A Certificate is one of those that a connection depends on: when it expires, the
// next connection fails.
type Certificate struct {
	*x509.Certificate
	Whose string // for a person: "ours, /etc/holdfast/node.pem"
}

// peerCertificates returns the certificates of the broker and of the authorities
// that have signed it, the broker's first. Of several verified chains it is the one
// that expires last: the connection works until then.
func peerCertificates(state tls.ConnectionState) []Certificate {
	chain := state.PeerCertificates
	for i, c := range state.VerifiedChains {
		if i == 0 || firstExpiry(c).After(firstExpiry(chain)) {
			chain = c
		}
	}
	all := make([]Certificate, len(chain))
	for i, c := range chain {
		all[i] = Certificate{c, "the broker's"}
		if i > 0 {
			all[i].Whose = "of an authority behind the broker's"
		}
	}
	return all
}

// firstExpiry is when the first certificate of a chain expires. A chain has at least
// one.
func firstExpiry(chain []*x509.Certificate) time.Time {
	return slices.MinFunc(chain, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) }).NotAfter
}

// connCertificates holds the certificates that a connection was made with. It is set
// during the handshake, in whatever goroutine crypto/tls calls us.
type connCertificates struct {
	mu    sync.Mutex
	certs []Certificate // guarded by mu; nobody changes its elements
}

// show sets the certificates. TLS.config calls it after a handshake.
func (s *connCertificates) show(certs []Certificate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.certs = certs
}

// Certificates returns the certificates of both ends; nil without TLS. They must not
// be changed.
func (s *connCertificates) Certificates() []Certificate {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.certs
}

// expiryEvery is the time between two checks while a session lasts, which may be
// months.
const expiryEvery = time.Hour

// ahead are the steps at which a certificate is warned of: how long before it
// expires, in ascending order. Each step is logged once.
var ahead = [...]time.Duration{0, 24 * time.Hour, 7 * 24 * time.Hour, 30 * 24 * time.Hour}

// Expiries remember which warnings were logged, across sessions: a link that
// reconnects every minute does not repeat them. The zero value has logged none.
// Only one goroutine at a time may use it.
type Expiries struct {
	warned map[[sha256.Size]byte]time.Duration // the last step that was logged, by the hash of the certificate
}

// Watch logs warnings about the certificates of a connection until ctx is done. It
// returns at once if there are none.
func (e *Expiries) Watch(ctx context.Context, certs []Certificate, keeper *clock.Timekeeper, log *slog.Logger) {
	if len(certs) == 0 {
		return
	}
	for ctx.Err() == nil {
		e.warn(certs, keeper.Now(), log)
		clock.Sleep(ctx, expiryEvery)
	}
}

// warn logs which certificates expire soon, each step once. It also does so by a
// clock that is not synchronised, because the handshake has accepted the
// certificates by the same clock; the attribute clock says how far it can be
// trusted.
func (e *Expiries) warn(certs []Certificate, now clock.Stamp, log *slog.Logger) {
	for _, c := range certs {
		left := c.NotAfter.Sub(time.UnixMilli(now.Unix))
		i := slices.IndexFunc(ahead[:], func(d time.Duration) bool { return left <= d })
		if i < 0 || !e.first(c, ahead[i]) {
			continue
		}
		text := "certificate expires soon: renew it"
		if left <= 0 {
			text = "certificate has expired: renew it"
		}
		log.Warn(text, "certificate", c.Whose, "subject", c.Subject.String(), "expires",
			c.NotAfter.UTC().Format(time.RFC3339), "days_left", int(math.Ceil(left.Hours()/24)), "clock", now.Clock)
	}
}

// first records a warning. It reports false if one was logged for the certificate at
// this step or a later one.
func (e *Expiries) first(c Certificate, step time.Duration) bool {
	id := sha256.Sum256(c.Raw)
	if last, ok := e.warned[id]; ok && last <= step {
		return false
	}
	if e.warned == nil {
		e.warned = map[[sha256.Size]byte]time.Duration{}
	}
	e.warned[id] = step
	return true
}
