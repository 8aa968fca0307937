package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// usage has samples of the steady agent's resources.
type usage struct{ rss, threads, files []int }

func (u *usage) sample(pid int) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return
	}
	u.rss = append(u.rss, statusOf(string(text), "RssAnon:"))
	u.threads = append(u.threads, statusOf(string(text), "Threads:"))
	u.files = append(u.files, len(files))
}

// statusOf is the number after a key of /proc/PID/status.
func statusOf(text, key string) int {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, key); ok {
			n, _ := strconv.Atoi(strings.Fields(rest)[0])
			return n
		}
	}
	return 0
}

// report compares the second quarter of the time with the last one: caches are full by
// then. It is false if the agent grew by more than a fifth.
func (u *usage) report(w io.Writer) (flat bool) {
	flat = true
	for _, m := range []struct {
		name  string
		all   []int
		slack int // growth that is ignored
	}{{"RssAnon, kB", u.rss, 2048}, {"threads", u.threads, 3}, {"descriptors", u.files, 3}} {
		n := len(m.all) / 4
		if n == 0 {
			fmt.Fprintf(w, "%s: too few samples\n", m.name)
			continue
		}
		before, after := median(m.all[n:2*n]), median(m.all[3*n:])
		fmt.Fprintf(w, "%s of the steady agent: median %d in the second quarter, %d in the last, most %d\n", m.name,
			before, after, slices.Max(m.all))
		flat = flat && after <= before+max(before/5, m.slack)
	}
	return flat
}

func median(list []int) int {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[len(sorted)/2]
}
