package doctor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

var (
	// Faults of the session. The client ID comes first: a session with it would end the
	// other client's. A broker ends the older session when a client ID connects again
	// (MQTT 3.1.1, section 3.1.4), so two nodes with one ID disconnect each other for
	// ever.
	idTaken = &Fault{Error,
		"{server}: another client is connected with the client ID {client_id}: the two would end each other's sessions",
		"give each node a client_id of its own (a copied SD card has its original's); or stop the other"}

	// The broker says no more than a number, on purpose: its log knows the reason.
	loginRefused = &Fault{Error, "{server} refuses user {user} ({text})",
		"correct mqtt.username and the password, here or at the broker; its log says what it does not take"}
	// With MQTT 5 the broker says so in CONNACK, and the agent gives up: nothing would say
	// when the disk may forget a reading.
	loginQoS = &Fault{Error, "{server} takes messages at QoS 0 alone, and readings go at QoS 1",
		"set the broker's highest QoS to 1 or 2 (Mosquitto: max_qos)"}
	loginFails = &Fault{Error, "{server}: no session: {text}", "see the broker's log for the client ID {client_id}"}

	// Faults of publishing. With MQTT 3.1.1 brokers acknowledge what their access list denies:
	// only what comes back is proof. With MQTT 5 they say so in PUBACK.
	canaryDenied = &Fault{Error, "{server} refuses what this account publishes to {topic}: {text}",
		"allow this account to publish to {client_id}/# in the broker's access list"}
	canaryLost = &Fault{Error, "{server} does not deliver what this account publishes to {topic}",
		"allow this account to publish and to read {client_id}/# in the broker's access list; " +
			"mqtt.prove_publish: false if it may write and not read"}
	canaryUnread = &Fault{Error,
		"{server} does not let this account read {topic}, so that nothing proves that readings arrive",
		"allow this account to read {client_id}/#, or set mqtt.prove_publish: false"}
	// MQTT 3.1.1 has no answer that says no to a message (section 3.3.5): some brokers
	// close the connection.
	canaryCloses = &Fault{Error, "{server} closes the connection when this account publishes to {topic}: {text}",
		"allow this account to publish to {client_id}/# in the broker's access list"}

	// Faults of retained messages: without them a display knows nothing after its
	// restart. An error, since agent/status and the states of the sensors rely on it.
	retainDenied = &Fault{Error, "{server} refuses the status of the agent ({topic}): {text}",
		"allow this account to publish retained messages to {topic} in the broker's access list"}
	retainLost = &Fault{Error, "{server} does not keep retained messages of this account ({topic})",
		"switch retained messages on at the broker, or allow them for this account; else set mqtt.retain: false"}
	retainCloses = &Fault{Error, "{server} closes the connection for a retained message ({topic}): {text}",
		"switch retained messages on at the broker (Mosquitto: retain_available true); else set mqtt.retain: false"}

	// Faults of orders. An agent that may not read them looks well otherwise.
	ordersDenied = &Fault{Error, "{server} does not let this account read {topic}: no order arrives",
		"allow this account to read {client_id}/+/set in the broker's access list, or set commands: false"}
	// With MQTT 3.1.1 the agent refuses it each time that it connects, and does not remove it:
	// it is not known who needs it. With MQTT 5 the broker does not send it.
	orderRetained = &Fault{Warning, "{server} has a retained order on {topic}, which the agent refuses at each connect",
		"publish orders without the retain flag, and remove this one: mosquitto_pub -r -n -t {topic}"}

	// Limits that the broker tells. QoS 0 has no acknowledgement, and so nothing that
	// says when the disk may forget a reading.
	limitQoS = &Fault{Error, "{server} takes QoS {qos} at most, and readings go at QoS 1",
		"set the broker's highest QoS to 1 or 2 (Mosquitto: max_qos)"}
	limitRetain = &Fault{Error, "{server} says that it keeps no retained messages",
		"switch them on at the broker; else set mqtt.retain: false"}
	// The topic is that of the largest message of this configuration. Readings are far
	// smaller.
	limitPacket = &Fault{Warning,
		"{server} takes packets of {limit} bytes at most, and {topic} has {bytes}: it goes without its details",
		"raise the broker's limit (Mosquitto: max_packet_size), or set home_assistant.discovery: false if that " +
			"is the " +
			"message"}

	// A warning: a recorder may come later, and a persistent session keeps for it.
	nobodySubscribed = &Fault{Warning,
		"{server} says that no client subscribes to anything: readings are acknowledged, and nobody gets them",
		"start or connect what is to receive them (Home Assistant, a recorder), and give it a persistent session"}
)

