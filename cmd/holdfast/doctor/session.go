package doctor

import (
	"cmp"
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
	// Faults of the session. The check of the client ID comes first: a session with that ID
	// would end the other client's. A broker ends the older session when a client ID connects
	// again (MQTT 3.1.1, section 3.1.4), so two nodes with one ID disconnect each other for
	// ever.
	idTaken = &Fault{Error,
		"{server}: another client is connected with the client ID {client_id}: the two would end each other's sessions",
		"give each node a client_id of its own (a copied SD card has its original's); or stop the other"}

	// A broker sends only a number, on purpose; its log has the reason.
	loginRefused = &Fault{Error, "{server} refuses user {user} ({text})",
		"correct mqtt.username and the password, here or at the broker; its log says what it does not take"}
	loginNobody = &Fault{Error, "{server} refuses a session without user name and password ({text})",
		"write the password of user {client_id} into a file, and name it with mqtt.password_file"}
	// With MQTT 5 the broker reports this in CONNACK, and the agent does not stay connected:
	// without an acknowledgement it would never know when it may delete a reading.
	loginQoS = &Fault{Error, "{server} takes messages at QoS 0 alone, and readings go at QoS 1",
		"set the broker's highest QoS to 1 or 2 (Mosquitto: max_qos)"}
	loginFails = &Fault{Error, "{server}: no session: {text}",
		"mend what is named there; else see the broker's log for the client ID {client_id}"}

	// Faults of publishing. With MQTT 3.1.1 brokers acknowledge also what their access list
	// denies, so only a message that comes back is proof. With MQTT 5 PUBACK has a reason code.
	canaryDenied = &Fault{Error, "{server} refuses what this account publishes to {topic}: {text}",
		"allow this account to publish to {client_id}/# in the broker's access list"}
	canaryLost = &Fault{Error, "{server} does not deliver what this account publishes to {topic}",
		"allow this account to publish and to read {client_id}/# in the broker's access list; " +
			"mqtt.prove_publish: false if it may write and not read"}
	canaryUnread = &Fault{Error,
		"{server} does not let this account read {topic}, so that nothing proves that readings arrive",
		"allow this account to read {client_id}/#, or set mqtt.prove_publish: false"}
	// In MQTT 3.1.1 a broker cannot refuse a message with an answer (section 3.3.5): some
	// brokers close the connection instead.
	canaryCloses = &Fault{Error, "{server} closes the connection when this account publishes to {topic}: {text}",
		"allow this account to publish to {client_id}/# in the broker's access list"}

	// Faults of retained messages. These are errors, because agent/status and the states of the
	// sensors are retained: without them a display shows nothing after its restart.
	retainDenied = &Fault{Error, "{server} refuses the status of the agent ({topic}): {text}",
		"allow this account to publish retained messages to {topic} in the broker's access list"}
	retainLost = &Fault{Error, "{server} does not keep retained messages of this account ({topic})",
		"switch retained messages on at the broker, or allow them for this account; else set mqtt.retain: false"}
	retainCloses = &Fault{Error, "{server} closes the connection for a retained message ({topic}): {text}",
		"switch retained messages on at the broker (Mosquitto: retain_available true); else set mqtt.retain: false"}

	// Faults of orders. An agent that may not subscribe to them shows no other symptom.
	ordersDenied = &Fault{Error, "{server} does not let this account read {topic}: no order arrives",
		"allow this account to read {client_id}/+/set in the broker's access list, or set commands: false"}
	// With MQTT 3.1.1 the agent gets and refuses this order at every connection. It does not
	// remove it, because somebody else may need it. With MQTT 5 the broker does not send it.
	orderRetained = &Fault{Warning, "{server} has a retained order on {topic}, which the agent refuses at each connect",
		"publish orders without the retain flag, and remove this one: mosquitto_pub -r -n -t {topic}"}

	// Limits that the broker reports. QoS 0 has no acknowledgement, so the agent would never
	// know when it may delete a reading.
	limitQoS = &Fault{Error, "{server} takes QoS {qos} at most, and readings go at QoS 1",
		"set the broker's highest QoS to 1 or 2 (Mosquitto: max_qos)"}
	limitRetain = &Fault{Error, "{server} says that it keeps no retained messages",
		"switch them on at the broker; else set mqtt.retain: false"}
	// The topic is that of the largest message of this configuration. Readings are far smaller.
	limitPacket = &Fault{Warning,
		"{server} takes packets of {limit} bytes at most, and {topic} has {bytes}: it goes without its details",
		"raise the broker's limit (Mosquitto: max_packet_size), or set home_assistant.discovery: false if that " +
			"is the " +
			"message"}

	// A warning: a recorder may connect later, and its persistent session stores messages for
	// it.
	nobodySubscribed = &Fault{Warning,
		"{server} says that no client subscribes to anything: readings are acknowledged, and nobody gets them",
		"start or connect what is to receive them (Home Assistant, a recorder), and give it a persistent session"}
)

