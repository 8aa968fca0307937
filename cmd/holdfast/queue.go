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

// A queueCmd is one call of `holdfast queue`: its flags and the queue they name.
//
// opt and path are set by locate, before the verb runs. path changes to the file beside
// it when the one of the configuration turns out not to be ours: see inspect.
type queueCmd struct {
	opt   queue.Options // as the agent has it
	path  string        // of the file; it is beside opt.Path if holdfast did not make that one
	named bool          // with -file
	max   int           // items to peek at
	json  bool          // stats as JSON
	yes   bool          // purge without a question
	aside bool          // export what was set aside, not what waits
	from  string        // the client ID whose backlog was moved aside
}

// A queueVerb is one thing that `holdfast queue` can do. run may ask, print and change
// the queue; its error is that of the command.
type queueVerb struct {
	name, does string                // as the usage text has them
	flags      string                // that it takes beside -c and -file, separated by spaces
	run        func(*queueCmd) error // after locate
}

// queueVerbs in the order of the usage text.
var queueVerbs = []queueVerb{
	{"stats", "what waits, and what the agent says if it runs", "json", (*queueCmd).stats},
	{"peek", "the first ones to be sent, for a person", "n", (*queueCmd).peek},
	{"export", "everything that waits, as JSON Lines: alarms, routine readings, gaps", "aside from",
		(*queueCmd).exportAll},
	{"adopt", "takes over the backlog of another client ID: it is sent under the present one", "from",
		(*queueCmd).adopt},
	{"purge", "gives up everything that waits and what was set aside; asks first", "yes", (*queueCmd).purge},
}

// runQueue looks into the queue on disk, with the agent running or not: reading
// needs no lock. Flags may stand before and after the verb.
//
// The verb decides which flags are allowed, and its place is not known before the flags
// are parsed: so they are parsed twice, first those before the verb and then those
// behind it.
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

	// Flags may come on both sides of the verb, so the first pass stops there.
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
	// Before anything is opened, and whatever the verb is.
	if s.max < 1 {
		return usageError{fmt.Errorf("-n %d: at least 1", s.max)}
	}
	if err := s.locate(*path); err != nil {
		return err
	}
	return queueVerbs[i].run(&s)
}

// queueUsage prints the verbs and all flags. It goes where the flag set prints its own
// mistakes.
func queueUsage(f *flag.FlagSet) {
	w := f.Output()
	fmt.Fprintf(w, "Usage: holdfast queue [-c FILE | -file QUEUE.DB] VERB\n\n")
	for _, v := range queueVerbs {
		fmt.Fprintf(w, "  %-8s %s\n", v.name, v.does)
	}
	fmt.Fprintln(w)
	f.PrintDefaults()
}

// verbNames lists the verbs for an error.
func verbNames() string {
	var names []string
	for _, v := range queueVerbs {
		names = append(names, v.name)
	}
	return strings.Join(names, ", ")
}

// checkQueueFlags refuses a flag that the verb does not take: a person who writes purge
// -n 5 expects that five readings go, and all would. own is the list of the verb. The
// last wrong flag is named, by its name in alphabetical order, as flag.Visit goes.
func checkQueueFlags(f *flag.FlagSet, verb, own string) (err error) {
	// -c and -file go with every verb.
	mayHave := append(strings.Fields(own), "c", "file")
	given := map[string]bool{} // flags that the person wrote
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

// locate finds the file: that of -file, else that of the configuration. A file that is
// named has no bounds here, because what the agent would drop is not known. Nothing is
// opened but the configuration. SyncEvery is a value that the queue accepts, and is
// used only if the verb writes.
func (s *queueCmd) locate(configPath string) error {
	if s.path != "" { // -file
		s.named = true
		s.opt = queue.Options{Path: s.path, MaxSize: math.MaxInt64 / 2, SyncEvery: 5 * time.Second}
		return nil
	}
	// Who has no configuration on this machine may still have a queue to look at.
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

// inspect reads the file and calls visit for each item that waits, and then for each
// that was set aside. The contents are those of one commit, also while an agent runs.
// Its error says what to do.
func (s *queueCmd) inspect(visit func(queue.Item) error) (queue.Contents, error) {
	// What ends the reading is visit's own error or the file's: only the second one
	// is explained.
	var stopped error // what visit says
	watch := func(it queue.Item) error {
		stopped = visit(it)
		return stopped
	}
	c, err := queue.Inspect(s.path, watch)
	// The package queue gives this name to its own file when another program's is
	// there.
	beside := s.opt.Path + ".holdfast"
	if err != nil && stopped == nil && !s.named && s.path != beside && !s.aboutPath(err) {
		// The file at queue.path was not made by holdfast: then the agent uses the one beside it.
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

// aboutPath reports whether an error is about the path, not about what is in the file.
// Such an error says nothing about who made the file.
func (s *queueCmd) aboutPath(err error) bool {
	var path *fs.PathError
	return errors.As(err, &path)
}

// explain adds to what keeps the file from being read how to correct it. What the
// person can mend is a usage error; a disk that fails is none.
func (s *queueCmd) explain(err error) error {
	// From the most specific to what can only be passed on.
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
	// What is left is about the content: a file of another program, or a damaged one.
	why := strings.TrimPrefix(err.Error(), s.path+": ")
	return usageError{fmt.Errorf("queue %s: %s: name a file that holdfast made with -file; "+
		"if it made this one, the agent carries over what is intact when it starts", s.path, why)}
}

// asOwner tells a person how to become the user that the agent runs as.
func (s *queueCmd) asOwner() string {
	// The owner of the file is the user of the agent, whatever its name is here.
	if name := owner(s.path); name != "" {
		return fmt.Sprintf("try sudo -u %s holdfast queue ...", name)
	}
	return "run it as the user of the agent, such as sudo -u holdfast holdfast queue ..."
}

// owner names who owns the file, in a form that sudo -u takes; "" if it cannot be seen.
// sudo takes a number with # in front of it: sudo(8), -u.
func owner(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	// A user may be gone while its files are there.
	id := strconv.FormatUint(uint64(info.Sys().(*syscall.Stat_t).Uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "#" + id // sudo's way
}