const (
	// A GPRS link takes seconds for a handshake; a broker answers within one. These are
	// for links that work: the checks before have found the broker reachable.
	sessionTime = 20 * time.Second // for one connection
	answerTime  = 10 * time.Second // for one message that has to come back
	noneTime    = time.Second      // after which no retained message is there
)

// noSession says why no session is made. While an agent runs here, its own would be
// ended by it. It is empty if one may be made.
func (s *Site) noSession() string {
	if s.Agent != nil {
		return "the agent that runs has the session: see the check agent"
	}
	return s.noServer()
}

// checkClientID looks from a session of another client ID whether the broker has
// a status of ours that says online, while no agent runs here. An agent that was
// killed is reported offline by its will, which is waited for.
//
// It runs before checkLogin, because a login with our client ID would end the session
// of the other client and so hide it. A broker that lets no other client ID in is
// passed over.
func checkClientID(ctx context.Context, s *Site) (found []Finding) {
	for _, l := range s.open() {
		aside := s.Config.Uplink.Broker
		aside.ClientID += "-doctor"
		if aside.Username == "" && aside.Password.IsSet() {
			aside.Username = s.Config.Uplink.ClientID
		}
		conn, err := s.dial(ctx, l, aside, mqtt.Message{})
		if err != nil {
			continue // it takes no other client ID, or the login says why
		}
		if s.isOnline(ctx, conn) {
			found = append(found, l.fail(idTaken.at("server", l.name(), "client_id", s.Config.Uplink.ClientID))...)
		}
		l.nobody = nobodyElse(ctx, conn)
		hangUp(conn)
	}
	return found
}

// isOnline reports whether the status of this node is online, and stays so for longer
// than a broker needs to notice that a client is gone: one and a half times the
// keepalive (MQTT 3.1.1, section 3.1.2.10). It returns early when the status changes,
// the connection is lost or ctx ends: false then.
func (s *Site) isOnline(ctx context.Context, conn *mqtt.Conn) bool {
	topic := s.Config.Uplink.ClientID + "/agent/status"
	if retained(ctx, conn, topic, noneTime) != "online" {
		return false
	}
	gone := time.After(s.Config.Uplink.KeepAlive*3/2 + 5*time.Second)
	for {
		select {
		case m := <-conn.Received():
			if m.Topic == topic && string(m.Payload) != "online" {
				return false
			}
		case <-conn.Done():
			return false
		case <-ctx.Done():
			return false
		case <-gone:
			return true
		}
	}
}

const (
	// The topics below $SYS are no standard, and each broker has its own.
	subscriptionCount = "$SYS/broker/subscriptions/count" // Mosquitto's, of all clients
	countTime         = 15 * time.Second                  // Mosquitto counts every 10 s by default (sys_interval)
)

