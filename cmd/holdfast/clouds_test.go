package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	mochipackets "github.com/mochi-mqtt/server/v2/packets"
)

// A cloud has the documented requirements and limits of a hosted broker. The file in
// docs/clouds.md has to work with it. Zero means no limit.
type cloud struct {
	heading  string // of its file in docs/clouds.md
	host     string // in that file; the test replaces it by this machine
	alpn     string // the required ALPN protocol
	mutual   bool   // a client certificate is required
	user     string // the user name that CONNECT must have
	password string
	noRetain bool   // a retained message or will closes the connection
	levels   int    // maximum levels of a topic
	topic    int    // maximum bytes of a topic
	payload  int    // maximum bytes of a payload
	subs     int    // maximum subscriptions of one client
	qos      byte   // maximum QoS
	denied   string // a topic that the policy does not allow to publish to
}

// clouds: docs/clouds.md has the source of each number.
var clouds = []cloud{
	{heading: "AWS IoT Core", host: "a1b2c3d4e5f6g7-ats.iot.eu-central-1.amazonaws.com:443",
		alpn: "x-amzn-mqtt-ca", mutual: true, noRetain: true, levels: 8, topic: 256, payload: 128 << 10, subs: 50, qos: 1},
	{heading: "Azure Event Grid", host: "plant.westeurope-1.ts.eventgrid.azure.net:8883",
		mutual: true, user: "porch", noRetain: true, topic: 256, payload: 64 << 10, subs: 50, qos: 1},
	{heading: "HiveMQ Cloud", host: "0123456789abcdef0123456789abcdef.s1.eu.hivemq.cloud:8883",
		user: "porch", password: "s3cret", qos: 2},
	{heading: "EMQX Serverless", host: "a1b2c3d4.ala.eu-central-1.emqxsl.com:8883",
		user: "porch", password: "s3cret", payload: 1 << 20, levels: 10, subs: 10, qos: 2},
}

// A cloudBroker has this behaviour. mu guards the fields below it.
type cloudBroker struct {
	mochi.HookBase
	cloud
	server *mochi.Server
	addr   string

	mu       sync.Mutex
	got      map[string][]string // payloads, by topic
	refused  []string            // why it closed connections
	sessions int
}

// errCloud is the reason for closing a connection.
var errCloud = errors.New("the service does not allow it")

// startCloud starts the broker, with a certificate for localhost.
func startCloud(t *testing.T, c cloud, certs *ca) *cloudBroker {
	t.Helper()
	b := &cloudBroker{cloud: c, got: map[string][]string{}}
	l, err := tls.Listen("tcp", "127.0.0.1:0", b.tls(t, certs))
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	b.addr = "localhost:" + port
	can := mochi.NewDefaultServerCapabilities()
	can.MaximumQos = c.qos
	if c.noRetain {
		can.RetainAvailable = 0
	}
	b.server = mochi.New(&mochi.Options{Capabilities: can, Logger: slog.New(slog.DiscardHandler)})
	for _, err := range []error{b.server.AddHook(b, nil), b.server.AddListener(listeners.NewNet("tls", l)),
		b.server.Serve()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { b.server.Close() })
	return b
}

// tls is the service's TLS configuration.
func (b *cloudBroker) tls(t *testing.T, certs *ca) *tls.Config {
	t.Helper()
	c := b.cloud
	certs.issue(t, "broker", &x509.Certificate{DNSNames: []string{"localhost"}})
	pair, err := tls.LoadX509KeyPair(certs.path("broker.pem"), certs.path("broker.key"))
	if err != nil {
		t.Fatal(err)
	}
	settings := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if c.alpn != "" {
		settings.NextProtos = []string{c.alpn}
	}
	if c.mutual {
		settings.ClientAuth, settings.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		settings.ClientCAs.AddCert(certs.cert)
	}
	// All of these services use the same addresses for all customers and need the server name
	// of the handshake; AWS takes MQTT on port 443 for HTTP without the ALPN protocol.
	settings.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if hello.ServerName != "localhost" || c.alpn != "" && !slices.Contains(hello.SupportedProtos, c.alpn) {
			b.refuse(fmt.Sprintf("TLS for %q with the protocols %q", hello.ServerName, hello.SupportedProtos))
			return nil, errCloud
		}
		return nil, nil
	}
	return settings
}

// ID is the name of the hook.
func (b *cloudBroker) ID() string { return "cloud" }

// Provides reports which events the hook handles.
func (b *cloudBroker) Provides(hook byte) bool {
	return bytes.Contains([]byte{mochi.OnConnectAuthenticate, mochi.OnACLCheck, mochi.OnPublish, mochi.OnSubscribe},
		[]byte{hook})
}

