package command

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

const (
	boot    = "17-9f3c02ab"
	earlier = "16-51d0c77e"
)

var key = []byte("correct horse battery staple")

// A bench is a checker in a synctest bubble, with the clock that it goes by.
type bench struct {
	*testing.T
	*Checker
	memory *Memory
	trust  clock.Quality
}

// newBench returns a checker that was granted its subscription long ago, in an agent that
// runs for long.
func newBench(t *testing.T, opt Options, asks bool) *bench {
	b := &bench{T: t, memory: NewMemory(boot), trust: clock.Synced}
	opt.Now = func() clock.Stamp { return clock.Stamp{Unix: time.Now().UnixMilli(), Clock: b.trust} }
	if opt.MaxAge == 0 {
		opt.MaxAge = 30 * time.Second
	}
	b.Checker = NewChecker(lock, asks, opt, b.memory)
	b.Checker.Subscribing(key, false)
	b.Checker.Granted()
	return b
}

// want checks an order, and compares the decision: "done" if it may be done, else the
// result, a blank, and how the reason begins.
func (b *bench) want(want, payload string, a ...any) {
	b.Helper()
	b.wantOf(want, Message{Payload: fmt.Appendf(nil, payload, a...)})
}

func (b *bench) wantOf(want string, m Message) {
	b.Helper()
	o, v := b.Checker.Check(m)
	got := string(v.Result) + " " + v.Why
	if v.Result == "" {
		b.Settle(o, "done")
		got = "done"
	}
	if !strings.HasPrefix(got, want) {
		b.Errorf("%s: %s, want %s", m.Payload, got, want)
	}
}

func in(d time.Duration) int64 { return time.Now().Add(d).UnixMilli() }

func bubble(t *testing.T, f func(t *testing.T)) { synctest.Test(t, f) }

func TestARetainedOrderIsNeverDone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBench(t, Options{}, false)
		time.Sleep(time.Hour)
		for range 10 {
			b.wantOf("refused retained", Message{Payload: []byte("ON"), Retained: true})
			b.wantOf("refused retained", Message{Payload: []byte(`{"state":"ON","id":"a"}`), Retained: true})
			time.Sleep(time.Second)
		}
		b.want("done", `{"state":"ON","id":"a"}`) // it did not use up the ID
	})
}

func TestAnOrderIsDoneOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBench(t, Options{}, false)
		time.Sleep(time.Hour)
		b.want("done", `{"state":"ON","id":"a"}`)
		for range 4 {
			b.want("duplicate done", `{"state":"ON","id":"a"}`)
		}
		b.want("duplicate done", `{"state":"OFF","id":"a"}`)
		b.want("done", `{"state":"OFF","id":"b"}`)

		b.Subscribing(key, false) // the link was away
		b.Granted()
		b.want("duplicate", `{"state":"ON","id":"a"}`)
		for i := range keptIDs {
			time.Sleep(time.Second)
			b.want("done", `{"state":"ON","id":"x%d"}`, i)
		}
		b.want("done", `{"state":"ON","id":"a"}`) // 64 others came since
	})
}

// TestKeptOrderOfAResumedSessionIsRefused: with MQTT 5 the session outlives a short loss of the link,
// and the broker sends what came meanwhile. An order that says how long it is valid may come.
func TestKeptOrderOfAResumedSessionIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBench(t, Options{}, true)
		time.Sleep(time.Hour)
		b.Subscribing(key, true)
		b.want("refused unsure", `{"state":"ON","id":"a"}`)
		b.want("done", `{"state":"ON","id":"b","expires":%d}`, in(time.Second))
		b.want("expired", `{"state":"ON","id":"c","ts":%d}`, in(-time.Minute))
		b.memory.Ask(lock.Name, boot+":7", time.Now().Add(time.Second))
		b.want("done", `{"state":"ON","id":"%s:7"}`, boot)
		b.Granted()
		b.want("refused unsure", `{"state":"ON","id":"a"}`) // behind the first of them
		time.Sleep(doubtPeriod)
		b.want("done", `{"state":"ON","id":"a"}`)
	})
}

func TestALateOrderIsNotDone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBench(t, Options{MaxAge: 30 * time.Second}, false)
		time.Sleep(time.Hour)
		b.want("done", `{"state":"ON","expires":%d}`, in(time.Millisecond))
		b.want("expired expires", `{"state":"ON","expires":%d}`, in(0))
		b.want("done", `{"state":"ON","ts":%d}`, in(-30*time.Second))
		b.want("expired ts", `{"state":"ON","ts":%d}`, in(-30*time.Second-time.Millisecond))
		b.want("expired expires", `{"state":"ON","ts":%d,"expires":%d}`, in(0), in(-time.Second))
		b.want("done", `{"state":"ON","ts":%d}`, in(time.Hour)) // the sender's clock is fast
	})
}

