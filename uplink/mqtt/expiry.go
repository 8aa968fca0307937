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

// A Certificate is one of those that a connection depends on.
type Certificate struct {
	*x509.Certificate
	Whose string // for a person: "ours, /etc/holdfast/node.pem"
}

// theirs are the certificates of the broker and of those that vouch for it. Of
// several chains the one that lasts longest counts: the others may expire.
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

// lasts is when the first certificate of a chain expires.
func firstExpiry(chain []*x509.Certificate) time.Time {
	return slices.MinFunc(chain, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) }).NotAfter
}

// shown holds the certificates that a connection was made with.
type connCertificates struct {
	mu    sync.Mutex
	certs []Certificate
}

func (s *connCertificates) show(certs []Certificate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.certs = certs
}

func (s *connCertificates) Certificates() []Certificate {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.certs
}

const expiryEvery = time.Hour // between two looks while a session lasts

// ahead is how long before its end a certificate is warned of, once each.
var ahead = [...]time.Duration{0, 24 * time.Hour, 7 * 24 * time.Hour, 30 * 24 * time.Hour}

// Expiries remember which warnings were given.
type Expiries struct {
	said map[[sha256.Size]byte]time.Duration // the nearest step, by certificate
}

// Watch warns of the certificates of a connection until ctx is done.
func (e *Expiries) Watch(ctx context.Context, certs []Certificate, keeper *clock.Timekeeper, log *slog.Logger) {
	if len(certs) == 0 {
		return
	}
	for ctx.Err() == nil {
		e.warn(certs, keeper.Now(), log)
		clock.Sleep(ctx, expiryEvery)
	}
}

// warn says which certificates end soon, each step once. A clock that nothing
// vouches for was at least good enough for the handshake: it warns too, and the
// log says what it is worth.
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

// first reports whether a certificate was not warned of at this step or a
// nearer one.
func (e *Expiries) first(c Certificate, step time.Duration) bool {
	id := sha256.Sum256(c.Raw)
	if said, ok := e.said[id]; ok && said <= step {
		return false
	}
	if e.said == nil {
		e.said = map[[sha256.Size]byte]time.Duration{}
	}
	e.said[id] = step
	return true
}