// nobodyElse reports whether the broker says that no subscription is there but the two
// of this session, to the status and to the number. The number as it is retained may be
// from before a client came: what counts is the next one, with ours in it. It is false
// where the broker does not tell, and where it tells more.
func nobodyElse(ctx context.Context, conn *mqtt.Conn) bool {
	const ours = 2
	before, err := strconv.Atoi(retained(ctx, conn, subscriptionCount, noneTime))
	if err != nil || before >= ours {
		return false
	}
	timeout := time.After(countTime)
	for {
		select {
		case m := <-conn.Received():
			if m.Topic == subscriptionCount {
				return string(m.Payload) == strconv.Itoa(ours)
			}
			continue
		case <-timeout:
		case <-conn.Done():
		case <-ctx.Done():
		}
		return false
	}
}

// dial makes a session with one server, by the version of MQTT that the agent would use.
// broker is a copy, so the list of servers of the configuration stays. The caller hangs up.
func (s *Site) dial(ctx context.Context, l *link, broker mqtt.Broker, will mqtt.Message) (*mqtt.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, sessionTime)
	defer cancel()
	broker.Servers = []*url.URL{l.server}
	return mqtt.NewDialer(broker).Dial(ctx, will)
}

// checkLogin makes the session that the agent would make, will and all. The session
// stays in the link for the checks that follow. The will is the agent's, as an access
// list may refuse it.
func checkLogin(ctx context.Context, s *Site) (found []Finding) {
	opt := s.Config.Uplink
	will := mqtt.Message{Topic: opt.ClientID + "/agent/status", Payload: []byte("offline"), Retain: !opt.NoRetain}
	for _, l := range s.open() {
		conn, err := s.dial(ctx, l, opt.Broker, will)
		var refused *mqtt.RefusedError
		switch {
		case err == nil:
			l.conn = conn
			s.noteVersion(l)
		case errors.Is(err, mqtt.ErrNoQoS1):
			found = append(found, l.fail(loginQoS.at("server", l.name()))...)
		case errors.As(err, &refused) && isCredentials(refused.Code):
			user := opt.Username
			if user == "" {
				user = opt.ClientID
			}
			if !opt.Password.IsSet() && opt.Username == "" {
				user = "without a name and password"
			}
			found = append(found, l.fail(loginRefused.at("server", l.name(), "user", user, "text",
				fmt.Sprintf("code %d", refused.Code)))...)
		default:
			found = append(found, l.fail(loginFails.at("server", l.name(), "text", err, "client_id", opt.ClientID))...)
		}
	}
	return found
}

// noteVersion notes by which version of MQTT there is a session with a server.
func (s *Site) noteVersion(l *link) {
	facts := l.conn.Facts()
	note := l.name() + " by MQTT " + facts.Version.String()
	if facts.Refuses5 != "" {
		note += " (not 5: " + oneLine(facts.Refuses5) + ")"
	}
	s.notes = append(s.notes, note)
}

// isCredentials reports whether a code of CONNACK is about user name and password;
// Mosquitto says "not authorised" for a wrong password. 4 and 5 are codes of MQTT 3.1.1
// (section 3.2.2.3), 0x86 and 0x87 of MQTT 5 (section 3.2.2.2).
func isCredentials(code byte) bool {
	return code == 4 || code == 5 || code == 0x86 || code == 0x87
}

// connected are the ways with a session. They are those for which checkLogin has
// succeeded and nothing has failed since.
func (s *Site) connected() (all []*link) {
	for _, l := range s.open() {
		if l.conn != nil {
			all = append(all, l)
		}
	}
	return all
}

// checkPublish sends a token on a topic that it has subscribed to. With MQTT 5, and where
// nothing is to be proven, an acknowledgement has to do, as it does for the agent. The topic
// is the agent's own for this purpose, so that no subscriber takes the message for a reading.
func checkPublish(ctx context.Context, s *Site) (found []Finding) {
	id := s.Config.Uplink.ClientID
	topic := id + "/agent/canary"
	for _, l := range s.connected() {
		at := func(f *Fault, text any) []Finding {
			return l.fail(f.at("server", l.name(), "topic", topic, "client_id", id, "text", text))
		}
		var denied *mqtt.DeniedError
		var refused *mqtt.PublishError
		switch err := s.publishCanary(ctx, l.conn, topic); {
		case err == nil:
		case errors.As(err, &refused):
			found = append(found, at(canaryDenied, err)...)
		case errors.As(err, &denied):
			found = append(found, at(canaryUnread, "")...)
		case errors.Is(err, errSilent):
			found = append(found, at(canaryLost, "")...)
		default:
			found = append(found, at(canaryCloses, err)...)
		}
	}
	return found
}

