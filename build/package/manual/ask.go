package main

import (
	"fmt"
	"regexp"
	"strings"
)

// A program is the parsed usage texts of a program.
type program struct {
	name     string
	commands []command
	closing  string // the last paragraph of `holdfast help`
}

type command struct {
	word
	program string // the program that has the command
	usage   string // "holdfast queue [-c FILE] VERB"
	verbs   []word
	flags   []option
}

// A word is a command or a verb, with its description.
type word struct{ name, does string }

// An option is a flag. value is the name of its value, such as "file", empty for a switch.
type option struct{ name, value, does string }

// ask runs the help of the program and of each command. The help starts with "Usage: " and
// the program's name.
func ask(run func(args ...string) (string, error)) (program, error) {
	help, err := run("help")
	if err != nil {
		return program{}, err
	}
	p := program{closing: help[strings.LastIndex(strings.TrimSpace(help), "\n")+1:]}
	if m := nameLine.FindStringSubmatch(help); m != nil {
		p.name = m[1]
	}
	if abouts[p.name] == nil {
		return p, fmt.Errorf("the help does not begin with the name of a program that is known: %q", help)
	}
	for _, w := range words(help) {
		text, err := run(w.name, "-h")
		if err != nil {
			return p, err
		}
		p.commands = append(p.commands, parse(p.name, w, text))
	}
	if len(p.commands) == 0 {
		return p, fmt.Errorf("%s help names no command: %q", p.name, help)
	}
	return p, nil
}

var (
	nameLine   = regexp.MustCompile(`^Usage: (\S+) `)
	wordLine   = regexp.MustCompile(`(?m)^  ([a-z][a-z-]*) +(\S.*)$`)
	optionLine = regexp.MustCompile(`^  -([a-z0-9_-]+)(?: ([^\t]+))?(?:\t(.*))?$`)
)

func words(text string) (all []word) {
	for _, m := range wordLine.FindAllStringSubmatch(text, -1) {
		all = append(all, word{m[1], m[2]})
	}
	return all
}

// parse parses the output of package flag, and the list of verbs that some commands print
// before it.
func parse(program string, w word, text string) command {
	c := command{word: w, program: program, usage: program + " " + w.name + " [OPTION...]", verbs: words(text)}
	if first, _, _ := strings.Cut(text, "\n"); strings.HasPrefix(first, "Usage: ") {
		c.usage = strings.TrimPrefix(first, "Usage: ")
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if m := optionLine.FindStringSubmatch(line); m != nil {
			c.flags = append(c.flags, option{m[1], m[2], m[3]})
		} else if more, ok := strings.CutPrefix(line, "    \t"); ok && len(c.flags) > 0 {
			last := &c.flags[len(c.flags)-1]
			last.does = strings.TrimSpace(last.does + " " + more)
		}
	}
	return c
}
