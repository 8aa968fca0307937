package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast-iot/holdfast/config"
	"github.com/holdfast-iot/holdfast/queue"
)

// A queueCmd is one call of `holdfast queue`: its flags and the queue that they name.
//
// locate sets opt and path before the verb runs. inspect changes path to the file beside it
// if the configured file was not made by holdfast.
type queueCmd struct {
	opt   queue.Options // as the agent uses them
	path  string        // of the file; beside opt.Path if holdfast did not make that one
	named bool          // with -file
	max   int           // items to peek at
	json  bool          // stats as JSON
	yes   bool          // purge without a question
	aside bool          // export what was set aside instead of what waits
	from  string        // the client ID whose backlog was moved aside
}

// A queueVerb is one operation of `holdfast queue`. run may ask, print and change the
// queue; its error is that of the command.
type queueVerb struct {
	name, does string                // as in the usage text
	flags      string                // that it takes besides -c and -file, separated by spaces
	run        func(*queueCmd) error // called after locate
}

// queueVerbs are in the order of the usage text.
var queueVerbs = []queueVerb{
	{"stats", "what waits, and what the agent says if it runs", "json", (*queueCmd).stats},
	{"peek", "the first ones to be sent, for a person", "n", (*queueCmd).peek},
	{"export", "everything that waits, as JSON Lines: alarms, routine readings, gaps", "aside from",
		(*queueCmd).exportAll},
	{"adopt", "takes over the backlog of another client ID: it is sent under the present one", "from",
		(*queueCmd).adopt},
	{"purge", "gives up everything that waits and what was set aside; asks first", "yes", (*queueCmd).purge},
}

// runQueue shows or changes the queue on disk, whether the agent runs or not: reading needs
// no lock. Flags may come before and after the verb.
//
// The flags are parsed twice, first those before the verb and then those after it, because
// the verb decides which flags are allowed.
func runQueue(_ context.Context, args []string) error {
	s := queueCmd{}
	f := flags("queue")
	path := configFlag(f)
	f.StringVar(&s.path, "file", "", "queue `file`, also a copied one, instead of that of the configuration")
	f.IntVar(&s.max, "n", 20, "peek at this `number` of readings and events")
	f.BoolVar(&s.json, "json", false, "print stats as JSON")
	f.BoolVar(&s.aside, "aside", false, "export what was set aside because the broker refuses it, and nothing else")
	f.StringVar(&s.from, "from", "", "export or adopt what was moved aside as the backlog of this `client ID`")
	f.BoolVar(&s.yes, "yes", false, "purge without a question")
	f.Usage = func() { queueUsage(f) }

	// Flags may come on both sides of the verb: this pass ends there.
	if err := parse(f, args, math.MaxInt); err != nil {
		return err
	}
	if f.NArg() == 0 {
		return usageError{fmt.Errorf("queue needs a verb, one of %s; see holdfast queue -h", verbNames())}
	}
	name := f.Arg(0)
	if err := parse(f, f.Args()[1:], 0); err != nil { // flags after the verb
		return err
	}
	i := slices.IndexFunc(queueVerbs, func(v queueVerb) bool { return v.name == name })
	if i < 0 {
		return usageError{fmt.Errorf("unknown verb %q of queue; known are %s", name, verbNames())}
	}
	if err := checkQueueFlags(f, name, queueVerbs[i].flags); err != nil {
		return err
	}
	// Checked before anything is opened, for every verb.
	if s.max < 1 {
		return usageError{fmt.Errorf("-n %d: at least 1", s.max)}
	}
	if err := s.locate(*path); err != nil {
		return err
	}
	return queueVerbs[i].run(&s)
}

// queueUsage prints the verbs and all flags to the output of the flag set.
func queueUsage(f *flag.FlagSet) {
	w := f.Output()
	fmt.Fprintf(w, "Usage: holdfast queue [-c FILE | -file QUEUE.DB] VERB\n\n")
	for _, v := range queueVerbs {
		fmt.Fprintf(w, "  %-8s %s\n", v.name, v.does)
	}
	fmt.Fprintln(w)
	f.PrintDefaults()
}

// verbNames lists the verbs for an error message.
func verbNames() string {
	var names []string
	for _, v := range queueVerbs {
		names = append(names, v.name)
	}
	return strings.Join(names, ", ")
}

