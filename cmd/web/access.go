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

// An Access decides which requests are answered. It refuses requests of other sites' pages
// that a browser in this network has open: such a page may know the node's address, or give
// the address a name of its own (DNS rebinding).
//
// Its fields do not change after NewAccess, so it needs no lock.
type Access struct {
	token [sha256.Size]byte      // hash of the token: all hashes have the same length, so comparing reveals none
	open  bool                   // there is no token
	hosts func(host string) bool // reports whether the name is allowed in a Host header
}

// NewAccess returns the access rules of a page. With a certificate the Host header may be any
// address or a name in the certificate; without one, the configured host or a name of the
// loopback interface. On a Unix socket any name is allowed.
func NewAccess(opt *config.Status, s Secrets) *Access {
	a := &Access{token: sha256.Sum256([]byte(s.Token)), open: s.Token == ""}
	host, _, _ := net.SplitHostPort(opt.Listen)
	switch {
	case opt.UnixPath() != "":
		a.hosts = func(string) bool { return true } // only a web server reaches it, which has rules of its own
	case s.Cert != nil:
		a.hosts = func(name string) bool { return isLocal(name) || isAddress(name) || covers(s.Cert.Leaf, name) }
	default:
		a.hosts = func(name string) bool { return isLocal(name) || name == host }
	}
	return a
}

// isLocal reports whether a name is localhost or an address of the loopback interface, so that
// it cannot be the name of another machine.
func isLocal(name string) bool {
	ip, err := netip.ParseAddr(name)
	return name == "localhost" || err == nil && ip.IsLoopback()
}

// isAddress reports whether a name is an IP address. DNS rebinding needs a name, so an address
// is safe.
func isAddress(name string) bool {
	_, err := netip.ParseAddr(name)
	return err == nil
}

// covers reports whether the certificate is valid for a name. Without a certificate it is
// false.
func covers(cert *x509.Certificate, name string) bool {
	return cert != nil && cert.VerifyHostname(name) == nil
}

// Refuse returns the HTTP status with which a request is refused, and why; 0: it is not
// refused. The reason is for the body of the answer: it says what to do and reveals nothing
// about the token. Refuse sets the headers of the status in h.
func (a *Access) Refuse(h http.Header, r *http.Request) (code int, why string) {
	switch { // the token comes last: another site must not learn whether there is one
	case !a.hosts(hostOf(r.Host)):
		return http.StatusForbidden, "this is not a name of the node: use localhost or its address"
	case !sameOrigin(r):
		return http.StatusForbidden, "a page of another site may not ask"
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		h.Set("Allow", "GET, HEAD")
		return http.StatusMethodNotAllowed, "this page can only be read"
	case !a.hasToken(r):
		h.Set("WWW-Authenticate", `Basic realm="holdfast", charset="UTF-8"`)
		return http.StatusUnauthorized, "a token is needed: as the password in a browser, or as Authorization: Bearer"
	}
	return 0, ""
}

// hostOf returns the name in a Host header in one form: without the port, in lower case,
// without the brackets of an IPv6 address and without the dot at the end of a full domain
// name.
func hostOf(header string) string {
	host, _, err := net.SplitHostPort(header)
	if err != nil {
		host = header
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}

// sameOrigin reports whether the request does not come from a page of another site. A person
// may follow a link on such a page: the browser then shows the answer, and the page cannot
// read it.
//
// Current browsers send Sec-Fetch-Site to loopback addresses and over TLS; where it is missing,
// Origin decides. A program such as curl or Prometheus sends neither and is allowed: it does
// not act for a user whose access a page could abuse.
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

// hasToken reports whether the request has the token, or no token is needed. The comparison
// takes constant time. The token is the password of HTTP basic authentication with any user
// name, which a browser asks for, or a bearer token, which scrapers can send (RFC 7617, RFC
// 6750).
func (a *Access) hasToken(r *http.Request) bool {
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