const (
	// A handshake takes seconds over GPRS; a broker answers within one second. These limits are
	// for links that work: earlier checks have reached the broker.
	sessionTime = 20 * time.Second // for one connection
	answerTime  = 10 * time.Second // for one message that has to come back
	noneTime    = time.Second      // without one in this time, there is no retained message
)

// noSession returns why no session is made: a session with the agent's client ID would end
// that of a running agent. It is empty if the doctor may connect.
func (s *Site) noSession() string {
	if s.Agent != nil {
		return "the agent that runs has the session: see the check agent"
	}
	return s.noFiles()
}

// checkClientID looks, with another client ID, whether the broker has the status online for
// our client ID although no agent runs here. It waits long enough for the will of an agent
// that was killed.
//
// It runs before checkLogin, because a login with our client ID would end the session of
// the other client and so hide it. A broker that accepts no other client ID is skipped.
func checkClientID(ctx context.Context, s *Site) (found []Finding) {
	for _, l := range s.openLinks() {
		broker := s.Config.Uplink.Broker
		broker.ClientID += "-doctor"
		if broker.Username == "" && broker.Password.IsSet() {
			broker.Username = s.Config.Uplink.ClientID
		}
		conn, err := s.dial(ctx, l, broker, mqtt.Message{})
		if err != nil {
			continue // it takes no other client ID, or the login says why
		}
		if s.isOnline(ctx, conn) {
			found = append(found, l.fail(idTaken.at("server", l.name(), "client_id", s.Config.Uplink.ClientID))...)
		}
		l.unread = noOtherSubscriber(ctx, conn)
		hangUp(conn)
	}
	return found
}

// isOnline reports whether the status of this node is online, and stays so for longer than
// a broker needs to notice that a client is gone: one and a half times the keepalive (MQTT
// 3.1.1, section 3.1.2.10). It returns false early if the status changes, the connection is
// lost or ctx ends.
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
	// The topics below $SYS are not standardized: each broker has its own.
	subscriptionCount = "$SYS/broker/subscriptions/count" // Mosquitto's, of all clients
	countTime         = 15 * time.Second                  // Mosquitto counts every 10 s by default (sys_interval)
)

// noOtherSubscriber reports whether the broker counts only the two subscriptions of this
// session: to the status and to the count. The retained count may be out of date, so only
// the next one is evaluated, which includes our subscriptions. It is false if the broker
// has no count, or a larger one.
func noOtherSubscriber(ctx context.Context, conn *mqtt.Conn) bool {
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

// dial connects to one server, with the version of MQTT that the agent would use. broker is
// a copy, so the server list of the configuration is not changed. The caller has to hang
// up.
func (s *Site) dial(ctx context.Context, l *link, broker mqtt.Broker, will mqtt.Message) (*mqtt.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, sessionTime)
	defer cancel()
	broker.Servers = []*url.URL{l.server}
	return mqtt.NewDialer(broker).Dial(ctx, will)
}

// checkLogin connects as the agent would. The link keeps the session for the checks that
// follow. The will is the agent's too, because an access list may refuse it.
func checkLogin(ctx context.Context, s *Site) (found []Finding) {
	opt := s.Config.Uplink
	will := mqtt.Message{Topic: opt.ClientID + "/agent/status", Payload: []byte("offline"), Retain: !opt.NoRetain}
	for _, l := range s.openLinks() {
		conn, err := s.dial(ctx, l, opt.Broker, will)
		var refused *mqtt.RefusedError
		switch {
		case err == nil:
			l.conn = conn
			s.noteVersion(l)
		case errors.Is(err, mqtt.ErrNoQoS1):
			found = append(found, l.fail(loginQoS.at("server", l.name()))...)
		case errors.As(err, &refused) && isCredentials(refused.Code):
			fault := loginRefused
			if !opt.Password.IsSet() && opt.Username == "" {
				fault = loginNobody
			}
			found = append(found, l.fail(fault.at("server", l.name(), "user", cmp.Or(opt.Username, opt.ClientID),
				"client_id", opt.ClientID, "text", fmt.Sprintf("code %d", refused.Code)))...)
		default:
			found = append(found, l.fail(loginFails.at("server", l.name(), "text", err, "client_id", opt.ClientID))...)
		}
	}
	return found
}

// noteVersion notes the version of MQTT of a session.
func (s *Site) noteVersion(l *link) {
	facts := l.conn.Facts()
	note := l.name() + " by MQTT " + facts.Version.String()
	if facts.Refuses5 != "" {
		note += " (not 5: " + oneLine(facts.Refuses5) + ")"
	}
	s.notes = append(s.notes, note)
}

// isCredentials reports whether a code of CONNACK is about user name and password;
// Mosquitto answers a wrong password with "not authorised". 4 and 5 are codes of MQTT 3.1.1
// (section 3.2.2.3), 0x86 and 0x87 of MQTT 5 (section 3.2.2.2).
func isCredentials(code byte) bool {
	return code == 4 || code == 5 || code == 0x86 || code == 0x87
}

// connected returns the servers with a session: checkLogin has succeeded, and no check has
// failed since.
func (s *Site) connected() (all []*link) {
	for _, l := range s.openLinks() {
		if l.conn != nil {
			all = append(all, l)
		}
	}
	return all
}

