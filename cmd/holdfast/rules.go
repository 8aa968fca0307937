package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/config"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/arming"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
	"github.com/holdfast-iot/holdfast/sensors/rules"
)

// runRules replays readings through the rules and prints what would have happened. It
// switches no output and needs no agent.
func runRules(ctx context.Context, args []string) error {
	f := flags("rules")
	path := configFlag(f)
	armed := f.String("armed", "", "begin armed in this `mode`; else disarmed, until a reading of alarm says more")
	f.Usage = func() { rulesUsage(f) }
	if err := parse(f, args, math.MaxInt); err != nil {
		return err
	}
	if f.Arg(0) != "test" {
		return usageError{errors.New("rules needs a verb, which is test: holdfast rules test READINGS")}
	}
	if err := parse(f, f.Args()[1:], 1); err != nil { // flags after the verb
		return err
	}
	if f.NArg() == 0 {
		return usageError{errors.New("rules test needs a file of readings, such as holdfast queue export prints; " +
			"- is standard input")}
	}
	cfg, err := config.Load(ctx, *path)
	if err != nil {
		return err
	}
	p, err := newPlayer(cfg, *armed)
	if err != nil {
		return err
	}
	return p.playFile(f.Arg(0))
}

// rulesUsage prints the verb and the flags.
func rulesUsage(f *flag.FlagSet) {
	fmt.Fprintf(f.Output(), "Usage: holdfast rules test [-c FILE] [-armed MODE] READINGS\n\n"+
		"Plays readings (JSON Lines, as holdfast queue export prints them) through the rules of the\n"+
		"configuration, by the times of the readings, and prints what would have happened.\n\n")
	f.PrintDefaults()
}

// A played is one line of the file, in the form of the payload with its stream.
type played struct {
	Stream string   `json:"stream"`
	TS     int64    `json:"ts"`
	Value  *float64 `json:"value"`
	State  string   `json:"state"`
	Error  string   `json:"error"`
	By     string   `json:"by"`
}

// A player replays readings through the engine that the agent uses.
type player struct {
	engine  *rules.Engine
	streams map[string]sensors.Stream // that rules or the panel use, and the panel's own
	armed   string                    // the state at the start
	cfg     config.Config
	out     *bufio.Writer
	effects int
}

// newPlayer returns a player at its start.
func newPlayer(cfg config.Config, armed string) (*player, error) {
	p := &player{streams: map[string]sensors.Stream{}, armed: armed, cfg: cfg, out: bufio.NewWriter(stdout)}
	// Without these the output would be empty, and look like a success.
	switch {
	case len(cfg.Rules) == 0:
		return nil, usageError{errors.New("the configuration has no rules to test")}
	case armed != "" && cfg.Arming == nil:
		return nil, usageError{errors.New("-armed: the configuration has no arming block")}
	case armed != "" && !slices.Contains(cfg.Arming.Modes, armed):
		return nil, usageError{fmt.Errorf("-armed: there is no mode %q; known are %s", armed,
			strings.Join(cfg.Arming.Modes, ", "))}
	}
	// Only readings of these streams are stored: an export may have millions of others.
	wanted := map[string]bool{arming.StreamName: cfg.Arming != nil}
	for _, r := range cfg.Rules {
		for _, c := range r.Conditions() {
			wanted[c.Stream] = true
		}
	}
	if cfg.Arming != nil {
		for _, name := range append(slices.Clone(cfg.Arming.Ready), cfg.Arming.Key) {
			wanted[name] = true
		}
	}
	for _, st := range cfg.Uplink.Streams {
		if wanted[st.Name] {
			p.streams[st.Name] = st
		}
	}
	return p, nil
}

// playFile replays a file, - for standard input.
func (p *player) playFile(name string) error {
	in := io.Reader(os.Stdin)
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return usageError{err}
		}
		defer f.Close()
		in = f
	}
	all, err := p.read(in)
	if err != nil {
		return usageError{fmt.Errorf("%s:%w", name, err)}
	}
	p.play(all)
	if p.effects == 0 {
		fmt.Fprintf(stderr, "holdfast: %d readings of streams that rules look at, and no rule does anything\n", len(all))
	}
	return p.out.Flush()
}

// maxLine is the limit of a line in bytes: a reading has some hundred.
const maxLine = 1 << 20

