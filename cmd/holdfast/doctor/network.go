package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// networkChecks try each server step by step. A step that fails for a server ends
// its way: each fault is named once, by the first check that meets it.
var networkChecks = []Check{
	{"name-lookup", "the addresses of each server, and how long the lookup takes", false,
		[]*Fault{nameUnknown, nameFails, nameSlow}, (*Site).noServer, checkLookup},
	{"port", "a TCP connection to each address of each server", false,
		[]*Fault{portRefused, portSilent, portFails, addressFails}, (*Site).noServer, checkPort},
	{"tls", "the certificates of both ends: dates, names, and who issued them", false,
		[]*Fault{tlsExpired, tlsEarly, tlsName, tlsIssuer, tlsNone, tlsFails, certExpires}, (*Site).noServer, checkTLS},
	{"client-id", "whether another client is connected with this client ID; the agent's own session is left alone",
		false,
		[]*Fault{idTaken}, (*Site).noSession, checkClientID},
	{"login", "a session with the user name, password, client ID, will and version of MQTT of the agent", false,
		[]*Fault{loginRefused, loginQoS, loginFails}, (*Site).noSession, checkLogin},
	{"publish", "agent/canary: the broker's answer with MQTT 5; with 3.1.1 a message that has to come back, since " +
		"brokers acknowledge what they drop", false,
		[]*Fault{canaryDenied, canaryLost, canaryUnread, canaryCloses}, (*Site).noSession, checkPublish},
	{"retain", "agent/status: a retained message that has to be there for a new subscription", false,
		[]*Fault{retainDenied, retainLost, retainCloses}, (*Site).noSession, checkRetain},
	{"orders", "the topics of orders: whether this account may read them, and with MQTT 3.1.1 whether a retained " +
		"order lies there", false,
		[]*Fault{ordersDenied, orderRetained}, (*Site).noSession, checkOrders},
	{"broker-limits", "packet size, QoS and retained messages, as a broker with MQTT 5 reports them", false,
		[]*Fault{limitQoS, limitRetain, limitPacket}, (*Site).noSession, checkLimits},
	{"subscribers", "whether any client subscribes to anything, where the broker tells (Mosquitto, $SYS)", false,
		[]*Fault{nobodySubscribed}, (*Site).noSession, checkSubscribers},
}

var (
	// Faults of the lookup. The name server has answered, so it is the name that is
	// wrong; nameFails means that no server has answered.
	nameUnknown = &Fault{Error, "{host}: there is no such name",
		"correct mqtt.server; or see the name server of this network: resolvectl status, or /etc/resolv.conf"}
	nameFails = &Fault{Error, "{host} cannot be looked up: {text}",
		"see the network and its name server: ip address, resolvectl status, or /etc/resolv.conf"}
	// A warning: each new connection waits that long.
	nameSlow = &Fault{Warning, "the lookup of {host} takes {time}",
		"see the name servers in /etc/resolv.conf: the first may be away; or write the address in mqtt.server"}

	// Faults of the port. An address that is silent costs seconds at each attempt, one
	// that refuses costs nothing. The machine is there and refuses, so neither the
	// route nor a firewall that drops packets is the cause.
	portRefused = &Fault{Error, "{server}: nothing listens at {addresses}",
		"start the broker, or correct the port in mqtt.server; a broker that listens on its own machine alone needs " +
			"another listener"}
	portSilent = &Fault{Error, "{server}: no answer from {addresses} in {time}",
		"see the route and the firewalls on the way: ping the host, and let TCP to this port through"}
	portFails = &Fault{Error, "{server}: {text}", "see the network of this node: ip address, ip route"}
	// Mostly a name with an IPv6 address, and a network without IPv6.
	addressFails = &Fault{Warning,
		"{server}: {address} does not answer ({text}), another address does: each attempt may lose time there",
		"correct the name's addresses at the name server, or the route of this node (an IPv6 address without IPv6 is " +
			"common)"}

	// Faults of TLS. A certificate that is not valid yet is the fault of a clock more often
	// than of a broker.
	tlsExpired = &Fault{Error, "{server}: the certificate of {subject} has expired on {date}",
		"renew it on the broker (its authority's, if that is the one)"}
	// Both times are in the text, as only a person knows which of them is right.
	tlsEarly = &Fault{Error,
		"{server}: the certificate of {subject} is valid from {date}, and the clock here says {now}",
		"set the clock: sudo timedatectl set-ntp true; if it is right, the broker needs another certificate"}
	tlsName = &Fault{Error, "{server}: the broker's certificate is for {names}",
		"use one of these names in mqtt.server, or set mqtt.tls.server_name to it"}
	// The authority of a private broker is in no system's list.
	tlsIssuer = &Fault{Error, "{server}: the broker's certificate is issued by {issuer}, which is not trusted here",
		"set mqtt.tls.ca to a file with the certificate of that authority"}
	// The server answers something else than TLS, or accepts MQTT without TLS.
	tlsNone = &Fault{Error, "{server}: this port does not speak TLS",
		"use the broker's port for TLS, usually 8883, or write mqtt:// in mqtt.server"}
	tlsFails = &Fault{Error, "{server}: no TLS connection: {text}",
		"see the broker's log and its TLS settings, and mqtt.tls in the file"}

	// whose says which end has it: the broker's is renewed there, and ours here.
	certExpires = &Fault{Warning, "a certificate ({whose}, {subject}) expires on {date}, in {days} days",
		"renew it before; a file of ours is read again with the next connection"}
)

