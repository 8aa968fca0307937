// Package access opens a door for a card. It asks a back end; if there is no answer, a list on
// this machine decides.
//
// The question is the reading of the card reader, which is published like every reading. The
// answer is an order to the output of the door, whose ID names the reading: see package
// command. [Doors] does not know how they are sent: it notes each card, waits for the answer
// while the link is up, and otherwise opens the door by the list. Only the first decision about
// a card counts, so that a door opens at most once for each card that is shown.
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
	Open      time.Duration // how long the list opens it; the order of a back end has its own time
	ValidFor  time.Duration // how long after the card an answer is accepted
	Within    time.Duration // how long the list waits for the back end while the link is up; at most ValidFor
	AllowFile string        // path of the hashed numbers, see [ReadList]; empty: only the back end decides
}

// Questions knows which questions are open and which were decided; a command.Memory is one.
// Its methods are called from several goroutines.
type Questions interface {
	// Ask notes that an order with this ID is the answer to a question, until the given time.
	Ask(output, id string, until time.Time)
	// Decide notes that the question was decided without an order. It returns false if an order
	// was done already.
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

// maxCards is how many cards can wait for the list. A person needs a second for each.
const maxCards = 16

// Doors opens doors by the list if the back end does not answer. Observe may be called from
// any goroutine and does not block; Run is called once.
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

// New returns the doors of specs. Nothing opens before Run.
func New(specs []Spec, to Wiring) *Doors {
	return &Doors{specs: specs, to: to, cards: make(chan card, maxCards), done: make(chan opening, maxCards)}
}

// Observe notes a card if the reading is that of a card reader. It has to be called before the
// reading is published, so that an answer is never earlier than its question.
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

// shown opens the question, and passes the card to Run if there is a list.
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

// by is the cause of an opening by the list, for Reading.By of the output.
const by = "offline list"

// decide opens the door if the list has the card and no order came. For a card that is not on
// the list the question stays open: the back end may still answer.
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

// report reports a decision as an event, without the number of the card.
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