// read returns the readings of the wanted streams, ordered by time. Events and gaps, which
// an export has too, have no stream.
func (p *player) read(in io.Reader) (all []played, err error) {
	// An export has the alarms first and then the rest, each of the two in order. So the
	// readings are sorted, and those of the same time keep the order of the file.
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	for n := 1; lines.Scan(); n++ {
		text := bytes.TrimSpace(lines.Bytes())
		if len(text) == 0 {
			continue
		}
		var r played
		if err := json.Unmarshal(text, &r); err != nil {
			return nil, fmt.Errorf("%d: is not a reading in JSON: %w", n, err)
		}
		st, counts := p.streams[r.Stream]
		switch {
		case !counts:
			continue
		case r.TS == 0:
			return nil, fmt.Errorf("%d: has no time: write \"ts\" in Unix milliseconds", n)
		case r.Value == nil && r.Error == "":
			return nil, fmt.Errorf("%d: has neither \"value\" nor \"error\"", n)
		case r.State == "" && r.Error == "":
			r.State = st.Word(*r.Value)
		}
		all = append(all, r)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf(" %w", err)
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].TS < all[j].TS })
	return all, nil
}

// play replays readings, and then what is due after the last of them.
func (p *player) play(all []played) {
	if len(all) == 0 {
		return
	}
	recorded := slices.ContainsFunc(all, func(r played) bool { return r.Stream == arming.StreamName })
	// The engine's clock is that of the readings, so a whole night is replayed at once.
	p.begin(time.UnixMilli(all[0].TS), recorded && p.cfg.Arming != nil)
	for _, r := range all {
		now := time.UnixMilli(r.TS)
		p.engine.Advance(now)
		if r.Stream == arming.StreamName && p.cfg.Arming != nil {
			p.arm(now, r)
		} else {
			p.engine.Observe(now, r.reading())
		}
		p.print()
	}
	// Delays and the siren time that have started run to their end, without further readings.
	for next := p.engine.Next(); !next.IsZero(); next = p.engine.Next() {
		p.engine.Advance(next)
		p.print()
	}
}

// begin creates the engine. If the file has readings of the panel, they decide when it was
// armed: they include the effects of its key switch and its exit delay.
func (p *player) begin(now time.Time, recorded bool) {
	// The options are a copy: cfg is not changed.
	var panel *arming.Panel
	var opt arming.Options
	if p.cfg.Arming != nil {
		opt = *p.cfg.Arming
		if recorded {
			opt.Exit, opt.Ready, opt.Key = 0, nil, ""
		}
		saved := arming.Saved{State: arming.Disarmed}
		if p.armed != "" {
			saved = arming.Saved{State: "armed_" + p.armed, Mode: p.armed}
		}
		panel = arming.NewPanel(opt, saved, now, 0, false)
	}
	p.engine = rules.NewEngine(p.cfg.Rules, panel, opt, now)
	p.engine.Take() // the initial state is no event
}

// arm sets the panel to armed or disarmed as recorded. The rules decide whether it is
// pending or triggered.
func (p *player) arm(now time.Time, r played) {
	if r.State == arming.Disarmed || strings.HasPrefix(r.State, "armed_") {
		p.engine.Order(now, arming.Order{To: r.State, By: r.By})
	}
}

// reading converts the line to a reading of the agent.
func (r played) reading() sensors.Reading {
	out := sensors.Reading{Stream: r.Stream, State: r.State, Err: r.Error}
	if r.Value != nil {
		out.Value = *r.Value
	}
	return out
}

// print prints what happened, one line each.
func (p *player) print() {
	p.engine.TakeFired() // discarded, as only the effects are printed: a file may have millions of readings
	for _, e := range p.engine.Take() {
		p.effects++
		name, what, by := "", "", ""
		switch {
		case e.Order != nil:
			name, what, by = e.Order.Output, orderText(*e.Order), e.Order.By
		case e.Change != nil:
			name, what, by = arming.StreamName, e.Change.State, e.Change.By
			if e.Change.For > 0 {
				what += " for " + clock.FormatDuration(e.Change.For)
			}
		case e.Gone != "":
			name, what, by = arming.StreamName, "rule is gone", e.Gone
		default:
			name, what, by = arming.StreamName, "not armed, "+e.Refused, "key"
		}
		fmt.Fprintf(p.out, "%s  %-12s %-24s %s\n", timeText(e.At.UnixMilli()), name, what, by)
	}
}

// orderText is an order as text.
func orderText(o outputs.Order) string {
	switch {
	case !o.On:
		return "off"
	case o.For > 0:
		return "on for " + clock.FormatDuration(o.For)
	}
	return "on"
}