// checkQueueFlags refuses a flag that the verb does not take: a user who writes purge -n 5
// expects that five readings are purged, but all would be. own is the list of the verb. The
// error names the last wrong flag in alphabetical order, which is the order of flag.Visit.
func checkQueueFlags(f *flag.FlagSet, verb, own string) (err error) {
	// -c and -file are allowed for every verb.
	mayHave := append(strings.Fields(own), "c", "file")
	given := map[string]bool{} // flags that the user wrote
	f.Visit(func(g *flag.Flag) {
		given[g.Name] = true
		if !slices.Contains(mayHave, g.Name) {
			err = usageError{fmt.Errorf("queue %s takes no -%s", verb, g.Name)}
		}
	})
	if err == nil && given["c"] && given["file"] {
		return usageError{errors.New("-c and -file both say where the queue is: give one")}
	}
	return err
}

// locate finds the file: that of -file, or else that of the configuration. With -file the
// queue has no limits, because the limits of the agent are unknown. It opens only the
// configuration. SyncEvery is a valid value that is used only if the verb writes.
func (s *queueCmd) locate(configPath string) error {
	if s.path != "" { // -file
		s.named = true
		s.opt = queue.Options{Path: s.path, MaxSize: math.MaxInt64 / 2, SyncEvery: 5 * time.Second}
		return nil
	}
	// A user without a configuration on this machine may still have a queue to read.
	cfg, err := config.Load(context.Background(), configPath) // a signal ends the process
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
		return usageError{fmt.Errorf("%w: name a configuration with -c, or a queue with -file", err)}
	}
	if err != nil {
		return err
	}
	s.opt, s.path = cfg.Queue, cfg.Queue.Path
	return nil
}

// inspect reads the file and calls visit for each item that waits, and then for each that
// was set aside. The items are those of one commit, even while an agent runs. Its error
// includes the remedy.
func (s *queueCmd) inspect(visit func(queue.Item) error) (queue.Contents, error) {
	// Reading stops at an error of visit or of the file: only the second one is explained.
	var stopped error // the error of visit
	watch := func(it queue.Item) error {
		stopped = visit(it)
		return stopped
	}
	c, err := queue.Inspect(s.path, watch)
	// Package queue uses this name if another program's file is at the configured path.
	beside := s.opt.Path + ".holdfast"
	if err != nil && stopped == nil && !s.named && s.path != beside && !s.aboutPath(err) {
		// holdfast did not make the file at queue.path: the agent uses the one beside it.
		if _, missing := os.Stat(beside); missing == nil {
			s.path = beside
			return s.inspect(visit)
		}
	}
	switch {
	case err == nil:
		return c, nil
	case stopped != nil:
		return c, stopped
	}
	return c, s.explain(err)
}

// aboutPath reports whether an error is about the path, not about the contents. Such an
// error does not tell who made the file.
func (s *queueCmd) aboutPath(err error) bool {
	var path *fs.PathError
	return errors.As(err, &path)
}

// explain adds the remedy to an error of reading the file. What the user can fix is a usage
// error; a disk that fails is not.
func (s *queueCmd) explain(err error) error {
	// From the most specific error to those that are returned unchanged.
	switch info, _ := os.Stat(s.path); {
	case errors.Is(err, fs.ErrNotExist):
		return usageError{fmt.Errorf("queue %s: there is no such file: the agent makes it when it starts; "+
			"name another with -c or -file", s.path)}
	case errors.Is(err, fs.ErrPermission):
		return usageError{fmt.Errorf("queue %s: permission denied: %s", s.path, s.asOwner())}
	case info != nil && info.IsDir():
		return usageError{fmt.Errorf("queue %s: is a directory: name the file in it with -file", s.path)}
	case s.aboutPath(err):
		return fmt.Errorf("queue %s: %w", s.path, err)
	}
	// The error is about the contents: the file is of another program, or damaged.
	why := strings.TrimPrefix(err.Error(), s.path+": ")
	return usageError{fmt.Errorf("queue %s: %s: name a file that holdfast made with -file; "+
		"if it made this one, the agent carries over what is intact when it starts", s.path, why)}
}

// asOwner tells how to become the user that the agent runs as.
func (s *queueCmd) asOwner() string {
	// The owner of the file is the user of the agent, whatever its name is.
	if name := owner(s.path); name != "" {
		return fmt.Sprintf("try sudo -u %s holdfast queue ...", name)
	}
	return "run it as the user of the agent, such as sudo -u holdfast holdfast queue ..."
}

// owner is the owner of the file in a form that sudo -u accepts; "" if it is unknown. sudo
// accepts a number after #: sudo(8), -u.
func owner(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	// The user may have been deleted while the files still exist.
	id := strconv.FormatUint(uint64(info.Sys().(*syscall.Stat_t).Uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "#" + id // the form of sudo
}
