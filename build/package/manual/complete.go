package main

import (
	"fmt"
	"strings"
)

// names joins the words that a shell offers.
func names[T any](all []T, name func(T) string) string {
	var text []string
	for _, one := range all {
		text = append(text, name(one))
	}
	return strings.Join(text, " ")
}

func dashed(o option) string { return "-" + o.name }
func spelled(w word) string  { return w.name }

// takesFile reports whether the value is a file name.
func (o option) takesFile() bool { return strings.Contains(o.value, "file") }

// function is the name of the completion function for bash and zsh.
func (p program) function() string { return "_" + strings.ReplaceAll(p.name, "-", "_") }

// bash completes commands, then the verbs and options of the command, and files for an
// option that takes one.
func (p program) bash() string {
	var b strings.Builder
	fmt.Fprintf(&b, `# bash completion of %s(1), made from its usage texts.
%s() {
	local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words=
	if [ "$COMP_CWORD" -eq 1 ]; then
`, p.name, p.function())
	fmt.Fprintf(&b, "\t\twords=%q\n\telse\n\t\tcase ${COMP_WORDS[1]}:$before in\n",
		names(p.commands, func(c command) string { return c.name })+" help")
	for _, c := range p.commands {
		for _, f := range c.flags {
			switch {
			case f.takesFile():
				fmt.Fprintf(&b, "\t\t%s:-%s) COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n", c.name, f.name)
			case f.value != "":
				fmt.Fprintf(&b, "\t\t%s:-%s) return ;;\n", c.name, f.name)
			}
		}
	}
	b.WriteString("\t\tesac\n\t\tcase ${COMP_WORDS[1]} in\n")
	for _, c := range p.commands {
		fmt.Fprintf(&b, "\t\t%s) words=%q ;;\n", c.name,
			strings.TrimSpace(names(c.verbs, spelled)+" "+names(c.flags, dashed)))
	}
	fmt.Fprintf(&b, "\t\tesac\n\tfi\n\tCOMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n}\ncomplete -F %s %s\n",
		p.function(), p.name)
	return b.String()
}

// zsh completes the same, with descriptions.
func (p program) zsh() string {
	var b strings.Builder
	fmt.Fprintf(&b, "#compdef %[1]s\n# Made from the usage texts of %[1]s(1).\n%[2]s() {\n"+
		"\tlocal -a commands verbs\n\tcommands=(\n", p.name, p.function())
	for _, c := range p.commands {
		fmt.Fprintf(&b, "\t\t%s\n", quoted(c.name+":"+c.does))
	}
	b.WriteString("\t)\n\tif (( CURRENT == 2 )); then\n\t\t_describe command commands\n\t\treturn\n\tfi\n" +
		"\tlocal command=$words[2]\n\tshift words\n\t(( CURRENT-- ))\n\tcase $command in\n")
	for _, c := range p.commands {
		fmt.Fprintf(&b, "\t%s)\n", c.name)
		if len(c.verbs) > 0 {
			b.WriteString("\t\tverbs=(\n")
			for _, v := range c.verbs {
				fmt.Fprintf(&b, "\t\t\t%s\n", quoted(v.name+":"+v.does))
			}
			b.WriteString("\t\t)\n")
		}
		b.WriteString("\t\t_arguments")
		for _, f := range c.flags {
			spec := "-" + f.name + "[" + strings.NewReplacer("[", "(", "]", ")", ":", ",").Replace(f.does) + "]"
			switch {
			case f.takesFile():
				spec += ":" + f.value + ":_files"
			case f.value != "":
				spec += ":" + f.value + ": "
			}
			fmt.Fprintf(&b, " \\\n\t\t\t%s", quoted(spec))
		}
		if len(c.verbs) > 0 {
			b.WriteString(" \\\n\t\t\t'1: :{_describe verb verbs}'")
		}
		b.WriteString(" ;;\n")
	}
	fmt.Fprintf(&b, "\tesac\n}\n%s \"$@\"\n", p.function())
	return b.String()
}

// fish completes the same.
func (p program) fish() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Made from the usage texts of %[1]s(1).\ncomplete -c %[1]s -f\n", p.name)
	for _, c := range p.commands {
		fmt.Fprintf(&b, "complete -c %s -n __fish_use_subcommand -a %s -d %s\n", p.name, c.name, quoted(c.does))
	}
	for _, c := range p.commands {
		in := "complete -c " + p.name + " -n '__fish_seen_subcommand_from " + c.name + "'"
		for _, v := range c.verbs {
			fmt.Fprintf(&b, "%s -a %s -d %s\n", in, v.name, quoted(v.does))
		}
		for _, f := range c.flags {
			fmt.Fprintf(&b, "%s -o %s", in, f.name)
			switch {
			case f.takesFile():
				b.WriteString(" -r -F")
			case f.value != "":
				b.WriteString(" -x")
			}
			fmt.Fprintf(&b, " -d %s\n", quoted(f.does))
		}
	}
	return b.String()
}

// quoted is a text in single quotes, in the syntax of all three shells.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
