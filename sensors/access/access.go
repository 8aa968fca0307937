// Package access opens a door for a card: a back end is asked, and where none answers a
// list on this machine decides.
//
// The question is the reading of the card reader, which goes the way of each reading. The
// answer is an order to the output of the door whose ID names the reading, see package
// command. [Doors] knows neither: it takes note of each card, waits for the answer as long
// as the link is up, and opens by the list otherwise. Whoever is first to decide about a
// card, nobody does again: there is one opening at most for each card shown.
package access

import (
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
)

// A Spec is one door as configured.
type Spec struct {
	Name      string
	Reader    string        // the stream of the card reader; its values are the numbers of cards
	Output    string        // what opens the door
	Open      time.Duration // for how long the list opens it; a back end says so itself
	ValidFor  time.Duration // after the card, until when an answer is taken
	Within    time.Duration // while the link is up: how long the back end is waited for; at most ValidFor
	AllowFile string        // of hashed numbers, see [ReadList]; empty: the back end alone decides
}

// Questions know which questions are open, and which were decided; a command.Memory is one.
// Its methods are called from several goroutines.
type Questions interface {
	// Ask takes note that an order with this ID is the answer to a question until then.
	Ask(output, id string, until time.Time)
	// Decide takes note that it was decided without an order. It reports false if an order
	// has been done.
	Decide(output, id, what string) bool
}

// Wiring connects the doors to the rest of the agent. Its functions must not block.
type Wiring struct {
	Boot      string // of this start of the agent, as in payloads
	Questions Questions
	Online    func() bool // the broker can be reached, as far as is known
	Do        func(outputs.Order)
	Report    func(sensors.Event) // must not block for long
	Now       func() clock.Stamp
	Log       *slog.Logger
}

// maxCards is how many cards wait to be looked up. A person needs a second for each.
const maxCards = 16

// Doors open by the list where nobody answers. Observe may be called from any goroutine
// and does not block; Run once.
type Doors struct {
	specs []Spec
	to    Wiring
	cards chan card    // holds maxCards
	done  chan opening // holds maxCards
}

// A card was shown.
type card struct {
	Spec
	id     string // of the question
	number string
	due    time.Time // when the list decides
}

// An opening is what an output answered to the list.
type opening struct {
	card
	who    string
	answer outputs.Answer
}

// New returns doors; Run opens them.
func New(specs []Spec, to Wiring) *Doors {
	return &Doors{specs: specs, to: to, cards: make(chan card, maxCards), done: make(chan opening, maxCards)}
}

// Observe takes note of a card, if the reading is that of a card reader. It has to be
// called before the reading is sent to the back end.
func (d *Doors) Observe(r sensors.Reading) {
	if r.Err != "" {
		return
	}
	for _, s := range d.specs {
		if s.Reader == r.Stream {
			d.shown(s, r)
		}
	}
}

// shown asks the question, and leaves the card to Run if there is a list.
func (d *Doors) shown(s Spec, r sensors.Reading) {
	now := time.Now()
	c := card{Spec: s, id: d.to.Boot + ":" + strconv.FormatUint(r.Seq, 10), due: now}
	d.to.Questions.Ask(s.Output, c.id, now.Add(s.ValidFor))
	if s.AllowFile == "" {
		return
	}
	const exact = 1 << 53 // beyond it not each whole number is a float64
	if r.Value != math.Trunc(r.Value) || r.Value < 0 || r.Value >= exact {
		d.to.Log.Warn("a card reader's value is not the number of a card", "stream", r.Stream, "seq", r.Seq)
		return
	}
	c.number = strconv.FormatFloat(r.Value, 'f', -1, 64)
	if d.to.Online() {
		c.due = now.Add(s.Within)
	}
	select {
	case d.cards <- c:
	default:
		d.to.Log.Warn("cards come faster than the list is searched: one is left out", "stream", r.Stream, "seq", r.Seq)
	}
}

// Run lets the list decide about cards until ctx is done.
func (d *Doors) Run(ctx context.Context) error {
	var waiting []card // those with a link: for their answer
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		next := time.Hour
		for _, c := range waiting {
			next = min(next, time.Until(c.due))
		}
		timer.Reset(next)
		select {
		case c := <-d.cards:
			if len(waiting) < maxCards {
				waiting = append(waiting, c)
			}
		case o := <-d.done:
			d.reportOpening(o)
		case <-timer.C:
		case <-ctx.Done():
			for len(d.done) > 0 { // only Run receives
				d.reportOpening(<-d.done)
			}
			return ctx.Err()
		}
		now := time.Now()
		for _, c := range waiting {
			if !now.Before(c.due) {
				d.decide(ctx, c)
			}
		}
		waiting = slices.DeleteFunc(waiting, func(c card) bool { return !now.Before(c.due) })
	}
}

// by is the cause of an opening by the list, as the reading of the output has it.
const by = "offline list"

// decide opens if the list has the card and no order came. A card that the list does not
// have stays a question: the back end may still know it.
func (d *Doors) decide(ctx context.Context, c card) {
	list, err := ReadList(ctx, c.AllowFile)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		d.to.Log.Error("the list of cards cannot be read: the door stays as it is", "door", c.Name, "err", err)
		d.report(c, "refused", "", "the list cannot be read")
		return
	}
	who, ok := list.Find(c.number)
	if !ok {
		d.report(c, "refused", "", "not on the list")
		return
	}
	if !d.to.Questions.Decide(c.Output, c.id, by) {
		return // an order has answered
	}
	// The event is made by Run: an answer must not block.
	d.to.Do(outputs.Order{Output: c.Output, On: true, For: c.Open, By: by, Answer: func(a outputs.Answer) {
		select {
		case d.done <- opening{c, who, a}:
		default:
			d.to.Log.Warn("answers come faster than they are reported: one is left out", "door", c.Name, "id", c.id)
		}
	}})
}

// reportOpening reports whether the output did what the list ordered.
func (d *Doors) reportOpening(o opening) {
	if o.answer.Done {
		d.report(o.card, "done", o.who, "")
		return
	}
	d.to.Log.Warn("the door does not open by the list", "door", o.Name, "why", o.answer.Why)
	d.report(o.card, "refused", o.who, o.answer.Why)
}

// report makes an event of a decision. It does not have the number of the card.
func (d *Doors) report(c card, result, who, why string) {
	text, err := json.Marshal(struct {
		Door   string `json:"door"`
		ID     string `json:"id"`
		Result string `json:"result"`
		By     string `json:"by"`
		Who    string `json:"who,omitempty"`
		Why    string `json:"why,omitempty"`
	}{c.Name, c.id, result, by, who, why})
	if err != nil {
		panic("access: event: " + err.Error()) // strings always marshal
	}
	d.to.Report(sensors.Event{Name: "access", At: d.to.Now(), Details: text})
}
