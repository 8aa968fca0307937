package main

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-iot/holdfast/build/rig/rawmqtt"
)

// answersOf returns a cell for each question.
func answersOf(word string) (cells []string) {
	for range questions {
		cells = append(cells, word)
	}
	return cells
}

func TestAnswersAreParsedFromThePage(t *testing.T) {
	r := newReport(&bytes.Buffer{})
	r.broker(&mosquitto, "2.0.11")
	r.broker(&nats, "2.15.0")
	r.answered(mosquitto.name, rawmqtt.V5, answersOf("PUBACK 0x87"), nil)
	r.answered(nats.name, rawmqtt.V5, []string{"not spoken: CONNACK 0x01"}, nil)
	r.answered(mochi.name, rawmqtt.V5, nil, errors.New("quota: no answer"))
	page := r.answerTable()
	for _, c := range []struct {
		broker  string
		version rawmqtt.Version
		want    []string
	}{
		{mosquitto.name, rawmqtt.V5, answersOf("PUBACK 0x87")},
		{mosquitto.name, rawmqtt.V3, []string{"not run"}},
		{nats.name, rawmqtt.V5, []string{"not spoken: CONNACK 0x01"}},
		{mochi.name, rawmqtt.V5, []string{"not run"}},
		{"HiveMQ", rawmqtt.V5, nil},
	} {
		if got := cellsOf(page, c.broker, c.version); !slices.Equal(got, c.want) {
			t.Errorf("%s, MQTT %v: %q, want %q", c.broker, c.version, got, c.want)
		}
	}
}

func TestDifferentAnswerThanThePageFails(t *testing.T) {
	var out bytes.Buffer
	r := newReport(&out)
	r.answered(mosquitto.name, rawmqtt.V5, answersOf("PUBACK"), nil)
	page := r.answerTable()
	if r.compare(page); r.failed != 0 {
		t.Errorf("the same answers fail:\n%s", &out)
	}
	other := answersOf("PUBACK")
	other[1] = "closed"
	r.answered(mosquitto.name, rawmqtt.V5, other, nil)
	if r.compare(page); r.failed != 1 || !strings.Contains(out.String(), `denied: "closed", and the page says "PUBACK"`) {
		t.Errorf("%d failed:\n%s", r.failed, &out)
	}
}

func TestSharesDescribeTheDivision(t *testing.T) {
	for _, c := range []struct {
		one, two int
		want     string
	}{
		{10, 10, "shared"}, {19, 1, "shared"}, {20, 0, "one gets all"}, {20, 20, "granted, and not shared"},
		{0, 0, "granted, and nothing delivered"}, {13, 6, "shared"}, {13, 20, "13 and 20 of 20"},
	} {
		if got := shares(c.one, c.two, 20); got != c.want {
			t.Errorf("%d and %d: %q, want %q", c.one, c.two, got, c.want)
		}
	}
}

// TestThePageHasARowForEachBroker: the table in docs/brokers.md comes from a run with all
// brokers.
func TestThePageHasARowForEachBroker(t *testing.T) {
	page, err := os.ReadFile("../../docs/brokers.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range kinds {
		for _, v := range []rawmqtt.Version{rawmqtt.V3, rawmqtt.V5} {
			if cells := cellsOf(string(page), k.name, v); len(cells) == 0 || cells[0] == "not run" {
				t.Errorf("%s, MQTT %v: %q in docs/brokers.md", k.name, v, cells)
			}
		}
	}
	if !strings.Contains(words(string(page)), words(answersHead)) {
		t.Error("docs/brokers.md lacks the text of answershead.md")
	}
}
