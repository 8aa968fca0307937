package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/holdfast-iot/holdfast/config"
)

// An Access decides who may look. It holds off pages of other sites that a browser
// of this network has open: they know the node's address, or give it a name of
// their own (DNS rebinding).
//
// Its fields are set by NewAccess and not changed, so it needs no lock.
type Access struct {
	token [sha256.Size]byte      // of the token: sums are equally long, so comparing tells no length
	open  bool                   // there is no token
	hosts func(host string) bool // whether the node may be called that
}

// NewAccess says whom the page is for: this machine, whoever has the token, or a web
// server in front of it. With a certificate the node may be called by any address or by
// a name in the certificate; without one, by the host that is configured or a name of
// loopback.
func NewAccess(opt *config.Status, s Secrets) *Access {
	a := &Access{token: sha256.Sum256([]byte(s.Token)), open: s.Token == ""}
	host, _, _ := net.SplitHostPort(opt.Listen)
	switch {
	case opt.UnixPath() != "":
		a.hosts = func(string) bool { return true } // no browser reaches it, but a web server that has its own rules
	case s.Cert != nil:
		a.hosts = func(name string) bool { return isLocal(name) || isAddress(name) || covers(s.Cert.Leaf, name) }
	default:
		a.hosts = func(name string) bool { return isLocal(name) || name == host }
	}
	return a
}

// isLocal says that a name cannot be another machine's. It is true for localhost and
// for the addresses of the loopback interface.
func isLocal(name string) bool {
	ip, err := netip.ParseAddr(name)
	return name == "localhost" || err == nil && ip.IsLoopback()
}

// isAddress says that a name is an address: no site can have one for its name, so there
// is nothing to rebind.
func isAddress(name string) bool {
	_, err := netip.ParseAddr(name)
	return err == nil
}

// covers says that the certificate is for that name: its owner says what the node is
// called. A node without TLS has no certificate, and nothing is covered.
func covers(cert *x509.Certificate, name string) bool {
	return cert != nil && cert.VerifyHostname(name) == nil
}

// Refuse returns the status with which a request is refused, and why; 0: it is not. The
// reason is for the body of the answer, so it says what to do and nothing of the token.
// The headers that go with the status are set in h.
func (a *Access) Refuse(h http.Header, r *http.Request) (code int, why string) {
	switch { // the token comes last: another site must not learn whether there is one
	case !a.hosts(hostOf(r.Host)):
		return http.StatusForbidden, "this is not a name of the node: use localhost or its address"
	case !sameOrigin(r):
		return http.StatusForbidden, "a page of another site may not ask"
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		h.Set("Allow", "GET, HEAD")
		return http.StatusMethodNotAllowed, "this page can only be read"
	case !a.knows(r):
		h.Set("WWW-Authenticate", `Basic realm="holdfast", charset="UTF-8"`)
		return http.StatusUnauthorized, "a token is needed: as the password in a browser, or as Authorization: Bearer"
	}
	return 0, ""
}

// hostOf is the name in a Host header, without the port. It is in lower case, without
// the brackets of an IPv6 address and without the dot that ends a full domain name: all
// of these spell the same name.
func hostOf(header string) string {
	host, _, err := net.SplitHostPort(header)
	if err != nil {
		host = header
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}

// sameOrigin says that the request does not come from a page of another site. A
// link on such a page may be followed: its answer is shown, and that page does not
// see it.
//
// Browsers of today send Sec-Fetch-Site to loopback and over TLS; where it is missing,
// Origin decides. A program such as curl or Prometheus sends neither, and passes: it
// has no user whose access it could abuse.
func sameOrigin(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site == "cross-site" || site == "same-site" {
		return r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Origin") == ""
	}
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return true
	}
	u, err := url.Parse(origins[0])
	return err == nil && len(origins) == 1 && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}

// knows says that the request has the token, if there is one. The time that the
// comparison takes says nothing about it. It is the password of HTTP basic
// authentication with any user name, which a browser asks for, or a bearer token, which
// scrapers can send (RFC 7617, RFC 6750).
func (a *Access) knows(r *http.Request) bool {
	if a.open {
		return true
	}
	given, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if _, password, basic := r.BasicAuth(); basic {
		given = password
	} else if !bearer {
		return false
	}
	sum := sha256.Sum256([]byte(given))
	return subtle.ConstantTimeCompare(sum[:], a.token[:]) == 1
}
