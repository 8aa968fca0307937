package mqtt

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/eclipse/paho.golang/packets"
)

// TestAliasesStandForTheTopicsThatComeAgain: what the broker makes of each packet is the
// message that was published, with never more aliases than it allows.
func TestAliasesStandForTheTopicsThatComeAgain(t *testing.T) {
	for _, most := range []int{0, 1, 3, 10} {
		w := &wire5{topics: map[string]uint16{}, maxAlias: uint16(most)}
		topics := map[uint16]string{} // as the broker knows them
		var size, names int
		for i := range 100 {
			m := Message{Topic: fmt.Sprintf("porch/stream_%d", i%5), Payload: fmt.Append(nil, i)}
			packet, err := w.appendLocked(nil, m, uint16(i+1))
			if err != nil {
				t.Fatal(err)
			}
			size += len(packet)
			content, err := packets.ReadPacket(bytes.NewReader(packet))
			if err != nil {
				t.Fatal(err)
			}
			got := content.Content.(*packets.Publish)
			topic := got.Topic
			if a := got.Properties.TopicAlias; a != nil {
				if *a == 0 || int(*a) > most {
					t.Fatalf("alias %d, and the broker allows %d", *a, most)
				}
				if topic == "" {
					topic = topics[*a]
				}
				topics[*a] = topic
			}
			if got.Topic != "" {
				names++
			}
			if topic != m.Topic || !bytes.Equal(got.Payload, m.Payload) {
				t.Fatalf("message %d on %q arrives on %q as %q", i, m.Topic, topic, got.Payload)
			}
		}
		if want := 100 - 18*min(most, 5); names != want { // each of 5 topics comes 20 times
			t.Errorf("%d aliases: %d topics in full, want %d; %d bytes", most, names, want, size)
		}
	}
}

// TestAMessageThatIsTooLargeIntroducesNoAlias: it is not sent.
func TestAMessageThatIsTooLargeIntroducesNoAlias(t *testing.T) {
	w := &wire5{topics: map[string]uint16{}, maxAlias: 10, maxPacket: 60}
	for _, n := range []int{1, 100, 1, 1} {
		packet, err := w.appendLocked(nil, Message{Topic: "porch/humidity", Payload: make([]byte, n)}, 1)
		if (err != nil) != (n == 100) {
			t.Errorf("%d bytes: % x, %v", n, packet, err)
		}
	}
	if w.aliases != 1 {
		t.Errorf("%d aliases", w.aliases)
	}
}

// TestTopicsOfOthersTakeNoAlias, nor memory: a client that gives orders names as many topics
// for the answers as it likes.
func TestTopicsOfOthersTakeNoAlias(t *testing.T) {
	w := &wire5{topics: map[string]uint16{}, maxAlias: 65_535}
	for i := range 1000 {
		for range 3 {
			m := Message{Topic: fmt.Sprintf("panel/answers/%d", i), Foreign: true}
			if _, err := w.appendLocked(nil, m, 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(w.topics) != 0 || w.aliases != 0 {
		t.Errorf("%d topics are known, and %d have an alias", len(w.topics), w.aliases)
	}
}

// TestTheBytesOfAReading says what an alias saves, with the payload of the documents.
func TestTheBytesOfAReading(t *testing.T) {
	const payload = `{"ts":1763640000123,"boot":"17-9f3c02ab","seq":41,"value":45.2,"unit":"%"}`
	bytesOf := func(topic string, most uint16) (last int) {
		w := &wire5{topics: map[string]uint16{}, maxAlias: most}
		for range 3 {
			packet, err := w.appendLocked(nil, Message{Topic: topic, Payload: []byte(payload)}, 7)
			if err != nil {
				t.Fatal(err)
			}
			last = len(packet)
		}
		return last
	}
	for topic, want := range map[string][2]int{
		"porch/humidity":                             {95, 84},
		"store-12/freezer_temperature":               {109, 84},
		"site/berlin-3/store-12/freezer_temperature": {123, 84},
	} {
		if got := [2]int{bytesOf(topic, 0), bytesOf(topic, 10)}; got != want {
			t.Errorf("%s: %v, want %v", topic, got, want)
		}
	}
}