// OnConnectAuthenticate accepts known users, with their own client ID only.
func (b *cloudBroker) OnConnectAuthenticate(_ *mochi.Client, p mochipackets.Packet) bool {
	c := p.Connect
	switch {
	case c.ClientIdentifier != "porch", b.user != "" && string(c.Username) != b.user,
		b.password != "" && string(c.Password) != b.password:
		b.refuse(fmt.Sprintf("CONNECT of %q as %q", c.ClientIdentifier, c.Username))
		return false
	case b.noRetain && c.WillRetain:
		b.refuse("a retained will")
		return false
	}
	b.mu.Lock()
	b.sessions++
	b.mu.Unlock()
	return true
}

// OnACLCheck closes the connection for a topic that is not below the client ID.
func (b *cloudBroker) OnACLCheck(cl *mochi.Client, topic string, write bool) bool {
	if !strings.HasPrefix(topic, "porch/") || write && topic == b.denied {
		b.close(cl, "the topic "+topic)
		return false
	}
	return true
}

// OnSubscribe closes the connection if a client exceeds the limit of subscriptions.
func (b *cloudBroker) OnSubscribe(cl *mochi.Client, p mochipackets.Packet) mochipackets.Packet {
	if n := cl.State.Subscriptions.Len() + len(p.Filters); b.subs > 0 && n > b.subs {
		b.close(cl, fmt.Sprintf("%d subscriptions", n))
	}
	return p
}

// OnPublish closes the connection for a message that exceeds a limit.
func (b *cloudBroker) OnPublish(cl *mochi.Client, p mochipackets.Packet) (mochipackets.Packet, error) {
	levels := 1 + strings.Count(p.TopicName, "/")
	switch {
	case b.noRetain && p.FixedHeader.Retain:
		b.close(cl, "a retained message on "+p.TopicName)
	case b.levels > 0 && levels > b.levels, b.topic > 0 && len(p.TopicName) > b.topic:
		b.close(cl, fmt.Sprintf("a topic of %d levels and %d bytes", levels, len(p.TopicName)))
	case b.payload > 0 && len(p.Payload) > b.payload:
		b.close(cl, fmt.Sprintf("a payload of %d bytes on %s", len(p.Payload), p.TopicName))
	default:
		b.mu.Lock()
		defer b.mu.Unlock()
		b.got[p.TopicName] = append(b.got[p.TopicName], string(p.Payload))
		return p, nil
	}
	return p, mochipackets.ErrRejectPacket
}

func (b *cloudBroker) refuse(what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refused = append(b.refused, what)
}

func (b *cloudBroker) close(cl *mochi.Client, why string) {
	b.refuse(why)
	cl.Stop(errCloud)
}

// payloads are the payloads of a topic.
func (b *cloudBroker) payloads(topic string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.got[topic])
}

// complaints are the reasons for closing connections.
func (b *cloudBroker) complaints() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.refused, "; ")
}

// kick closes all connections without an answer, as such services do when they move a
// client to another machine.
func (b *cloudBroker) kick() {
	for _, cl := range b.server.Clients.GetAll() {
		cl.Stop(errCloud)
	}
}

// documented is the file of docs/clouds.md under a heading, changed for this broker and a
// simulated sensor.
func (b *cloudBroker) documented(t *testing.T, certs *ca) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/clouds.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)\n## " + b.heading + "\n.*?```yaml\n(.*?)```").FindSubmatch(page)
	if found == nil {
		t.Fatalf("docs/clouds.md has no file under %s", b.heading)
	}
	text, _, sensors := strings.Cut(string(found[1]), "\nsensors:")
	if !sensors || strings.Count(text, b.host) != 1 {
		t.Fatalf("the file under %s has to name %s once, and sensors last:\n%s", b.heading, b.host, text)
	}
	text = strings.Replace(text, b.host, b.addr, 1)
	return strings.ReplaceAll(text, "/etc/holdfast/", certs.dir+"/") +
		"\nqueue: {path: %DIR%/queue.db}\nsensors:\n  load: {kind: simulated, counter: {}, every: 100ms}\n"
}