// errSilent means that an answer has not come in time. errSilent is compared with
// errors.Is: a broker that is silent has another mend than one that closes the
// connection.
var errSilent = fmt.Errorf("nothing came back in %v", answerTime)

// publishCanary returns nil when the message came back, or need not. The payload is
// random, so that a message of another run is not taken for this one. The error is a
// DeniedError if the broker refuses the subscription, and a PublishError if it refuses the
// message.
func (s *Site) publishCanary(ctx context.Context, conn *mqtt.Conn, topic string) error {
	token := mqtt.Message{Topic: topic, Payload: []byte(`{"doctor":"` + rand.Text() + `"}`)}
	if s.Config.Uplink.NoProof || conn.Facts().Version == mqtt.V5 {
		return await(ctx, conn, conn.Publish(token))
	}
	if err := await(ctx, conn, conn.Subscribe(topic)); err != nil {
		return err
	}
	heard := conn.Expect(token)
	conn.Publish(token)
	defer conn.Unsubscribe(topic)
	return wait(ctx, conn, heard, answerTime)
}

// checkRetain publishes what is true, that the agent is offline, and looks whether the
// broker has it for a new subscription. The message stays there. An empty answer means
// that the broker took the message and did not keep it. It is skipped where the
// configuration does without retained messages.
func checkRetain(ctx context.Context, s *Site) (found []Finding) {
	topic := s.Config.Uplink.ClientID + "/agent/status"
	for _, l := range s.connected() {
		if s.Config.Uplink.NoRetain || l.conn.Facts().NoRetain {
			continue // the check of the limits says that the broker keeps none
		}
		if retained(ctx, l.conn, topic, noneTime) == "online" {
			continue // another client's: see client-id
		}
		offline := mqtt.Message{Topic: topic, Payload: []byte("offline"), Retain: true}
		err := await(ctx, l.conn, l.conn.Publish(offline))
		var refused *mqtt.PublishError
		switch {
		case errors.As(err, &refused):
			found = append(found, l.fail(retainDenied.at("server", l.name(), "topic", topic, "text", err))...)
		case err != nil:
			found = append(found, l.fail(retainCloses.at("server", l.name(), "topic", topic, "text", err))...)
		case retained(ctx, l.conn, topic, answerTime) == "":
			found = append(found, l.fail(retainLost.at("server", l.name(), "topic", topic))...)
		}
	}
	return found
}

// checkOrders subscribes to what the agent takes orders on. Nothing is done with what
// arrives: no agent runs while it is tried.
func checkOrders(ctx context.Context, s *Site) (found []Finding) {
	for _, l := range s.connected() {
		for _, topic := range s.Config.Uplink.OrderTopics() {
			at := func(f *Fault) Finding {
				return f.at("server", l.name(), "topic", topic, "client_id", s.Config.Uplink.ClientID)
			}
			var denied *mqtt.DeniedError
			switch err := await(ctx, l.conn, l.conn.Subscribe(topic)); {
			case errors.As(err, &denied):
				found = append(found, at(ordersDenied))
			case err == nil && l.conn.Facts().Version == mqtt.V311 && retained(ctx, l.conn, topic, noneTime) != "":
				found = append(found, at(orderRetained))
			}
		}
	}
	return found
}

