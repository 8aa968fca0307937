package main

import (
	"fmt"
	"strings"
)

// An about has what the usage texts of a program do not contain. files is in the syntax of
// manual pages.
type about struct{ short, long, files string }

var abouts = map[string]*about{
	"holdfast": {
		short: "sensors of a Raspberry Pi over MQTT",
		long: "Reads sensors on a Raspberry Pi and publishes them over MQTT, and keeps on disk\n" +
			"what a dead network could not take.\n",
		files: `.TP
.I /etc/holdfast/config.yaml
The configuration. All its keys are in
.IR /usr/share/doc/holdfast/configuration.md.gz .
.TP
.I /etc/holdfast/mqtt.password
The password, on the first line.
.TP
.I /var/lib/holdfast/queue.db
What waits for the network.
`},
	"holdfast-recorder": {
		short: "stores what holdfast agents publish",
		long: "Stores every reading in SQLite or PostgreSQL, acknowledges it after COMMIT, and says\n" +
			"what is missing and why.\n",
		files: `.TP
.I /etc/holdfast/recorder.yaml
The configuration. All its keys are in
.IR /usr/share/doc/holdfast\-recorder/recorder.md.gz .
.TP
.I /etc/holdfast/recorder.password
The password, on the first line.
.TP
.I /var/lib/holdfast\-recorder/history.db
The readings.
`},
}

// page is the manual page of the program, such as holdfast(1).
func (p program) page(e edition) string {
	var b strings.Builder
	of := abouts[p.name]
	heading(&b, p.name, of.short, e)
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n.I COMMAND\n.RI [ OPTION... ]\n.SH DESCRIPTION\n%s.PP\n",
		roff(p.name), of.long)
	b.WriteString(roff(strings.TrimSpace(p.closing)) + "\n.SH COMMANDS\n")
	for _, c := range p.commands {
		fmt.Fprintf(&b, ".TP\n.BR %s (1)\n%s\n", roff(p.name+"-"+c.name), roff(c.does))
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
` + of.files + ".SH SEE ALSO\n")
	for i, c := range p.commands {
		end := " ,"
		if i == len(p.commands)-1 {
			end = ""
		}
		fmt.Fprintf(&b, ".BR %s (1)%s\n", roff(p.name+"-"+c.name), end)
	}
	return b.String()
}

// page is the manual page of one command.
func (c command) page(e edition) string {
	var b strings.Builder
	heading(&b, c.program+"-"+c.name, c.does, e)
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
	fmt.Fprintf(&b, ".SH SEE ALSO\n.BR %s (1)\n", roff(c.program))
	return b.String()
}

func heading(b *strings.Builder, name, does string, e edition) {
	fmt.Fprintf(b, ".TH %s 1 %s \"holdfast %s\" \"holdfast\"\n.SH NAME\n%s \\- %s\n",
		strings.ToUpper(roff(name)), e.date, e.version, roff(name), roff(does))
}

// roff escapes a text, so that no line of it is read as a request.
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