// newCloudAgent creates the certificates and the password that the documented files name.
func newCloudAgent(t *testing.T, b *cloudBroker, certs *ca, text string) *agent {
	t.Helper()
	certs.issue(t, "porch", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err := os.WriteFile(certs.path("mqtt.password"), []byte(b.password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := newAgent(t, text)
	a.retrySoon()
	a.env = append(a.env, "SSL_CERT_FILE="+certs.path("ca.pem")) // in place of the system's authorities
	return a
}

// TestDocumentedFilesWorkWithSimulatedClouds: every reading arrives although the service
// closes a connection, and nothing is sent that it refuses.
func TestDocumentedFilesWorkWithSimulatedClouds(t *testing.T) {
	for _, c := range clouds {
		for _, version := range []string{"3.1.1", "5"} {
			t.Run(c.heading+" "+version, func(t *testing.T) {
				t.Parallel()
				certs := newCA(t)
				b := startCloud(t, c, certs)
				text := b.documented(t, certs)
				a := newCloudAgent(t, b, certs, strings.Replace(text, "mqtt:\n", "mqtt:\n  version: "+version+"\n", 1))
				a.start()
				eventually(t, time.Minute, "readings arrive", func() bool { return len(b.payloads("porch/load")) > 10 })
				b.kick()
				before := len(b.payloads("porch/load"))
				eventually(t, time.Minute, "they arrive again", func() bool {
					return len(b.payloads("porch/load")) > before+20
				})
				a.stop()
				b.checkLoad(t)
				if said := b.complaints(); said != "" {
					t.Errorf("the service refused %s", said)
				}
				words := b.payloads("porch/agent/status")
				if len(words) < 3 || words[len(words)-1] != "offline" || len(b.payloads("porch/load/state")) == 0 {
					t.Errorf("the status said %q, and %d states came", words, len(b.payloads("porch/load/state")))
				}
			})
		}
	}
}

// checkLoad fails the test if a reading is missing.
func (b *cloudBroker) checkLoad(t *testing.T) {
	t.Helper()
	seen := map[string]bool{}
	for _, p := range b.payloads("porch/load") {
		seen[regexp.MustCompile(`"value":\d+`).FindString(p)] = true
	}
	for n := range len(seen) {
		if !seen[fmt.Sprintf(`"value":%d`, n+1)] {
			t.Errorf("reading %d is missing, and later ones are there", n+1)
		}
	}
}

// TestACloudThatClosesForADeniedTopic: AWS IoT closes the connection for a topic that its
// policy does not allow. The log names the topic, and all other readings arrive.
func TestACloudThatClosesForADeniedTopic(t *testing.T) {
	for _, version := range []string{"3.1.1", "5"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			certs, c := newCA(t), clouds[0]
			c.denied = "porch/attic"
			b := startCloud(t, c, certs)
			text := b.documented(t, certs) + "  attic: {kind: simulated, counter: {}, every: 300ms}\n"
			a := newCloudAgent(t, b, certs, strings.Replace(text, "mqtt:\n", "mqtt:\n  version: "+version+"\n", 1))
			a.start()
			eventually(t, 2*time.Minute, "the log names the topic", func() bool {
				return regexp.MustCompile(`level=ERROR .*topic=porch/attic`).MatchString(a.log.String())
			})
			before := len(b.payloads("porch/load"))
			eventually(t, time.Minute, "the others arrive", func() bool {
				return len(b.payloads("porch/load")) > before+30
			})
			a.stop()
			b.checkLoad(t)
			t.Logf("it closed %d connections", len(strings.Split(b.complaints(), "; ")))
			if other := strings.ReplaceAll(b.complaints(), "the topic porch/attic", ""); strings.Trim(other, "; ") != "" {
				t.Errorf("the service refused %s", other)
			}
		})
	}
}

// TestCloudRequirementsAreInTheFiles: without each requirement the service refuses the
// agent, which shows that the test above is effective; and the log names the reason.
func TestCloudRequirementsAreInTheFiles(t *testing.T) {
	for name, c := range map[string]struct {
		cloud              cloud
		without, said, log string
	}{
		"protocol":    {clouds[0], ", alpn: x-amzn-mqtt-ca", "with the protocols []", "uplink down"},
		"retain":      {clouds[0], "  retain: false\n", "", "no retained messages"},
		"certificate": {clouds[0], "cert: /etc/holdfast/porch.pem, key: /etc/holdfast/porch.key, ", "", "certificate"},
		"password":    {clouds[2], "  password_file: /etc/holdfast/mqtt.password\n", `CONNECT of "porch"`, "password"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			certs := newCA(t)
			b := startCloud(t, c.cloud, certs)
			text, without := b.documented(t, certs), strings.ReplaceAll(c.without, "/etc/holdfast/", certs.dir+"/")
			if strings.Count(text, without) != 1 {
				t.Fatalf("the file does not have %q:\n%s", without, text)
			}
			a := newCloudAgent(t, b, certs, strings.Replace(text, without, "", 1))
			a.start()
			eventually(t, time.Minute, "the log says why", func() bool {
				return regexp.MustCompile(c.log).MatchString(a.log.String()) &&
					(c.said == "" || strings.Contains(b.complaints(), c.said))
			})
			a.stop()
			if n := len(b.payloads("porch/load")); n != 0 {
				t.Errorf("%d readings arrived all the same", n)
			}
		})
	}
}
