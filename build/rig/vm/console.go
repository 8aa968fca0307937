package vm

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"time"
)

// A Console is the machine's serial line: its lines so far, and a shell that runs commands
// once it has started. It is safe for concurrent use, except that commands come from one
// goroutine.
type Console struct {
	keyboard io.Writer
	log      io.Writer

	mu       sync.Mutex
	lines    []string
	part     string        // the last line, while it is incomplete
	more     chan struct{} // closed and replaced at every line
	commands int
}

func newConsole(keyboard, log io.Writer) *Console {
	return &Console{keyboard: keyboard, log: log, more: make(chan struct{})}
}

// Write receives the machine's output.
func (c *Console) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	lines := strings.Split(c.part+string(b), "\n")
	c.part = lines[len(lines)-1]
	for _, line := range lines[:len(lines)-1] {
		line = strings.TrimRight(line, "\r")
		c.lines = append(c.lines, line)
		fmt.Fprintln(c.log, line)
	}
	close(c.more)
	c.more = make(chan struct{})
	return len(b), nil
}

// Wait returns the first line that matches the pattern, of all lines so far and later ones,
// and its submatches.
func (c *Console) Wait(ctx context.Context, pattern string) ([]string, error) {
	_, found, err := c.wait(ctx, 0, pattern)
	return found, err
}

func (c *Console) wait(ctx context.Context, from int, pattern string) (int, []string, error) {
	re := regexp.MustCompile(pattern)
	for {
		lines, more := c.since(from)
		for i, line := range lines {
			if found := re.FindStringSubmatch(line); found != nil {
				return from + i, found, nil
			}
		}
		from += len(lines)
		select {
		case <-more:
		case <-ctx.Done():
			return 0, nil, fmt.Errorf("no %q on the console: %w", pattern, ctx.Err())
		}
	}
}

func (c *Console) since(from int) ([]string, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lines[from:], c.more
}

const shellAnswers = 10 * time.Second

// Shell runs a command in the machine's shell and reports whether its exit status was 0.
// Its output is mixed with other output on the console.
func (c *Console) Shell(ctx context.Context, command string) (bool, error) {
	c.mu.Lock()
	c.commands++
	n, from := c.commands, len(c.lines)
	c.mu.Unlock()
	if _, err := fmt.Fprintf(c.keyboard, "%s; echo \"[shell %d: $?]\"\n", command, n); err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, shellAnswers)
	defer cancel()
	_, found, err := c.wait(ctx, from, fmt.Sprintf(`\[shell %d: (\d+)\]`, n))
	if err != nil {
		return false, err
	}
	return found[1] == "0", nil
}