const (
	// A lookup that takes longer has waited for a name server that does not answer. A
	// certificate is warned of as early as in the log of the agent.
	slowLookup  = 2 * time.Second
	dialTime    = 10 * time.Second
	expiresSoon = 30 * 24 * time.Hour
)

// A link is the way to one server, as far as it is known to work. It is made by open
// and used by one check at a time; a server has one for the whole run.
type link struct {
	server *url.URL
	addrs  []netip.Addr // empty: a proxy looks it up
	ends   bool         // a check has found a fault that later steps would meet again
	conn   *mqtt.Conn   // made by the check of the login; nil: none

	nobody bool // the broker says that nobody but us subscribes to anything
}

// name is the server without what may be secret in its URL. It has no user name, no
// password and no query, so it may be printed.
func (l *link) name() string { return l.server.Scheme + "://" + l.server.Host }

// open are the ways that no check has found a fault of. An embedded broker runs inside
// the agent, and has none. The links are made once, by whichever check comes first, in
// the order of the configuration.
func (s *Site) open() (all []*link) {
	if s.links == nil && s.Config.Embedded == nil {
		for _, server := range s.Config.Uplink.Servers {
			s.links = append(s.links, &link{server: server})
		}
	}
	for _, l := range s.links {
		if !l.ends {
			all = append(all, l)
		}
	}
	return all
}

// noServer says why no server is tried. It is empty if one is left to try.
func (s *Site) noServer() string {
	switch {
	case s.Config.Embedded != nil:
		return "the broker runs inside the agent"
	case len(s.open()) == 0:
		return "an earlier check has found what stops it"
	}
	return ""
}

// fail is a fault that ends a way. Later checks of this run leave the server out: they
// would find the same fault again.
func (l *link) fail(f Finding) []Finding {
	l.ends = true
	return []Finding{f}
}

// proxied reports whether a WebSocket goes through a proxy, which then looks the name
// up and connects. Which proxy it is, the environment says, as for every program of
// Go's net/http. A proxy that is misspelt there counts as none.
func (l *link) proxied() bool {
	scheme, ok := map[string]string{"ws": "http", "wss": "https"}[l.server.Scheme]
	if !ok {
		return false
	}
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: &url.URL{Scheme: scheme, Host: l.server.Host}})
	return err == nil && proxy != nil
}

// checkLookup looks each server up as a connection would: .local by mDNS, and the rest
// by the name servers. Each server has dialTime for itself. The addresses are kept in
// the link for checkPort.
func checkLookup(ctx context.Context, s *Site) (found []Finding) {
	for _, l := range s.open() {
		if l.proxied() {
			continue
		}
		host := l.server.Hostname()
		ctx, cancel := context.WithTimeout(ctx, dialTime)
		addrs, took, err := s.LookUp(ctx, l.server)
		cancel()
		var dns *net.DNSError
		switch {
		case errors.As(err, &dns) && dns.IsNotFound, err == nil && len(addrs) == 0:
			found = append(found, l.fail(nameUnknown.at("host", host))...)
			continue
		case err != nil:
			found = append(found, l.fail(nameFails.at("host", host, "text", err))...)
			continue
		case took > slowLookup:
			found = append(found, nameSlow.at("host", host, "time", took.Round(100*time.Millisecond)))
		}
		l.addrs = addrs
	}
	return found
}