// checkLimits asks for the limits with a session of its own, after the one of the other
// checks has ended in order. The one of before has to end first, as both have the same
// client ID.
func checkLimits(ctx context.Context, s *Site) (found []Finding) {
	opt := s.Config.Uplink
	topic, bytes := opt.Largest()
	for _, l := range s.connected() {
		hangUp(l.conn)
		l.conn = nil
		limits, err := opt.QueryLimits(ctx, l.server)
		if err != nil {
			continue // it does not say
		}
		if limits.MaxQoS < 1 {
			found = append(found, limitQoS.at("server", l.name(), "qos", limits.MaxQoS))
		}
		if limits.NoRetain && !opt.NoRetain {
			found = append(found, limitRetain.at("server", l.name()))
		}
		// 10 bytes: the fixed header, the length of the topic, the packet identifier
		// and the length of the properties, at their largest (MQTT 5, section 3.3).
		if size := bytes + len(topic) + 10; limits.MaxPacket > 0 && size > limits.MaxPacket {
			found = append(found, limitPacket.at("server", l.name(), "limit", limits.MaxPacket, "topic", topic, "bytes",
				bytes))
		}
	}
	return found
}

// checkSubscribers tells what checkClientID has heard while it was connected. It comes
// last, since it is about what happens behind the broker.
func checkSubscribers(_ context.Context, s *Site) (found []Finding) {
	for _, l := range s.open() {
		if l.nobody {
			found = append(found, nobodySubscribed.at("server", l.name()))
		}
	}
	return found
}

// Close ends the sessions that are left. It may be called more than once, and not while
// a check runs.
func (s *Site) Close() {
	for _, l := range s.links {
		if l.conn != nil {
			hangUp(l.conn)
			l.conn = nil
		}
	}
}

// hangUp ends a session in order, so that the broker forgets its will. Without it the
// broker would publish the will at the end of each run.
func hangUp(conn *mqtt.Conn) {
	conn.Disconnect()
	conn.Close()
}

// retained subscribes to a topic and returns what the broker has retained there, empty
// if nothing came in time. The subscription stays: later messages come to conn.Heard. A
// message that is published meanwhile is not one: it comes without the flag (MQTT
// 3.1.1, section 3.3.1.3).
func retained(ctx context.Context, conn *mqtt.Conn, topic string, patience time.Duration) string {
	if await(ctx, conn, conn.Subscribe(topic)) != nil {
		return ""
	}
	// Brokers send what is retained behind the answer to the subscription. One more
	// round trip has passed it, however slow the link is.
	if await(ctx, conn, conn.Unsubscribe(topic+"/none")) != nil {
		return ""
	}
	timeout := time.After(patience)
	for {
		select {
		case m := <-conn.Received():
			if m.Topic == topic && m.Retain {
				return string(m.Payload)
			}
			continue
		case <-timeout:
		case <-conn.Done():
		case <-ctx.Done():
		}
		return ""
	}
}

// await waits until the broker has answered. It returns errSilent after answerTime, and
// the broker's own answer if that is no.
func await(ctx context.Context, conn *mqtt.Conn, token mqtt.Token) error {
	if err := wait(ctx, conn, token.Done(), answerTime); err != nil {
		return err
	}
	return token.Error()
}

// wait waits until something has happened on a connection. That it is lost counts for
// more than what its loss has brought about. nil means that it has happened and that
// the connection is still there.
func wait(ctx context.Context, conn *mqtt.Conn, happened <-chan struct{}, patience time.Duration) error {
	select {
	case <-happened:
	case <-conn.Done():
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(patience):
		return errSilent
	}
	select {
	case <-conn.Done():
		return conn.Err()
	default:
		return nil
	}
}

// isRefused reports whether a machine answered, and nothing listens there. A firewall
// that rejects may send the same, and cannot be told apart.
func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// isTimeout reports whether nobody answered. Contexts, deadlines of connections and the
// kernel each have an error of their own for it.
func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.Is(err, syscall.ETIMEDOUT) || errors.As(err, &timeout) && timeout.Timeout()
}
