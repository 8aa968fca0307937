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

// networkChecks check each server step by step. A server that fails a step is left out of
// the later ones, so each fault is reported once, by the first check that finds it.
var networkChecks = []Check{
	{"name-lookup", "the addresses of each server, and how long the lookup takes", false,
		[]*Fault{nameUnknown, nameFails, nameSlow}, (*Site).noServer, checkLookup},
	{"port", "a TCP connection to each address of each server", false,
		[]*Fault{portRefused, portSilent, portFails, addressFails}, (*Site).noServer, checkPort},
	{"tls", "the certificates of both ends: dates, names, and who issued them", false,
		[]*Fault{tlsExpired, tlsEarly, tlsName, tlsIssuer, tlsNone, tlsFails, certExpires}, (*Site).noFiles, checkTLS},
	{"client-id", "whether another client is connected with this client ID; the agent's own session is left alone",
		false,
		[]*Fault{idTaken}, (*Site).noSession, checkClientID},
	{"login", "a session with the user name, password, client ID, will and version of MQTT of the agent", false,
		[]*Fault{loginRefused, loginNobody, loginQoS, loginFails}, (*Site).noSession, checkLogin},
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
	// Faults of the lookup. For nameUnknown a name server has answered, so the name is wrong;
	// for nameFails no server has answered.
	nameUnknown = &Fault{Error, "{host}: there is no such name",
		"correct mqtt.server; or see the name server of this network: resolvectl status, or /etc/resolv.conf"}
	nameFails = &Fault{Error, "{host} cannot be looked up: {text}",
		"see the network and its name server: ip address, resolvectl status, or /etc/resolv.conf"}
	// A warning: every new connection waits that long.
	nameSlow = &Fault{Warning, "the lookup of {host} takes {time}",
		"see the name servers in /etc/resolv.conf: the first may be away; or write the address in mqtt.server"}

	// Faults of the port. An address that does not answer costs seconds at each attempt, one
	// that refuses costs nothing. If the machine refuses, neither the route nor a firewall that
	// drops packets is the cause.
	portRefused = &Fault{Error, "{server}: nothing listens at {addresses}",
		"start the broker, or correct the port in mqtt.server; a broker that listens on its own machine alone needs " +
			"another listener"}
	portSilent = &Fault{Error, "{server}: no answer from {addresses} in {time}",
		"see the route and the firewalls on the way: ping the host, and let TCP to this port through"}
	portFails = &Fault{Error, "{server}: {text}", "see the network of this node: ip address, ip route"}
	// The usual cause is a name with an IPv6 address in a network without IPv6.
	addressFails = &Fault{Warning,
		"{server}: {address} does not answer ({text}), another address does: each attempt may lose time there",
		"correct the name's addresses at the name server, or the route of this node (an IPv6 address without IPv6 is " +
			"common)"}

	// Faults of TLS. If a certificate is not valid yet, the clock of this node is wrong more
	// often than the certificate.
	tlsExpired = &Fault{Error, "{server}: the certificate of {subject} has expired on {date}",
		"renew it on the broker (its authority's, if that is the one)"}
	// Both times are in the text: only the user can decide which of them is right.
	tlsEarly = &Fault{Error,
		"{server}: the certificate of {subject} is valid from {date}, and the clock here says {now}",
		"set the clock: sudo timedatectl set-ntp true; if it is right, the broker needs another certificate"}
	tlsName = &Fault{Error, "{server}: the broker's certificate is for {names}",
		"use one of these names in mqtt.server, or set mqtt.tls.server_name to it"}
	// The authority of a private broker is not in the system's list.
	tlsIssuer = &Fault{Error, "{server}: the broker's certificate is issued by {issuer}, which is not trusted here",
		"set mqtt.tls.ca to a file with the certificate of that authority"}
	// The server speaks another protocol than TLS, or accepts MQTT without TLS.
	tlsNone = &Fault{Error, "{server}: this port does not speak TLS",
		"use the broker's port for TLS, usually 8883, or write mqtt:// in mqtt.server"}
	tlsFails = &Fault{Error, "{server}: no TLS connection: {text}",
		"see the broker's log and its TLS settings, and mqtt.tls in the file"}

	// {whose} tells which side has to renew the certificate: the broker or this node.
	certExpires = &Fault{Warning, "a certificate ({whose}, {subject}) expires on {date}, in {days} days",
		"renew it before; a file of ours is read again with the next connection"}
)

