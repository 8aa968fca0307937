// Package setup writes the first configuration of a node: from a few answers, or
// flags in their place, and from what a scan of the machine has found.
//
// What it writes passes `holdfast check`: each answer is tried when it is given,
// and the whole text before a file is made. It never overwrites a file unless it
// is told to.
package setup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/holdfast-iot/holdfast/config"
)

// Options are where the file goes, and the answers that flags have given. Path, Ask,
// Out, Scan and Today are needed.
type Options struct {
	Path  string // of the configuration
	Force bool   // overwrite it, and the password beside it

	Answers
	Given map[string]bool // the answers that are set, by the names of their flags: they are not asked for

	In  *os.File  // a terminal, which is asked; nil: nobody is
	Ask io.Writer // where questions go
	Out io.Writer // where it says what it has written
	// Scan may be slow, as each bus is asked. Its error does not stop the session, and
	// sensors is used all the same: it has to be a valid section.
	Scan  func(context.Context) (sensors string, err error)
	Today string // for the head of the file
}

// Answers are what the file is made from. A field may be empty until its question was
// asked or its flag read.
type Answers struct {
	ClientID      string
	Server        string // a URL, or a host alone
	Username      string // empty: the broker wants none
	Password      string // written to a file beside the configuration
	PasswordFile  string // one that is there; empty: Password, if there is one
	HomeAssistant bool
}

// ErrMistake is an answer that the person has to change.
var ErrMistake = errors.New("cannot be used")

// A Session writes one file. It is used by one goroutine.
type Session struct {
	Options
	term *terminal // nil: nobody is asked
}

// New makes a session, which reads o.In from now on. The input is read from here on, so
// what is typed early is an answer, too.
func New(o Options) *Session {
	s := &Session{Options: o}
	if o.In != nil {
		s.term = newTerminal(o.In, o.Ask)
	}
	return s
}

// Run asks what is not given, and writes the file. What a person has to change is an
// [ErrMistake]. It changes nothing on disk until all answers are there and the text has
// passed the check. After an error there may be a file with the password and no
// configuration. Run is called once.
func (s *Session) Run(ctx context.Context) error {
	path, err := filepath.Abs(s.Path)
	if err != nil {
		return err
	}
	s.Path = path
	// Before the first question: nobody should answer five of them for nothing.
	if err := s.vacant(); err != nil {
		return err
	}
	a := s.Answers
	if s.term != nil {
		err = s.ask(ctx, &a)
	} else {
		err = s.takeFlags(&a)
	}
	if err != nil {
		return err
	}
	if a.Password != "" {
		a.PasswordFile = s.passwordPath()
	}
	// After the questions: a person who waits is asked at once.
	found, err := s.Scan(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		fmt.Fprintf(s.Out, "what is wired could not be looked at: %v\n", err)
	}
	text := document(a, found, s.Today)
	if _, err := config.Parse(path, []byte(text)); err != nil {
		return fmt.Errorf("what was found on this machine makes no file that passes check, which is a bug: %w", err)
	}
	return s.write(a, text)
}

// passwordPath is beside the configuration, in a folder that packages keep private. The
// path is absolute, because the agent may run in another folder.
func (s *Session) passwordPath() string { return filepath.Join(filepath.Dir(s.Path), "mqtt.password") }

// vacant fails if a file is there that would be overwritten: before anything is asked.
// Lstat, as a link that leads nowhere is a file of somebody, too. place checks it
// again: another program may write one while the questions are answered.
func (s *Session) vacant() error {
	if _, err := os.Lstat(s.Path); err == nil && !s.Force {
		return fmt.Errorf("%s is there already and %w: change it by hand, name another with -c FILE, "+
			"or overwrite it with --force", s.Path, ErrMistake)
	}
	return nil
}

// takeFlags checks the answers where nobody can be asked. The server is the only answer
// that has neither a preset nor an empty meaning. There is no flag for a password:
// others would see it in the list of processes.
func (s *Session) takeFlags(a *Answers) error {
	if a.Server == "" {
		return fmt.Errorf("the command line %w without --server where there is no terminal to ask on: "+
			"add --server mqtts://broker.example.com", ErrMistake)
	}
	for _, q := range questions {
		if q.silent {
			continue
		}
		if !s.Given[q.flag] && q.preset != nil {
			*q.answer(a) = q.preset(a)
		}
		if err := q.wrong(a); err != nil {
			return fmt.Errorf("--%s %w: %w", q.flag, ErrMistake, err)
		}
	}
	return nil
}

// write makes the password's file first: a configuration never names one that is not
// there. A folder that is made here has mode 0750: passwords lie in it.
func (s *Session) write(a Answers, text string) error {
	dir := filepath.Dir(s.Path)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return writable(err)
	}
	if a.Password != "" {
		if err := s.writeFile(a.PasswordFile, a.Password+"\n", true); err != nil {
			return err
		}
		fmt.Fprintf(s.Out, "wrote the password to %s\n", a.PasswordFile)
	}
	if err := s.writeFile(s.Path, text, false); err != nil {
		return err
	}
	fmt.Fprintf(s.Out, "wrote %s\n", s.Path)
	return nil
}

// writeFile makes a file whole or not at all. It belongs to the group of its folder, so
// that a service may read what root has written. A secret is for its owner alone where
// that group is root's, or not ours to give. The content is on disk before the file
// gets its name: after a power cut the name has the whole text, or does not exist.
func (s *Session) writeFile(path, text string, secret bool) (err error) {
	if _, err := os.Lstat(path); err == nil && !s.Force {
		return fmt.Errorf("%s is there already and %w: remove it, or overwrite it with --force", path, ErrMistake)
	}
	folder, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-")
	if err != nil {
		return writable(err)
	}
	defer func() {
		file.Close() // it is closed already unless something failed
		if err != nil {
			os.Remove(file.Name())
		}
	}()
	group := folder.Sys().(*syscall.Stat_t).Gid
	// A user may give a file only to a group that the user is in (chown(2)); if it
	// cannot be given, the mode below decides who reads it.
	given := group != 0 && file.Chown(-1, int(group)) == nil
	mode := os.FileMode(0o644)
	switch {
	case secret && given:
		mode = 0o640
	case secret:
		mode = 0o600
	}
	if _, err := io.WriteString(file, text); err != nil {
		return err
	}
	if err := errors.Join(file.Chmod(mode), file.Sync(), file.Close()); err != nil {
		return err
	}
	return s.place(file.Name(), path)
}

// place gives a file its name. Without --force a name that somebody has taken meanwhile
// stays theirs. link(2) fails if the name exists, and rename(2) replaces it: that is
// the difference.
func (s *Session) place(from, to string) error {
	if s.Force {
		return os.Rename(from, to)
	}
	if err := os.Link(from, to); err != nil {
		return err
	}
	return os.Remove(from)
}

// writable says how to mend a folder that this user may not write to. Other errors come
// back as they are.
func writable(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: run it as root (sudo holdfast init), or name a file of your own with -c FILE", err)
	}
	return err
}
