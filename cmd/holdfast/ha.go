package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/control"
	"github.com/holdfast-iot/holdfast/config"
)

// One round trip a topic: this is enough for a thousand topics on a slow link.
const forgetTime = 5 * time.Minute // for the whole of ha clear: one round trip a topic

// runHA shows or clears what Home Assistant knows of this node. The verb may have flags on
// both sides, as in holdfast queue. The verb is checked before its flags, so that the error
// is about the first mistake.
func runHA(ctx context.Context, args []string) error {
	f := flags("ha")
	path := configFlag(f)
	f.Usage = func() {
		fmt.Fprint(f.Output(), "Usage: holdfast ha [-c FILE] VERB\n\n"+
			"  show     prints the announcement to Home Assistant, as JSON\n"+
			"  clear    makes the broker, and so Home Assistant, forget this node: "+
			"for one that is taken out of service\n\n")
		f.PrintDefaults()
	}
	// All arguments are accepted here: the flags of the verb are among them.
	if err := parse(f, args, 1<<16); err != nil {
		return err
	}
	verb := f.Arg(0)
	// Flags after an unknown verb are not parsed.
	if verb != "show" && verb != "clear" {
		return usageError{errors.New("ha needs a verb, one of show, clear; see holdfast ha -h")}
	}
	if err := parse(f, f.Args()[1:], 0); err != nil { // flags after the verb
		return err
	}
	if verb == "show" {
		return showHA(ctx, *path)
	}
	return clearHA(ctx, *path)
}

// showHA prints the announcement, and warns about parts that Home Assistant would refuse.
// It opens no device and no secret, so it works without a broker. The message goes to
// standard output and everything else to standard error, so that the output can be piped
// into a JSON tool.
func showHA(ctx context.Context, path string) error {
	cfg, err := config.Load(ctx, path)
	if err != nil {
		return err
	}
	// They are not in the file, but in the announcement.
	describe(&cfg)
	// The message is the same whether it is published or not.
	m := cfg.Uplink.Discovery()
	if !cfg.Uplink.HomeAssistant.Discovery {
		fmt.Fprintf(stderr, "holdfast: nothing is announced: "+
			"home_assistant: {discovery: true} would publish this to %s\n", m.Topic)
	}
	for _, w := range cfg.Warnings { // among them classes that Home Assistant refuses
		fmt.Fprintln(stderr, "warning:", w)
	}
	var text bytes.Buffer
	if err := json.Indent(&text, m.Payload, "", "  "); err != nil {
		panic("holdfast: ha: " + err.Error()) // it was marshalled a moment ago
	}
	fmt.Fprintln(stdout, text.String())
	return nil
}

// clearHA clears the retained messages of this node on the broker, and prints each topic.
// If an agent runs, it does not clear the status, and the agent will publish its states
// again: the last line says so. It connects with the client ID of the node, so that the
// broker's access list allows it, and ends after forgetTime at the latest. After an error,
// topics that were cleared stay cleared.
func clearHA(ctx context.Context, path string) error {
	cfg, err := load(ctx, path)
	if err != nil {
		return err
	}
	// Its retained messages are in the memory of the agent.
	if cfg.Embedded != nil {
		return usageError{errors.New("the embedded broker keeps nothing after the agent ends: " +
			"there is nothing to clear")}
	}
	// An agent that cannot be asked counts as running: its status stays.
	_, err = control.Ask(cfg.Queue.Path, control.Stats)
	running := !errors.Is(err, control.ErrNotRunning)
	ctx, cancel := context.WithTimeout(ctx, forgetTime)
	defer cancel()
	// The topics that were cleared are printed even after an error. The status of a running
	// agent is not cleared, because it is correct.
	topics, err := cfg.Uplink.Forget(ctx, !running)
	for _, t := range topics {
		fmt.Fprintln(stdout, oneLine(t)) // it may come from a forged birth message
	}
	if err != nil {
		return err
	}
	if running { // the agent publishes again what was cleared
		fmt.Fprintln(stderr, "holdfast: the agent runs: it publishes each state again with the next reading, "+
			"and all of them when it connects; stop it before, if it is not to come back")
	}
	return nil
}
