package main

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
)

// ranOn returns the report of a run in which one broker passed, one failed, and one was not
// installed.
func ranOn(t *testing.T) (*report, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	r := newReport(&out)
	r.broker(&mosquitto, "2.0.11")
	for _, name := range columns {
		r.tell(mosquitto.name, name, "", nil)
	}
	r.fact(mosquitto.name, "It answers a bad password with code 5.")
	r.broker(&nats, "2.15.0")
	r.tell(nats.name, caseWill, "", errors.New("no word\n\tits log ends with this"))
	r.broker(&rabbitmq, "")
	r.absent(rabbitmq.name, errors.New("not installed (apt-get install rabbitmq-server)"), false)
	return r, &out
}

func TestPageHasPassedFailedAndSkippedBrokers(t *testing.T) {
	r, _ := ranOn(t)
	page := string(r.page())
	for _, want := range []string{
		"| Mosquitto | 2.0.11 |" + strings.Repeat(" ok |", len(columns)) + "\n",
		"\nFailed: will: no word.\n",
		"| RabbitMQ |  |" + strings.Repeat(" not run |", len(columns)) + "\n",
		"\nNot run: not installed (apt-get install rabbitmq-server).\n",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	// The page is wrapped, so a fact may be on two lines.
	if fact := "It answers a bad password with code 5."; !strings.Contains(strings.Join(strings.Fields(page), " "), fact) {
		t.Errorf("the page lacks %q", fact)
	}
	if n := strings.Count(page, "**failed**"); n != 1 {
		t.Errorf("failed %d times in\n%s", n, page)
	}
	if strings.Contains(page, "its log") {
		t.Error("the page holds the end of a log")
	}
}

func TestPageDoesNotDependOnTheOrderOfCases(t *testing.T) {
	var pages []string
	facts := []string{"It does one thing.", "It does another."}
	for range 2 {
		r := newReport(&bytes.Buffer{})
		for _, f := range facts {
			r.fact(nats.name, "%s", f)
		}
		pages = append(pages, string(r.page()))
		slices.Reverse(facts)
	}
	if pages[0] != pages[1] {
		t.Errorf("%s\n\nis not\n\n%s", pages[0], pages[1])
	}
}

func TestPageReportsADurableBrokerWithoutLosses(t *testing.T) {
	const sentence = "What it had acknowledged outlived its SIGKILL."
	for _, held := range []bool{true, false} {
		r := newReport(&bytes.Buffer{})
		for _, name := range []string{caseCrash, caseDrain} {
			r.tell(mosquitto.name, name, "", nil) // it saves every second, so it is not durable
			r.tell(nats.name, name, "", nil)
		}
		if !held {
			r.tell(nats.name, caseDrain, "", errors.New("lost"))
		}
		if n := strings.Count(string(r.page()), sentence); (n == 1) != held || n > 1 {
			t.Errorf("held %v: said %d times", held, n)
		}
	}
}

func TestReportCountsFailures(t *testing.T) {
	r, out := ranOn(t)
	if status := r.end(); status != 1 {
		t.Errorf("status %d after a failure", status)
	}
	if want := "9 passed, 1 failed\n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("%s\ndoes not end with %q", out, want)
	}
	if !r.failedAt(nats.name, caseWill) || r.failedAt(mosquitto.name, caseWill) || r.failedAt(rabbitmq.name, caseWill) {
		t.Error("failedAt is true for another case than the one that failed")
	}
	if newReport(out).end() != 1 {
		t.Error("nothing was run, and the status is 0")
	}
}

func TestMissingBrokerFailsInCI(t *testing.T) {
	r := newReport(&bytes.Buffer{})
	r.absent(nats.name, errors.New("not installed"), true)
	r.check(true, "another")
	if r.end() != 1 {
		t.Error("status 0")
	}
}

func TestOnlyKnownNamesCanBeChosen(t *testing.T) {
	for _, c := range []struct {
		only string
		all  bool
		want string // of the error, if it begins with -only
	}{
		{"", false, "Mosquitto,NATS,mochi,RabbitMQ,consumers"},
		{"", true, "Mosquitto,NATS,mochi,RabbitMQ,ActiveMQ,ejabberd,aedes,consumers"},
		{"aedes,consumers", false, "aedes,consumers"},
		{"aedes,HiveMQ", false, `-only: there is no "HiveMQ"`},
	} {
		names, err := choose(c.only, c.all)
		got := strings.Join(names, ",")
		if err != nil {
			got = err.Error()
		}
		if got != c.want && (err == nil || !strings.HasPrefix(got, c.want)) {
			t.Errorf("-only %q, -all %v: %s, want %s", c.only, c.all, got, c.want)
		}
	}
}

// TestPageHasTheTextOfTheSources: the text in the sources equals that in the page
// between two runs of all brokers.
func TestPageHasTheTextOfTheSources(t *testing.T) {
	text, err := os.ReadFile("../../docs/brokers.md")
	if err != nil {
		t.Fatal(err)
	}
	parts := []string{pageHead, pageTail}
	for _, k := range kinds {
		parts = append(parts, k.notes)
	}
	for _, part := range parts {
		if !strings.Contains(words(string(text)), words(part)) {
			t.Errorf("docs/brokers.md lacks\n%s", part)
		}
	}
}

// words is a text independent of its line breaks.
func words(s string) string { return strings.Join(strings.Fields(s), " ") }
