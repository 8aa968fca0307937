package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/control"
	"github.com/holdfast-iot/holdfast/queue"
)

// purge shows what would be lost, asks, and discards it: through the agent if it runs,
// because the agent has the file open and more in memory; otherwise directly. It cannot be
// undone.
//
// The numbers are from before the question: a running agent may deliver some readings
// meanwhile, and those are not lost.
func (s *queueCmd) purge() error {
	t, err := s.total()
	if err != nil {
		return err
	}
	// If a running agent cannot be asked that is an error: it has the file open.
	agent, err := control.Ask(s.opt.Path, control.Stats)
	running := err == nil
	switch {
	case errors.Is(err, fs.ErrPermission):
		return usageError{fmt.Errorf("%w: %s", err, s.asOwner())}
	case !running && !errors.Is(err, control.ErrNotRunning):
		return err
	}
	// Damaged blocks count, because purging is the way to remove them.
	if t.Alarms+t.Routine+max(t.Rejected, agent.Rejected)+agent.Memory+t.Damaged == 0 {
		fmt.Fprintln(stdout, "nothing waits: there is nothing to purge")
		return nil
	}
	// Everything that would be lost is shown before the question.
	fmt.Fprintf(stdout, "To be given up in %s:\n", t.File)
	// The same lines as in queue stats.
	t.print()
	if running {
		fmt.Fprintf(stdout, "%-10s %d, in the agent that runs\n", "in memory", agent.Memory)
	}
	if !s.yes {
		if err := confirm(); err != nil {
			return err
		}
	}
	var n int
	if running {
		agent, err = control.Ask(s.opt.Path, control.Purge)
		n = agent.Purged
	} else {
		n, err = s.purgeFile()
	}
	// The number is printed even after an error, because these readings are lost.
	if err == nil || n > 0 {
		fmt.Fprintf(stdout, "%d readings and events are gone; gaps that say so are left for the broker\n", n)
	}
	return err
}

// confirm asks the user to type the word. nil means yes. Any other word means no, including
// purge in capital letters, and nothing was changed. Without a terminal it refuses: a
// script can use --yes. The question goes to standard error, because the output may be
// redirected.
func confirm() error {
	unasked := usageError{errors.New("nothing was purged: nobody can be asked here: --yes purges without a question")}
	if info, err := os.Stdin.Stat(); err != nil || info.Mode()&fs.ModeCharDevice == 0 {
		return unasked
	}
	signal.Reset(os.Interrupt, syscall.SIGTERM) // nothing has begun: a signal may end the process
	fmt.Fprint(os.Stderr, `Type "purge" to go on: `)
	word, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil && word == "" {
		return unasked // /dev/null is a character device too
	}
	if strings.TrimSpace(word) != "purge" {
		return errors.New("nothing was purged")
	}
	return nil
}

// mustBeOwner refuses to write as a user other than the agent's. An error means that
// nothing was opened.
func (s *queueCmd) mustBeOwner() error {
	// Files that root creates in the agent's folder would stop the agent at its next start.
	info, err := os.Stat(s.path)
	if err != nil {
		return err
	}
	if uid := info.Sys().(*syscall.Stat_t).Uid; uid != uint32(os.Geteuid()) {
		return usageError{fmt.Errorf("queue %s: it belongs to another user: %s", s.path, s.asOwner())}
	}
	return nil
}

// purgeFile opens the queue instead of the agent. It leaves gaps, which the agent publishes
// when it runs again.
func (s *queueCmd) purgeFile() (n int, err error) {
	if err := s.mustBeOwner(); err != nil {
		return 0, err
	}
	opt := s.opt
	opt.ClientID = "" // any client ID is accepted: the user has seen it
	return withQueue(opt, (*queue.Queue).Purge)
}

// withQueue calls do with a queue that no agent has open. Run runs meanwhile, because
// purging and adopting wait for commits. It returns the result of do, even with an error of
// Close. The lock of the file is held until it returns, so no agent can start meanwhile.
func withQueue(opt queue.Options, do func(*queue.Queue) (int, error)) (n int, err error) {
	// The user sees warnings and errors of the queue, but not its routine messages.
	q, err := queue.Open(opt, slog.New(withoutDropLog{quiet(newLog(os.Stderr)).Handler()}))
	if errors.Is(err, queue.ErrLocked) {
		return 0, fmt.Errorf("%w, and it has no control socket: "+
			"end it first, such as with systemctl stop holdfast", err)
	}
	if err != nil {
		return 0, err
	}
	ctx, stop := context.WithCancel(context.Background())
	// The buffer lets Run end before its error is received.
	ran := make(chan error, 1)
	go func() { ran <- q.Run(ctx) }()
	n, err = do(q)
	stop()
	<-ran // Close requires that Run has returned
	return n, errors.Join(err, q.Close())
}

// withoutDropLog omits the message about dropped readings, which the user has asked for. It
// does not wrap the results of With: the queue makes none.
type withoutDropLog struct{ slog.Handler }

// Handle omits this one message of package queue.
func (h withoutDropLog) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "readings dropped" {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}