// checkPort tries all addresses of a server at once. A server that answers at one of
// them is reached, and each of the others costs time now and then. An address that
// refuses at once is no finding while another one answers, since a connection loses no
// time there.
func checkPort(ctx context.Context, s *Site) (found []Finding) {
	for _, l := range s.open() {
		if len(l.addrs) == 0 {
			continue
		}
		errs := s.reachAll(ctx, l)
		failed, addresses := error(nil), ""
		for i, addr := range l.addrs {
			if errs[i] != nil {
				failed, addresses = errs[i], addresses+", "+addr.String()
			}
		}
		addresses = strings.TrimPrefix(addresses, ", ")
		switch {
		case failed == nil:
		case slices.Contains(errs, nil) && !isTimeout(failed): // it costs no time
		case slices.Contains(errs, nil):
			found = append(found, addressFails.at("server", l.name(), "address", addresses, "text", cause(failed)))
		case isRefused(failed):
			found = append(found, l.fail(portRefused.at("server", l.name(), "addresses", addresses))...)
		case isTimeout(failed):
			found = append(found, l.fail(portSilent.at("server", l.name(), "addresses", addresses, "time",
				dialTime))...)
		default:
			found = append(found, l.fail(portFails.at("server", l.name(), "text", cause(failed)))...)
		}
	}
	return found
}

// reachAll connects to each address of a server. errs[i] is that of l.addrs[i], nil if
// it was reached. All of its goroutines have ended when it returns, after dialTime at
// most.
func (s *Site) reachAll(ctx context.Context, l *link) []error {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	errs, done := make([]error, len(l.addrs)), make(chan struct{})
	for i, addr := range l.addrs {
		go func() {
			errs[i] = s.Config.Uplink.Reach(ctx, l.server, addr)
			done <- struct{}{}
		}()
	}
	for range l.addrs {
		<-done
	}
	return errs
}

// checkTLS shakes hands, and looks at the dates of both ends where that succeeds. A
// certificate that expires soon is a warning, and does not end the way of its server.
func checkTLS(ctx context.Context, s *Site) (found []Finding) {
	for _, l := range s.open() {
		if l.server.Scheme != "mqtts" && l.server.Scheme != "wss" {
			continue
		}
		dialing, cancel := context.WithTimeout(ctx, dialTime)
		certs, err := s.Config.Uplink.Certificates(dialing, l.server)
		cancel()
		if err != nil {
			found = append(found, l.fail(s.explainTLS(ctx, l, err))...)
			continue
		}
		now, _ := s.Clock()
		for _, c := range certs {
			if left := c.NotAfter.Sub(now); left < expiresSoon {
				found = append(found, certExpires.at("whose", c.Whose, "subject", c.Subject,
					"date", day(c.NotAfter), "days", int(left.Hours()/24)))
			}
		}
	}
	return found
}

// explainTLS names what is wrong with a certificate, if it is one.
//
// The error may come from either the handshake or the check of the certificate. An
// expired certificate and one that is not valid yet have the same reason in
// crypto/x509: the clock tells them apart. SpeaksPlain makes another connection, so it
// is asked last.
func (s *Site) explainTLS(ctx context.Context, l *link, err error) Finding {
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	var authority x509.UnknownAuthorityError
	var header tls.RecordHeaderError
	now, _ := s.Clock()
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && now.Before(invalid.Cert.NotBefore):
		return tlsEarly.at("server", l.name(), "subject", invalid.Cert.Subject, "date", day(invalid.Cert.NotBefore),
			"now", day(now))
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return tlsExpired.at("server", l.name(), "subject", invalid.Cert.Subject, "date", day(invalid.Cert.NotAfter))
	case errors.As(err, &name):
		return tlsName.at("server", l.name(), "names", certNames(name.Certificate))
	case errors.As(err, &authority) && authority.Cert != nil:
		return tlsIssuer.at("server", l.name(), "issuer", authority.Cert.Issuer)
	case errors.As(err, &header), s.Config.Uplink.SpeaksPlain(ctx, l.server):
		return tlsNone.at("server", l.name())
	}
	return tlsFails.at("server", l.name(), "text", cause(err))
}

// certNames are the names that a certificate is for. The common name of the subject
// does not count: Go has ignored it since version 1.17.
func certNames(c *x509.Certificate) string {
	all := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) == 0 {
		return fmt.Sprintf("no name at all (its subject, %v, does not count)", c.Subject)
	}
	return strings.Join(all, ", ")
}

// day is a date as a person compares it with another. It is in UTC, as the dates in a
// certificate are.
func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// cause is an error without the addresses that Go puts in front of it. The texts name
// the server already.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
