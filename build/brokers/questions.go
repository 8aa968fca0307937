package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/build/rig/rawmqtt"
)

// published is the answer to one message, and whether a subscriber receives it. The
// subscriber has filter; the message need not match it.
func (a *asker) published(name, filter string, m rawmqtt.Message) (string, error) {
	marker := a.topic(name + "-marker")
	sub, err := a.subscriber(rawmqtt.Options{ClientID: name + "-sub"}, filter, marker)
	if err != nil {
		return "", err
	}
	defer sub.Disconnect()
	pub, err := a.client(rawmqtt.Options{ClientID: name + "-pub"})
	if err != nil {
		return "", err
	}
	defer pub.Disconnect()
	m.QoS = 1
	if len(m.Payload) == 0 {
		m.Payload = []byte("x")
	}
	pub.PublishInTwo(m, maxSize/10, time.Second) // if it fails, the answer has the reason
	answer := answerTo(pub, a.topic("harmless"))
	came, err := a.arrives(sub, marker)
	if err != nil {
		return "", err
	}
	if slices.ContainsFunc(came, func(p rawmqtt.Packet) bool { return p.Kind == rawmqtt.Publish }) {
		return answer + ", delivered", nil
	}
	return answer + ", not delivered", nil
}

// denied: a topic that the account may not publish to.
func (a *asker) denied() (string, error) {
	topic := fmt.Sprintf("denied/%d", a.version)
	return a.published("denied", topic, rawmqtt.Message{Topic: topic})
}

// tooLarge: a message above the broker's limit.
func (a *asker) tooLarge() (string, error) {
	topic := a.topic("large")
	return a.published("large", topic, rawmqtt.Message{Topic: topic, Payload: make([]byte, 3*maxSize/2)})
}

// invalidTopic: a wildcard in the topic of a message.
func (a *asker) invalidTopic() (string, error) {
	return a.published("invalid", a.topic("invalid/#"), rawmqtt.Message{Topic: a.topic("invalid/+/x")})
}

// unheard: nobody subscribes to the topic.
func (a *asker) unheard() (string, error) {
	pub, err := a.client(rawmqtt.Options{ClientID: "unheard"})
	if err != nil {
		return "", err
	}
	defer pub.Disconnect()
	if err := pub.Publish(rawmqtt.Message{Topic: a.topic("unheard"), Payload: []byte("x"), QoS: 1}); err != nil {
		return "", err
	}
	answer, _ := await(pub)
	return answer, nil
}

// quota: more messages for an absent subscriber than its queue takes.
func (a *asker) quota() (string, error) {
	const sent = 3 * maxQueue
	topic := a.topic("quota")
	absent := rawmqtt.Options{ClientID: "absent", KeepSession: true, SessionExpiry: 600}
	sub, err := a.subscriber(absent, topic)
	if err != nil {
		return "", err
	}
	sub.Disconnect()
	answers, err := a.fill(topic, sent)
	if err != nil {
		return "", err
	}
	if sub, err = a.subscriber(absent, topic); err != nil {
		return "", err
	}
	defer sub.Disconnect()
	came, err := a.arrives(sub, topic)
	if err != nil {
		return "", err
	}
	kept := len(slices.DeleteFunc(came, func(p rawmqtt.Packet) bool { return p.Kind != rawmqtt.Publish }))
	return fmt.Sprintf("%s; %d of %d kept", answers, kept, sent), nil
}

// unheardAnswer is the answer of a broker of version 5 without a subscriber for a message.
const unheardAnswer = "PUBACK 0x10"

// fill publishes n messages, one after the other, and counts the answers.
func (a *asker) fill(topic string, n int) (string, error) {
	pub, err := a.client(rawmqtt.Options{ClientID: "fill"})
	if err != nil {
		return "", err
	}
	defer pub.Disconnect()
	var order []string
	count := map[string]int{}
	for range n {
		if err := pub.Publish(rawmqtt.Message{Topic: topic, Payload: []byte("x"), QoS: 1}); err != nil {
			return "", err
		}
		answer, open := await(pub)
		if answer == unheardAnswer { // the session has ended, perhaps just now
			answer = "PUBACK"
		}
		if count[answer]++; count[answer] == 1 {
			order = append(order, answer)
		}
		if !open || answer == "nothing" {
			break
		}
	}
	if len(order) == 1 && count[order[0]] == n {
		return order[0], nil
	}
	for i, answer := range order {
		order[i] = fmt.Sprintf("%d × %s", count[answer], answer)
	}
	return strings.Join(order, ", "), nil
}

// takenOver: a second client has the same client ID.
func (a *asker) takenOver() (string, error) {
	first, err := a.client(rawmqtt.Options{ClientID: "twin"})
	if err != nil {
		return "", err
	}
	defer first.Cut()
	second, err := a.client(rawmqtt.Options{ClientID: "twin"})
	if err != nil {
		return "", err
	}
	defer second.Disconnect()
	p, err := first.Next(answerTime)
	switch {
	case errors.Is(err, rawmqtt.ErrNothing):
		return "nothing, both stay", nil
	case err != nil:
		return "closed", nil
	}
	return p.String(), nil
}