func TestExpiryNeedsASynchronizedClock(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBench(t, Options{}, false)
		time.Sleep(time.Hour)
		for _, b.trust = range []clock.Quality{clock.Unsynced, clock.Estimated} {
			b.want("refused clock: it is "+b.trust.String(), `{"state":"ON","expires":%d}`, in(time.Minute))
			b.want("refused clock", `{"state":"ON","expires":%d}`, in(-time.Minute))
			b.want("refused clock", `{"state":"ON","ts":%d}`, in(0))
			b.want("done", "ON")
			b.want("done", `{"state":"ON","id":"%v"}`, b.trust)
		}
	})
}

func TestOrderWithoutIDIsRefusedAfterSubscribing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBench(t, Options{}, false)
		time.Sleep(time.Hour)
		b.Subscribing(key, false)
		time.Sleep(time.Minute)
		b.want("refused unsure", "ON") // the broker has not granted it
		b.Granted()
		b.want("refused unsure", "ON")
		b.want("done", `{"state":"ON","id":"a"}`) // this start knows all that it has done
		time.Sleep(doubtPeriod - time.Millisecond)
		b.want("refused unsure", "ON")
		time.Sleep(time.Millisecond)
		b.want("done", "ON")
		b.wantOf("refused unsure", Message{Payload: []byte("ON"), Repeated: true})
		b.wantOf("done", Message{Payload: []byte(`{"state":"ON","id":"b"}`), Repeated: true})
	})
}

func TestOldIDIsRefusedAfterARestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBench(t, Options{}, false)
		b.want("refused unsure", `{"state":"ON","id":"a"}`)
		b.want("done", `{"state":"ON","id":"`+boot+`:7"}`) // it names this start
		b.want("refused unsure", `{"state":"ON","id":"`+earlier+`:7"}`)
		time.Sleep(doubtPeriod)
		b.want("done", `{"state":"ON","id":"a"}`)
		time.Sleep(time.Hour)
		b.want("expired the reading", `{"state":"ON","id":"`+earlier+`:7"}`)
	})
}

// signed is an order with a mac.
func signed(o, topic, id string, expires int64, state, extra string) string {
	h := hmac.New(sha256.New, key)
	fmt.Fprintf(h, "%s\n%s\n%d\n%s\n%s", topic, id, expires, state, extra)
	return fmt.Sprintf(`{"id":%q,"expires":%d,"mac":"%s",%s}`, id, expires, hex.EncodeToString(h.Sum(nil)), o)
}

// open is a signed order to open the lock for 5 s.
func open(id string, expires int64) string {
	return signed(`"state":"ON","for":"5s"`, lock.Topic, id, expires, "ON", "5s")
}

func TestMacCoversAllFields(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBench(t, Options{Signed: true}, false)
		time.Sleep(time.Hour)
		at := in(10 * time.Second)
		good := open("a", at)
		for _, c := range []struct{ why, payload string }{
			{"it is missing", "ON"},
			{"it is missing", `{"state":"ON","id":"a"}`},
			{"it is wrong", strings.Replace(good, `"id":"a"`, `"id":"b"`, 1)},
			{"it is wrong", strings.Replace(good, `"5s"`, `"50s"`, 1)},
			{"it is wrong", strings.Replace(good, fmt.Sprint(at), fmt.Sprint(at+1), 1)},
			{"it is wrong", strings.Replace(good, `,"for":"5s"`, "", 1)},
			{"it is wrong", strings.Replace(strings.Replace(good, `,"for":"5s"`, "", 1), `"ON"`, `"OFF"`, 1)},
			{"it is wrong", strings.Replace(good, `"mac":"`, `"mac":"00`, 1)},
			{"it is wrong", signed(`"state":"ON"`, "porch/siren/set", "a", at, "ON", "")},
			{"a signed order needs", `{"state":"ON","mac":"00"}`},
			{"it would be valid", open("c", in(31*time.Second))},
		} {
			b.want("refused mac: "+c.why, "%s", c.payload)
		}
		b.want("done", "%s", good)
		b.want("duplicate", "%s", good) // replayed
		time.Sleep(10 * time.Second)
		b.want("expired", "%s", good)
		b.trust = clock.Unsynced
		b.want("refused clock", "%s", good)
		b.Subscribing(nil, false)
		b.Granted()
		b.want("refused key", "%s", open("d", in(time.Second)))
	})
}

// TestASignedOrderIsNeverDoneAgain: not after 64 others, and not by the next start of
// the agent, which does not know it.
func TestASignedOrderIsNeverDoneAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const age = 5 * time.Minute
		b := newBench(t, Options{Signed: true, MaxAge: age}, false)
		time.Sleep(time.Hour)
		var all []string
		for i := range 3 * keptIDs {
			all = append(all, open(fmt.Sprint(i), in(age)))
			b.want("done", "%s", all[i])
			time.Sleep(time.Second)
		}
		b.want("duplicate", "%s", all[0])
		next := newBench(t, Options{Signed: true, MaxAge: age}, false)
		for range 2 * age / (100 * time.Millisecond) {
			for _, old := range []string{all[0], all[len(all)-1]} {
				if _, v := next.Checker.Check(Message{Payload: []byte(old)}); v.Result == "" {
					t.Fatalf("done again: %s", old)
				}
			}
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		next.want("done", "%s", open("new", in(10*time.Second)))
	})
}

