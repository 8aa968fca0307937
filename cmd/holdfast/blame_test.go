package main

import (
	"crypto/x509"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// TestRefusalsOfMosquittoAreExplained: with MQTT 3.1.1 Mosquitto closes or resets the
// connection without an answer.
func TestRefusalsOfMosquittoAreExplained(t *testing.T) {
	t.Parallel()
	c := newCA(t)
	c.issue(t, "broker", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	secure := fmt.Sprintf("cafile %s\ncertfile %s\nkeyfile %s\n", c.path("ca.pem"), c.path("broker.pem"),
		c.path("broker.key"))
	ca := ", tls: {ca: " + c.path("ca.pem") + "}"
	c.issue(t, "node", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	own := fmt.Sprintf(", tls: {ca: %s, cert: %s, key: %s}", c.path("ca.pem"), c.path("node.pem"), c.path("node.key"))
	other := newCA(t)
	for _, x := range []struct{ name, broker, scheme, keys, want string }{
		{"retain", "retain_available false\n", "mqtt", "", "set mqtt.retain: false"},
		{"qos", "max_qos 0\n", "mqtt", "", "holdfast needs a broker with QoS 1"},
		{"qos without retain", "max_qos 0\nretain_available false\n", "mqtt", ", retain: false",
			"holdfast needs a broker with QoS 1"},
		{"size", "max_packet_size 30\n", "mqtt", "", "no CONNECT of 48 bytes"},
		{"plain to TLS", secure, "mqtt", "", "this port speaks TLS: write mqtts://"},
		{"TLS to plain", "", "mqtts", ca, "this port speaks MQTT without TLS"},
		{"no certificate of ours", secure + "require_certificate true\n", "mqtts", ca,
			"set mqtt.tls.cert and mqtt.tls.key"},
		{"certificate of another", strings.Replace(secure, c.path("ca.pem"), other.path("ca.pem"), 1) +
			"require_certificate true\n", "mqtts", own, "does not take our certificate"},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			b := startMosquitto(t, x.broker)
			a := newAgent(t,
				fmt.Sprintf("client_id: store\nmqtt: {server: \"%s://%s\"%s}\nqueue: {path: %%DIR%%/queue.db}\n"+
					"sensors:\n  load: {kind: simulated, counter: {}, every: 1s}\n", x.scheme, b.addr, x.keys))
			a.start()
			eventually(t, time.Minute, "the log says: "+x.want, func() bool {
				return strings.Contains(a.log.String(), x.want)
			})
			a.stop()
			log := a.log.String()
			if strings.Contains(log, "access list may deny") ||
				x.want != "does not take our certificate" && strings.Contains(log, "does not take our certificate") {
				t.Error("what is not to blame is blamed")
			}
		})
	}
}
