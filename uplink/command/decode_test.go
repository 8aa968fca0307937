package command

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

var (
	lock  = Target{Topic: "porch/lock/set", Name: "lock"}
	panel = Target{Topic: "porch/alarm/set", Name: "alarm", Alarm: true}
)

func TestOrdersAreUnderstood(t *testing.T) {
	for _, c := range []struct {
		target  Target
		payload string
		want    Order
	}{
		{lock, "ON", Order{State: "ON"}},
		{lock, " OFF\n", Order{State: "OFF"}}, // as echo | mosquitto_pub -s sends it
		{lock, `{"state":"ON"}`, Order{State: "ON"}},
		{lock, `{"state":"ON","for":"30s","id":"a1","expires":1763640000123,"ts":1763640000000,"mac":"00"}`,
			Order{State: "ON", For: 30 * time.Second, ID: "a1"}},
		// Home Assistant's siren, with what it sends for a device without tones and volume, and with both
		{lock, `{"state": "ON", "duration": 30}`, Order{State: "ON", For: 30 * time.Second}},
		{lock, `{"state":"ON","tone":"fire","volume_level":0.5,"duration":1.5}`,
			Order{State: "ON", For: 1500 * time.Millisecond}},
		{lock, `{"state": "OFF"}`, Order{State: "OFF"}},
		{panel, "ARM_AWAY", Order{State: "ARM_AWAY"}},
		{panel, `{"action":"DISARM","code":"1234"}`, Order{State: "DISARM", Code: "1234"}},
		{panel, `{"state":"ARM_HOME","code":null,"bypass":["hall","front-door"]}`,
			Order{State: "ARM_HOME", Bypass: []string{"hall", "front-door"}}},
	} {
		got, err := Decode(c.target, []byte(c.payload))
		if err != nil {
			t.Errorf("%s: %v", c.payload, err)
			continue
		}
		if got.Target != c.target.Name || got.State != c.want.State || got.For != c.want.For || got.ID != c.want.ID ||
			got.Code != c.want.Code || strings.Join(got.Bypass, " ") != strings.Join(c.want.Bypass, " ") {
			t.Errorf("%s: %+v, want %+v", c.payload, got, c.want)
		}
	}
}

// noOrders are payloads that are no order, with a part of the reason.
var noOrders = []struct {
	target        Target
	payload, want string
}{
	{lock, "", "the payload is empty"},
	{lock, "on", `"on" is not an order: write ON, OFF`},
	{lock, "TOGGLE", `"TOGGLE" is not an order`},
	{lock, "ON OFF", `"ON OFF" is not an order`},
	{lock, `"ON"`, `"\"ON\"" is not an order`},
	{lock, "DISARM", "write ON, OFF"},
	{panel, "ON", "write ARM_AWAY, ARM_HOME, DISARM"},
	{panel, "TRIGGER", `this is not an order: write ARM_AWAY, ARM_HOME, DISARM`},
	{panel, "DISARM 1234", `this is not an order: write ARM_AWAY, ARM_HOME, DISARM`},
	{panel, `{"state":"1234"}`, `this is not an order: write ARM_AWAY, ARM_HOME, DISARM`},
	{lock, `{"state":"ON"`, "not valid JSON"},
	{lock, `{"state":"ON"} OFF`, "more behind"},
	{lock, `{"state":"ON"}{"state":"OFF"}`, "more behind"},
	{lock, `{}`, `"state" is missing`},
	{lock, `{"id":"a"}`, `"state" is missing`},
	{lock, `{"state":true}`, `"state" is not a text`},
	{lock, `{"State":"ON"}`, `an order has no "State"`}, // encoding/json alone would take it
	{lock, `{"state":"ON","state":"OFF"}`, `"state" stands twice`},
	{lock, `{"state":"ON","code":"1"}`, `an order has no "code"`},
	{lock, `{"state":"ON","action":"ON"}`, `an order has no "action"`},
	{panel, `{"state":"DISARM","action":"DISARM"}`, "leave one out"},
	{panel, `{"state":"ARM_AWAY","for":"1s"}`, `has no "for"`},
	{panel, `{"state":"ARM_AWAY","code":1234}`, `"code" is not a text`},
	{panel, `{"state":"ARM_AWAY","bypass":"hall"}`, "not a list"},
	{panel, `{"state":"ARM_AWAY","bypass":["a,b"]}`, "not a list"},
	{panel, `{"state":"DISARM","bypass":["a"]}`, "leaves nothing out"},
	{lock, `{"state":"ON","for":"30"}`, `"for" is neither`},
	{lock, `{"state":"ON","for":"-1s"}`, `"for" is neither`},
	{lock, `{"state":"ON","for":"0s"}`, `"for" is neither`},
	{lock, `{"state":"ON","duration":1e300}`, `"duration" is neither`},
	{lock, `{"state":"ON","duration":true}`, `"duration" is neither`},
	{lock, `{"state":"ON","for":"1s","duration":1}`, "leave one out"},
	{lock, `{"state":"OFF","for":"1s"}`, "OFF lasts"},
	{lock, `{"state":"ON","expires":"1763640000123"}`, `"expires" is not a time`},
	{lock, `{"state":"ON","expires":1763640000}`, "in seconds"},
	{lock, `{"state":"ON","expires":1.7e12}`, `"expires" is not a time`},
	{lock, `{"state":"ON","ts":-1}`, `"ts" is not a time`},
	{lock, `{"state":"ON","id":7}`, `"id" is not a text`},
	{lock, `{"state":"ON","id":"a\nb"}`, `"id" has other characters`},
	{lock, `{"state":"ON","id":"` + strings.Repeat("a", 65) + `"}`, `"id" has other characters`},
}