func TestASignedOrderThatNamesThisStartIsDoneAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBench(t, Options{Signed: true}, true)
		b.memory.Ask("lock", boot+":1", time.Now().Add(10*time.Second))
		b.want("done", "%s", open(boot+":1", in(10*time.Second)))
		b.want("refused unsure", "%s", open("a", in(10*time.Second)))
		time.Sleep(25 * time.Second)
		b.want("done", "%s", open("b", in(10*time.Second)))
	})
}

func TestFloodIsRateLimited(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBench(t, Options{}, false)
		time.Sleep(time.Hour)
		done := 0
		for i := range 100_000 { // ten seconds of 10,000 a second
			if _, v := b.Checker.Check(Message{Payload: fmt.Appendf(nil, `{"state":"ON","id":"f%d"}`, i)}); v.Result == "" {
				done++
			} else if !strings.HasPrefix(v.Why, "too many") {
				t.Fatalf("%+v", v)
			}
			time.Sleep(100 * time.Microsecond)
		}
		if want := burst + 10*perSecond; done < want-1 || done > want+1 {
			t.Errorf("%d orders are done of a flood of 10 s, want %d", done, want)
		}
		if n := len(b.memory.targets["lock"].done); n > keptIDs {
			t.Errorf("%d IDs are kept", n)
		}
		time.Sleep(time.Second)
		b.want("done", "OFF")
	})
}

func TestALargeOrderIsNotRead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBench(t, Options{}, false)
		time.Sleep(time.Hour)
		b.want("refused too large", "%s", `{"state":"ON"`+strings.Repeat(" ", MaxPayload)+"}")
		b.want("done", "%s", `{"state":"ON"`+strings.Repeat(" ", MaxPayload-14)+"}")
	})
}

// TestAQuestionIsAnsweredOnce: by an order, or by who decides without one.
func TestAQuestionIsAnsweredOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBench(t, Options{}, true)
		time.Sleep(time.Hour)
		ask := func(seq int) { b.memory.Ask("lock", fmt.Sprintf("%s:%d", boot, seq), time.Now().Add(10*time.Second)) }
		order := func(want string, seq int) {
			t.Helper()
			b.want(want, `{"state":"ON","id":"%s:%d"}`, boot, seq)
		}
		order("expired the reading", 1) // nobody asked
		ask(1)
		order("done", 1)
		order("duplicate done", 1)
		if b.memory.Decide("lock", boot+":1", "offline list") {
			t.Error("decided twice")
		}
		ask(2)
		if !b.memory.Decide("lock", boot+":2", "offline list") {
			t.Error("nobody had decided")
		}
		order("duplicate offline list", 2)
		ask(3)
		time.Sleep(10 * time.Second)
		order("expired", 3)
		for seq := range 10 * maxAsks { // somebody plays with the reader
			ask(100 + seq)
		}
		if n := len(b.memory.targets["lock"].asks); n > maxAsks {
			t.Errorf("%d questions are kept", n)
		}
		time.Sleep(10 * time.Second)
		ask(4)
		order("done", 4)
		b.want("done", "ON") // a person, who was not asked
	})
}

// TestMacMatchesOtherPrograms: the value is from
//
//	printf 'porch/lock/set\na1\n1763640000123\nON\n5s' | openssl dgst -sha256 -hmac 'correct horse battery staple'
func TestMacMatchesOtherPrograms(t *testing.T) {
	o, err := Decode(lock, []byte(`{"state":"ON","for":"5s","id":"a1","expires":1763640000123,`+
		`"mac":"8328947984e72f9af0061c9d53a4d4d4c105cf22202afb29aceaba30d4be0854"}`))
	if err != nil || !o.isSigned(lock.Topic, key) {
		t.Errorf("%+v, %v", o, err)
	}
}

// BenchmarkAFlood is what an order costs that comes beyond the bound on the rate, and
// BenchmarkAnOrder one that is read and checked.
func BenchmarkAFlood(b *testing.B) { benchmark(b, `{"state":"ON","for":"30s"}`, false) }

func BenchmarkAnOrder(b *testing.B) { benchmark(b, `{"state":"ON","for":"30s"}`, true) }

func benchmark(b *testing.B, payload string, slowly bool) {
	j := NewChecker(lock, false, Options{MaxAge: time.Minute, Now: func() clock.Stamp { return clock.Stamp{} }},
		NewMemory(boot))
	j.Granted()
	j.granted = j.granted.Add(-time.Minute)
	m := Message{Payload: []byte(payload)}
	b.ReportAllocs()
	for b.Loop() {
		if slowly {
			j.tokens = 2
		}
		j.Check(m)
	}
}
