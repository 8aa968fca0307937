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

// purge shows what would be lost, asks, and drops it: through the agent if it runs,
// because the agent has the file open and more in memory; else by itself. It cannot
// be undone.
//
// The numbers that it shows are of the moment before the question: an agent that runs
// may deliver some meanwhile, and those are not lost.
func (s *queueCmd) purge() error {
	t, err := s.total()
	if err != nil {
		return err
	}
	// An agent that runs and cannot be asked is an error: it has the file open.
	agent, err := control.Ask(s.opt.Path, control.Stats)
	running := err == nil
	switch {
	case errors.Is(err, fs.ErrPermission):
		return usageError{fmt.Errorf("%w: %s", err, s.asOwner())}
	case !running && !errors.Is(err, control.ErrNotRunning):
		return err
	}
	// Damaged blocks count: purging is also how one gets rid of them.
	if t.Alarms+t.Routine+max(t.Rejected, agent.Rejected)+agent.Memory+t.Damaged == 0 {
		fmt.Fprintln(stdout, "nothing waits: there is nothing to purge")
		return nil
	}
	// Everything that would be lost is shown before the question.
	fmt.Fprintf(stdout, "To be given up in %s:\n", t.File)
	// The same lines as those of queue stats.
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
	// Also with an error: what is gone is gone.
	if err == nil || n > 0 {
		fmt.Fprintf(stdout, "%d readings and events are gone; gaps that say so are left for the broker\n", n)
	}
	return err
}

// confirm lets a person type the word. Without a terminal it refuses: a script that
// means it has --yes. nil means yes. Any other word is no, also purge in capital
// letters, and nothing was changed. The question goes to standard error, as the output
// may be redirected.
func confirm() error {
	unasked := usageError{errors.New("nothing was purged: nobody can be asked here: --yes purges without a question")}
	if info, err := os.Stdin.Stat(); err != nil || info.Mode()&fs.ModeCharDevice == 0 {
		return unasked
	}
	signal.Reset(os.Interrupt, syscall.SIGTERM) // nothing has begun: they may end us
	fmt.Fprint(os.Stderr, `Type "purge" to go on: `)
	word, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil && word == "" {
		return unasked // /dev/null passes for a terminal
	}
	if strings.TrimSpace(word) != "purge" {
		return errors.New("nothing was purged")
	}
	return nil
}

// mustBeOwner refuses to write as another user than the agent's: also root makes files
// here that the agent could not read. An error means that nothing was opened.
func (s *queueCmd) mustBeOwner() error {
	// Files that root makes in the agent's folder would stop the agent at its next start.
	info, err := os.Stat(s.path)
	if err != nil {
		return err
	}
	if uid := info.Sys().(*syscall.Stat_t).Uid; uid != uint32(os.Geteuid()) {
		return usageError{fmt.Errorf("queue %s: it belongs to another user: %s", s.path, s.asOwner())}
	}
	return nil
}

// purgeFile opens the queue in the place of the agent. Gaps are left in its place,
// which the agent publishes when it runs again.
func (s *queueCmd) purgeFile() (n int, err error) {
	if err := s.mustBeOwner(); err != nil {
		return 0, err
	}
	opt := s.opt
	opt.ClientID = "" // whosever it is: it was shown
	return withQueue(opt, (*queue.Queue).Purge)
}

// withQueue does something with a queue that no agent has open. Run goes on meanwhile,
// because purging and adopting wait for commits. It returns what do has returned, also
// with an error of Close. The lock of the file is held until it returns, so no agent
// can start meanwhile.
func withQueue(opt queue.Options, do func(*queue.Queue) (int, error)) (n int, err error) {
	// Warnings and errors of the queue are for the person, its routine is not.
	q, err := queue.Open(opt, slog.New(withoutDropLog{quiet(newLog(os.Stderr)).Handler()}))
	if errors.Is(err, queue.ErrLocked) {
		return 0, fmt.Errorf("%w, and it has no control socket: "+
			"end it first, such as with systemctl stop holdfast", err)
	}
	if err != nil {
		return 0, err
	}
	ctx, stop := context.WithCancel(context.Background())
	// It has room for the error, so that Run can end before anybody waits for it.
	ran := make(chan error, 1)
	go func() { ran <- q.Run(ctx) }()
	n, err = do(q)
	stop()
	<-ran // Close comes after Run has returned
	return n, errors.Join(err, q.Close())
}

// withoutDropLog leaves out of a log that readings were dropped: that was the wish. A
// logger that is made from it by With is not filtered: the queue makes none.
type withoutDropLog struct{ slog.Handler }

// Handle leaves out the one message of package queue.
func (h withoutDropLog) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "readings dropped" {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}