// TestTimeInThePastIsAccepted: 1 is a millisecond after 1970 and has expired.
func TestTimeInThePastIsAccepted(t *testing.T) {
	for text, want := range map[string]int64{"1": 1, "999999999": 999_999_999, "100000000000": 100_000_000_000} {
		o, err := Decode(lock, []byte(`{"state":"ON","expires":`+text+`}`))
		if err != nil || o.expires != want {
			t.Errorf("%s: %+v, %v", text, o, err)
		}
	}
}

func TestMalformedOrderIsRefusedWithAReason(t *testing.T) {
	for _, c := range noOrders {
		if _, err := Decode(c.target, []byte(c.payload)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.payload, err, c.want)
		}
	}
}

// FuzzDecode: whatever is published, an order that is understood is within its bounds,
// and an error repeats neither a code nor a mac.
func FuzzDecode(f *testing.F) {
	for _, payload := range []string{"ON", `{"state":"ON","for":"30s","id":"a1","expires":1763640000123,"mac":"ab"}`,
		`{"action":"DISARM","code":"471147"}`, `{"state":"ARM_AWAY","bypass":["hall"]}`, `{"code":471147}`,
		`{"mac":471147,"x":1}`, `{"state":"ON","duration":1e9}`, `{"code":"471147","code":"471147"}`} {
		f.Add(true, []byte(payload))
		f.Add(false, []byte(payload))
	}
	f.Fuzz(func(t *testing.T, alarm bool, payload []byte) {
		target := lock
		if alarm {
			target = panel
		}
		o, err := Decode(target, payload)
		if err != nil {
			checkReason(t, o, payload, err.Error())
			return
		}
		checkBounds(t, o, target)
	})
}

// checkReason: a reason is short, and does not repeat a code, unless it is written as a key.
func checkReason(t *testing.T, o Order, payload []byte, why string) {
	if len(why) > 400 {
		t.Errorf("a reason of %d bytes", len(why))
	}
	if len(o.Code) > 3 && strings.Contains(why, o.Code) && !bytes.Contains(payload, []byte(`"`+o.Code+`":`)) {
		t.Errorf("the reason repeats the code: %v", why)
	}
}

// checkBounds: an order is within its bounds, has what its target has, and is signed as
// five lines.
func checkBounds(t *testing.T, o Order, target Target) {
	if o.State == "" || o.For < 0 || o.For > maxFor || len(o.ID) > maxID || len(o.Bypass) > maxBypass {
		t.Errorf("out of bounds: %+v", o)
	}
	if target.Alarm && o.For != 0 || !target.Alarm && (o.Code != "" || o.Bypass != nil) {
		t.Errorf("the target %s has none of this: %+v", target.Name, o)
	}
	if text := o.signedText(target.Topic); strings.Count(text, "\n") != 4 {
		t.Errorf("%+v is signed as %q, which is not five lines", o, text)
	}
}