const (
	// A lookup that takes longer has waited for a name server that does not answer. The agent's
	// log warns of a certificate equally early.
	slowLookup  = 2 * time.Second
	dialTime    = 10 * time.Second
	expiresSoon = 30 * 24 * time.Hour
)

// A link is the state of the checks for one server. It is created by openLinks and lives
// for the whole run; one check at a time uses it.
type link struct {
	server *url.URL
	addrs  []netip.Addr // empty: a proxy looks it up
	failed bool         // a check has found a fault, which later checks would only find again
	conn   *mqtt.Conn   // set by checkLogin; nil: there is no session

	unread bool // the broker reports that no other client has any subscription
}

// name is the server's URL without user name, password and query, so it may be printed.
func (l *link) name() string { return l.server.Scheme + "://" + l.server.Host }

// openLinks returns the servers for which no check has found a fault. There is none with
// the embedded broker, which runs inside the agent. The links are created at the first
// call, in the order of the configuration.
func (s *Site) openLinks() (all []*link) {
	if s.links == nil && s.Config.Embedded == nil {
		for _, server := range s.Config.Uplink.Servers {
			s.links = append(s.links, &link{server: server})
		}
	}
	for _, l := range s.links {
		if !l.failed {
			all = append(all, l)
		}
	}
	return all
}

// noServer returns why no server can be checked. It is empty if there is one.
func (s *Site) noServer() string {
	switch {
	case s.Config.Embedded != nil:
		return "the broker runs inside the agent"
	case len(s.openLinks()) == 0:
		return stopped
	}
	return ""
}

// noFiles says why no connection with the certificates and the password is tried. It is
// empty if one can be made.
func (s *Site) noFiles() string {
	if s.unusable {
		return stopped
	}
	return s.noServer()
}

// stopped is why a check is skipped after one that has found a fault.
const stopped = "an earlier check has found what stops it"

// fail marks the server as failed and returns the finding. Later checks of this run leave
// the server out: they would find the same fault again.
func (l *link) fail(f Finding) []Finding {
	l.failed = true
	return []Finding{f}
}

// proxied reports whether a WebSocket connects through a proxy, which then looks up the
// name. The proxy is configured in the environment, as for every program that uses
// net/http. An invalid entry there counts as no proxy.
func (l *link) proxied() bool {
	scheme, ok := map[string]string{"ws": "http", "wss": "https"}[l.server.Scheme]
	if !ok {
		return false
	}
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: &url.URL{Scheme: scheme, Host: l.server.Host}})
	return err == nil && proxy != nil
}

// checkLookup looks up each server in the same way as the agent: .local names by mDNS, all
// others with the name servers. Each server gets dialTime. The link keeps the addresses for
// checkPort.
func checkLookup(ctx context.Context, s *Site) (found []Finding) {
	for _, l := range s.openLinks() {
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

// checkPort tries all addresses of a server at the same time. The server is reachable if
// one address answers; any other address costs time at some connection attempts. If an
// address refuses at once while another one answers, that is no finding: the connection
// loses no time there.
func checkPort(ctx context.Context, s *Site) (found []Finding) {
	for _, l := range s.openLinks() {
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
		case slices.Contains(errs, nil) && !isTimeout(failed): // a refusal costs no time
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

// reachAll connects to each address of a server. errs[i] belongs to l.addrs[i]; nil means
// that it is reachable. It takes dialTime at most, and has no goroutine left when it
// returns.
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

// checkTLS makes a TLS handshake, and checks the expiry dates of both certificates if it
// succeeds. A certificate that expires soon is a warning, and later checks still use the
// server.
func checkTLS(ctx context.Context, s *Site) (found []Finding) {
	for _, l := range s.openLinks() {
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

// explainTLS turns an error of the handshake into a finding about the certificate, if that
// is the cause.
//
// crypto/x509 has the same reason for a certificate that has expired and for one that is
// not valid yet: the clock tells them apart. SpeaksPlain makes another connection, so it
// comes last.
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

// certNames are the names that a certificate is valid for. The common name of the subject
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

// day formats a date in UTC, as certificates have it.
func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// cause is an error without the addresses that Go puts before it: the texts name the server
// already.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
