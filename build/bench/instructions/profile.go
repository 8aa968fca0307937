package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// symbols are the functions of a program, sorted by address.
type symbols []symbol

type symbol struct {
	address uint64
	name    string
}

// parseSymbols parses the output of `go tool nm -sort address`: address, type, name.
func parseSymbols(table string) (s symbols, err error) {
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 3 || f[1] != "T" && f[1] != "t" {
			continue // undefined, or data
		}
		address, err := strconv.ParseUint(f[0], 16, 64)
		if err != nil {
			return nil, err
		}
		s = append(s, symbol{address, strings.Join(f[2:], " ")})
	}
	if len(s) == 0 {
		return nil, fmt.Errorf("the program has no symbols")
	}
	return s, nil
}

// at is the function at an address.
func (s symbols) at(address uint64) string {
	i, found := slices.BinarySearchFunc(s, address, func(s symbol, a uint64) int {
		switch {
		case s.address < a:
			return -1
		case s.address > a:
			return 1
		}
		return 0
	})
	if !found {
		i--
	}
	if i < 0 {
		return "outside the program"
	}
	return s[i].name
}

// A profile is the number of instructions by function.
type profile map[string]float64

// profile parses the plugin's output: a block's address, its instructions, its runs.
func (s symbols) profile(counts string) (profile, error) {
	p := profile{}
	for line := range strings.Lines(counts) {
		var address, instructions, runs uint64
		if _, err := fmt.Sscanf(line, "%x %d %d", &address, &instructions, &runs); err != nil {
			return nil, fmt.Errorf("the plugin wrote %q: %w", line, err)
		}
		p[s.at(address)] += float64(instructions * runs)
	}
	if len(p) == 0 {
		return nil, fmt.Errorf("the plugin counted nothing")
	}
	return p, nil
}

func (p profile) total() (sum float64) {
	for _, n := range p {
		sum += n
	}
	return sum
}

// minus is the difference to few for each of n readings.
func (p profile) minus(few profile, n int) profile {
	d := profile{}
	for name := range p {
		d[name] = (p[name] - few[name]) / float64(n)
	}
	for name := range few {
		if _, ok := p[name]; !ok {
			d[name] = -few[name] / float64(n)
		}
	}
	return d
}

// largest are the functions with the most instructions.
func (p profile) largest(n int) []string {
	names := make([]string, 0, len(p))
	for name := range p {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		switch {
		case p[a] > p[b]:
			return -1
		case p[a] < p[b]:
			return 1
		}
		return strings.Compare(a, b)
	})
	return names[:min(n, len(names))]
}

// median is the profile whose total is the median of all.
func median(all []profile) profile {
	slices.SortFunc(all, func(a, b profile) int {
		switch x, y := a.total(), b.total(); {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	return all[len(all)/2]
}
