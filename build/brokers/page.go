package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-iot/holdfast/build/markdown"
)

// columns are the cases of the table, in its order.
var columns = []string{caseOutage, caseRestart, caseCrash, caseDrain, caseForgets, casePassword, caseTakeOver, caseWill, caseGoodbye}

const pageHead = `# Brokers

holdfast speaks MQTT 3.1.1. This page was made by

    build/brokers/run -all -docs docs/brokers.md

which runs the real program, with TLS and a password, against each of these brokers. CI does so with the first four. Do not edit
this page: edit ` + "`build/brokers`" + `.

"ok" says that every reading arrived that the broker had not acknowledged, in the order of its stream, and that what the column
is named after was seen; ` + "`build/brokers/README.md`" + ` says it case by case. Other brokers could not be installed by package, and were
not run.

`

// page is docs/brokers.md, made from the run, and wrapped.
func (r *report) page() []byte {
	var b bytes.Buffer
	b.WriteString(pageHead)
	fmt.Fprintf(&b, "| broker | version | %s |\n|---|---|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
	for _, k := range kinds {
		fmt.Fprintf(&b, "| %s | %s |", k.name, r.versions[k.name])
		for _, name := range columns {
			fmt.Fprintf(&b, " %s |", r.word(k.name, name))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n## What each of them does to you\n")
	for _, k := range kinds {
		r.paragraph(&b, &k)
	}
	b.WriteString(pageTail)
	return []byte(markdown.Wrap(b.String()))
}

// paragraph is what is known of a broker, what this run has shown, and why a word
// in its row is not "ok".
func (r *report) paragraph(b *bytes.Buffer, k *kind) {
	fmt.Fprintf(b, "\n**%s** (%s). %s", k.name, k.source, k.notes)
	for _, fact := range slices.Sorted(slices.Values(r.facts[k.name])) {
		fmt.Fprintf(b, " %s", fact)
	}
	if k.durable && r.cells[k.name][caseCrash].held && r.cells[k.name][caseDrain].held {
		b.WriteString(" What it had acknowledged outlived its SIGKILL.")
	}
	b.WriteString("\n")
	if why, ok := r.missing[k.name]; ok {
		fmt.Fprintf(b, "\nNot run: %v.\n", why)
	}
	for _, name := range append([]string{caseStart, caseEnd}, columns...) {
		if c, ok := r.cells[k.name][name]; ok && !c.held {
			fmt.Fprintf(b, "\nFailed: %s: %s.\n", name, c.why)
		}
	}
}

// word is a cell of the table.
func (r *report) word(broker, name string) string {
	c, ok := r.cells[broker][name]
	switch {
	case !ok:
		return "not run"
	case c.held:
		return "ok"
	}
	return "**failed**"
}

const pageTail = `
## The pace of a backlog

A broker takes a backlog faster than a subscriber does. It queues messages for the subscriber up to a limit, drops what comes
beyond it, and has acknowledged all of them: nobody can tell from the acknowledgements. Of 20,000 readings after an outage, an
ordinary Python subscriber got a third from Mosquitto at its defaults, and half from EMQX.

So holdfast paces a backlog: 500 readings at once, then 250 a second, or twice what the node produces where that is more. Alarms,
states, and what is measured while there is no backlog are not paced. ` + "`agent/info`" + ` says which pace is in force:
` + "`\"drain\":{\"rate\":\"auto\",\"per_second\":250,\"burst\":500}`" + `, or ` + "`\"drain\":{\"rate\":50}`" + `; 0 is no pace at all.

- Slow subscribers (more than 4 ms for a message), or many nodes that come back together: set ` + "`drain: {rate: N}`" + `, so that all nodes
  together stay below what the slowest subscriber takes.
- ` + "`drain: {rate: 0}`" + ` sends as fast as the link takes it. Use it only where the broker has no limit:

| broker | the limit for each subscriber, by default | set it to |
|---|---|---|
| Mosquitto | ` + "`max_queued_messages`" + ` 1000 | ` + "`max_queued_messages 0`" + `: no limit. 2.0.11 then closes the connection for a publish that its access list denies |
| EMQX | ` + "`mqtt.max_mqueue_len`" + ` 1000 | ` + "`infinity`" + `; leave ` + "`drain.window`" + ` at 20: with 200 it ended the session of a subscriber (` + "`force_shutdown`" + `) |
| HiveMQ | ` + "`queued-messages.max-queue-size`" + ` 1000 | as many as an outage makes |
| VerneMQ | ` + "`max_online_messages`" + `, ` + "`max_offline_messages`" + ` 1000 | -1: no limit |
| mochi, ` + "`server: embedded`" + ` | ` + "`MaximumClientWritesPending`" + ` 8192 | in the embedded broker it is fixed |

HiveMQ and VerneMQ were not run: their rows are from their documentation. NATS, RabbitMQ and ActiveMQ keep what waits for a
persistent session on disk; what an operator limits there (` + "`max-length`" + ` policies, stream limits) drops readings too.

## Brokers without retained messages

Some brokers keep no retained messages (Mosquitto with ` + "`retain_available false`" + `, some services). With MQTT 3.1.1 they can only close
the connection, because of the will already. With ` + "`mqtt.retain: false`" + ` nothing is sent to be retained. What is lost:

- Who subscribes to states, ` + "`agent/status`" + `, ` + "`agent/info`" + ` or ` + "`agent/health`" + ` sees nothing until the next one comes. States come with each
  change and each connect; ` + "`report: {at_least: 10m}`" + ` bounds the wait.
- Who was not connected when the will was sent does not learn that the node is gone.
- Home Assistant is told of the entities when the agent connects and when Home Assistant has started, and gets their states five
  seconds later. An entity that is no longer configured stays until it is deleted there, and so does an old state on a broker that
  did retain before. ` + "`holdfast ha clear`" + ` has nothing to clear.
- Nobody notices a second client with our client ID.

Readings, alarms and events do not need it: they are never retained. QoS 1 is needed: without acknowledgements nobody knows what
has arrived. A broker that takes QoS 0 alone (Mosquitto with ` + "`max_qos 0`" + `) cannot be used.

## What no broker can promise

- An acknowledgement says that the broker has the reading, not that a recorder has it. A broker that keeps sessions in memory
  forgets who subscribed when it restarts, and acknowledges readings that nobody gets until the subscriber is back. ` + "`seq`" + ` counts
  without holes, so a recorder sees that it missed some.
- MQTT 3.1.1 has no answer for "not allowed to publish here": some brokers acknowledge what their access list denies, and drop it.
- Everything arrives at least once. ` + "`(client_id, stream, boot, seq)`" + ` is the key to drop duplicates by: [consumers](consumers.md).
- Two programs with one client ID push each other off, with every broker.
`
