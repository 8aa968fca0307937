package main

import (
	"fmt"
	"strings"
)

// page is holdfast(1).
func (p program) page(e edition) string {
	var b strings.Builder
	heading(&b, "holdfast", "sensors of a Raspberry Pi over MQTT", e)
	b.WriteString(".SH SYNOPSIS\n.B holdfast\n.I COMMAND\n.RI [ OPTION... ]\n.SH DESCRIPTION\n" +
		"Reads sensors on a Raspberry Pi and publishes them over MQTT, and keeps on disk\n" +
		"what a dead network could not take.\n.PP\n")
	b.WriteString(roff(strings.TrimSpace(p.closing)) + "\n.SH COMMANDS\n")
	for _, c := range p.commands {
		fmt.Fprintf(&b, ".TP\n.BR holdfast\\-%s (1)\n%s\n", roff(c.name), roff(c.does))
	}
	b.WriteString(`.SH EXIT STATUS
.TP
0
It is done.
.TP
1
It could not be done.
.TP
2
The user has to change something, such as the configuration.
.SH FILES
.TP
.I /etc/holdfast/config.yaml
The configuration. All its keys are in
.IR /usr/share/doc/holdfast/configuration.md.gz .
.TP
.I /etc/holdfast/mqtt.password
The password, on the first line.
.TP
.I /var/lib/holdfast/queue.db
What waits for the network.
.SH SEE ALSO
`)
	for i, c := range p.commands {
		end := " ,"
		if i == len(p.commands)-1 {
			end = ""
		}
		fmt.Fprintf(&b, ".BR holdfast\\-%s (1)%s\n", roff(c.name), end)
	}
	return b.String()
}

// page is the page of one command.
func (c command) page(e edition) string {
	var b strings.Builder
	heading(&b, "holdfast-"+c.name, c.does, e)
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n.SH DESCRIPTION\n%s.\n", roff(c.usage), roff(sentence(c.does)))
	if len(c.verbs) > 0 {
		b.WriteString(".SH VERBS\n")
		for _, v := range c.verbs {
			fmt.Fprintf(&b, ".TP\n.B %s\n%s.\n", roff(v.name), roff(sentence(v.does)))
		}
	}
	if len(c.flags) > 0 {
		b.WriteString(".SH OPTIONS\n")
	}
	for _, f := range c.flags {
		if f.value == "" {
			fmt.Fprintf(&b, ".TP\n.B \\-%s\n%s.\n", roff(f.name), roff(sentence(f.does)))
		} else {
			fmt.Fprintf(&b, ".TP\n.BI \\-%s \" %s\"\n%s.\n", roff(f.name), roff(f.value), roff(sentence(f.does)))
		}
	}
	b.WriteString(".SH SEE ALSO\n.BR holdfast (1)\n")
	return b.String()
}

func heading(b *strings.Builder, name, does string, e edition) {
	fmt.Fprintf(b, ".TH %s 1 %s \"holdfast %s\" \"holdfast\"\n.SH NAME\n%s \\- %s\n",
		strings.ToUpper(roff(name)), e.date, e.version, roff(name), roff(does))
}

// roff keeps a text from being read as instructions.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	return text
}

func sentence(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + strings.TrimSuffix(text[1:], ".")
}