// checkPublish publishes a token to a topic that it has subscribed to. With MQTT 5, or if
// the configuration asks for no proof, an acknowledgement is enough, as it is for the
// agent. The agent has this topic for this purpose only, so no subscriber takes the message
// for a reading.
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

// errSilent means that an answer has not come in time. Callers compare it with errors.Is,
// because the remedy differs from that for a broker that closes the connection.
var errSilent = fmt.Errorf("nothing came back in %v", answerTime)

// publishCanary returns nil when the message came back, or was acknowledged if that is
// enough. The payload is random, so a message of another run is not mistaken for this one.
// The error is a DeniedError if the broker refuses the subscription, and a PublishError if
// it refuses the message.
func (s *Site) publishCanary(ctx context.Context, conn *mqtt.Conn, topic string) error {
	token := mqtt.Message{Topic: topic, Payload: []byte(`{"doctor":"` + rand.Text() + `"}`)}
	if s.Config.Uplink.NoProof || conn.Facts().Version == mqtt.V5 {
		return await(ctx, conn, conn.Publish(token))
	}
	if err := await(ctx, conn, conn.Subscribe(topic)); err != nil {
		return err
	}
	echoed := conn.Expect(token)
	conn.Publish(token)
	defer conn.Unsubscribe(topic)
	return wait(ctx, conn, echoed, answerTime)
}

// checkRetain publishes the retained status "offline", which is true now, and checks that
// the broker has it for a new subscription. The message stays there. An empty answer means
// that the broker accepted the message and did not keep it. It is skipped if the
// configuration does not use retained messages.
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

// checkOrders subscribes to the topics of orders. Orders that arrive meanwhile are ignored,
// because no agent runs.
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

// checkLimits queries the limits with its own session. It ends the session of the other
// checks first, because both have the same client ID.
func checkLimits(ctx context.Context, s *Site) (found []Finding) {
	opt := s.Config.Uplink
	topic, bytes := opt.Largest()
	for _, l := range s.connected() {
		hangUp(l.conn)
		l.conn = nil
		limits, err := opt.QueryLimits(ctx, l.server)
		if err != nil {
			continue // it does not report any
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

// checkSubscribers reports what checkClientID has found out while it was connected. It
// comes last: it is about other clients, and all else has to work first.
func checkSubscribers(_ context.Context, s *Site) (found []Finding) {
	for _, l := range s.openLinks() {
		if l.unread {
			found = append(found, nobodySubscribed.at("server", l.name()))
		}
	}
	return found
}

// Close ends the open sessions. It may be called more than once, but not while a check
// runs.
func (s *Site) Close() {
	for _, l := range s.links {
		if l.conn != nil {
			hangUp(l.conn)
			l.conn = nil
		}
	}
}

// hangUp sends DISCONNECT, so that the broker discards the will. Otherwise the broker would
// publish the will at the end of each run.
func hangUp(conn *mqtt.Conn) {
	conn.Disconnect()
	conn.Close()
}

// retained subscribes to a topic and returns its retained message, empty if none came in
// time. The subscription stays: later messages come to conn.Received. A message that is
// published meanwhile does not count: it has no retain flag (MQTT 3.1.1, section 3.3.1.3).
func retained(ctx context.Context, conn *mqtt.Conn, topic string, timeout time.Duration) string {
	if await(ctx, conn, conn.Subscribe(topic)) != nil {
		return ""
	}
	// Brokers send the retained message after the answer to the subscription. One more round
	// trip makes sure that it has arrived, however slow the link is.
	if await(ctx, conn, conn.Unsubscribe(topic+"/none")) != nil {
		return ""
	}
	late := time.After(timeout)
	for {
		select {
		case m := <-conn.Received():
			if m.Topic == topic && m.Retain {
				return string(m.Payload)
			}
			continue
		case <-late:
		case <-conn.Done():
		case <-ctx.Done():
		}
		return ""
	}
}

// await waits for the broker's answer. It returns errSilent after answerTime, and the
// broker's error if it refuses.
func await(ctx context.Context, conn *mqtt.Conn, token mqtt.Token) error {
	if err := wait(ctx, conn, token.Done(), answerTime); err != nil {
		return err
	}
	return token.Error()
}

// wait waits for an event on a connection. If the connection is lost, it returns that error
// even if the event has happened too, because the loss may be its cause.
func wait(ctx context.Context, conn *mqtt.Conn, happened <-chan struct{}, timeout time.Duration) error {
	select {
	case <-happened:
	case <-conn.Done():
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(timeout):
		return errSilent
	}
	select {
	case <-conn.Done():
		return conn.Err()
	default:
		return nil
	}
}

// isRefused reports whether the machine answered, and no program listens there. A firewall
// that rejects packets may send the same answer, and cannot be distinguished.
func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// isTimeout reports whether there was no answer. Contexts, deadlines of connections and the
// kernel each have their own error for it.
func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.Is(err, syscall.ETIMEDOUT) || errors.As(err, &timeout) && timeout.Timeout()
}