// willDelay is the delay of a will, in seconds. A will that arrives in less than four
// seconds was not delayed.
const willDelay = 5

// willDelay: a connection is cut, whose will has a delay with version 5.
func (a *asker) willDelay() (string, error) {
	kept, err := a.will("kept", 60)
	if err != nil || a.version == rawmqtt.V3 {
		return kept, err
	}
	ended, err := a.will("ended", 0)
	if err != nil {
		return "", err
	}
	if kept == ended {
		return kept, nil
	}
	return fmt.Sprintf("%s; %s where the session expires with the connection", kept, ended), nil
}

// will returns when the will of a client with a cut connection arrives.
func (a *asker) will(name string, sessionExpiry uint32) (string, error) {
	topic := a.topic("will-" + name)
	sub, err := a.subscriber(rawmqtt.Options{ClientID: "will-sub"}, topic)
	if err != nil {
		return "", err
	}
	defer sub.Disconnect()
	c, err := a.client(rawmqtt.Options{ClientID: "will-" + name, SessionExpiry: sessionExpiry,
		Will: &rawmqtt.Message{Topic: topic, Payload: []byte("gone"), QoS: 1}, WillDelay: willDelay})
	if err != nil {
		return "", err
	}
	c.Cut()
	cut := time.Now()
	if _, err := sub.Await(rawmqtt.Publish, 3*answerTime); errors.Is(err, rawmqtt.ErrNothing) {
		return "no will", nil
	} else if err != nil {
		return "", err
	}
	if time.Since(cut) < (willDelay-1)*time.Second {
		return "at once", nil
	}
	return "after the delay", nil
}

// expiry: messages expire while their subscriber is away, and before there is one.
func (a *asker) expiry() (string, error) {
	const seconds = 1
	queued, retained := a.topic("expiry/queued"), a.topic("expiry/retained")
	absent := rawmqtt.Options{ClientID: "expiry", KeepSession: true, SessionExpiry: 600}
	sub, err := a.subscriber(absent, queued)
	if err != nil {
		return "", err
	}
	sub.Disconnect()
	pub, err := a.client(rawmqtt.Options{ClientID: "expiry-pub"})
	if err != nil {
		return "", err
	}
	defer pub.Disconnect()
	for _, m := range []rawmqtt.Message{
		{Topic: queued, Expiry: seconds}, {Topic: retained, Expiry: seconds, Retain: true},
	} {
		m.Payload, m.QoS = []byte("old"), 1
		if err := pub.Publish(m); err != nil {
			return "", err
		}
		if answer, open := await(pub); !open || answer == "nothing" {
			return "", fmt.Errorf("the answer to a message with an expiry is %s", answer)
		}
	}
	pause(a.ctx, 3*seconds*time.Second)
	if sub, err = a.subscriber(absent, queued, retained); err != nil {
		return "", err
	}
	defer sub.Disconnect()
	came, err := a.arrives(sub, queued)
	if err != nil {
		return "", err
	}
	words := map[bool]string{true: "delivered", false: "dropped"}
	on := func(topic string) string {
		return words[slices.ContainsFunc(came, func(p rawmqtt.Packet) bool { return p.Topic == topic })]
	}
	return fmt.Sprintf("queued %s, retained %s", on(queued), on(retained)), nil
}

// shared: two subscribers share a subscription.
func (a *asker) shared() (string, error) {
	const sent = 20
	topic, marker := a.topic("shared"), a.topic("shared-marker")
	var subs [2]*rawmqtt.Client
	for i := range subs {
		c, err := a.subscriber(rawmqtt.Options{ClientID: fmt.Sprint("share", i)}, marker)
		if err != nil {
			return "", err
		}
		defer c.Disconnect()
		if err := c.Subscribe("$share/group/" + topic); err != nil {
			return "", err
		}
		p, err := c.Await(rawmqtt.Suback, answerTime)
		switch {
		case errors.Is(err, rawmqtt.ErrClosed):
			return "closed", nil
		case err != nil:
			return "", err
		case p.Kind != rawmqtt.Suback || p.Code >= 0x80:
			return p.String(), nil
		}
		subs[i] = c
	}
	if _, err := a.fill(topic, sent); err != nil {
		return "", err
	}
	var got [2]int
	for i, sub := range subs {
		came, err := a.arrives(sub, marker)
		if err != nil {
			return "", err
		}
		for _, p := range came {
			if p.Topic == topic {
				got[i]++
			}
		}
	}
	return shares(got[0], got[1], sent), nil
}

// shares describes how the messages of a shared subscription were divided.
func shares(one, two, sent int) string {
	switch {
	case one == 0 && two == 0:
		return "granted, and nothing delivered"
	case one == sent && two == sent:
		return "granted, and not shared"
	case one+two <= sent && one > 0 && two > 0: // fewer: one of them was too slow for its queue
		return "shared"
	case one+two == sent:
		return "one gets all"
	}
	return fmt.Sprintf("%d and %d of %d", one, two, sent)
}
