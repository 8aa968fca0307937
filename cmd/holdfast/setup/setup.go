// Package setup writes the first configuration of a node, from a few answers or flags, and
// from what a scan of the machine has found.
//
// What it writes passes `holdfast check`: it checks each answer when it is given, and the
// whole text before it creates a file. It overwrites a file only if asked to.
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

// Options are the place of the file, and the answers that were given as flags. Path, Ask,
// Out, Scan and Today are required.
type Options struct {
	Path  string // of the configuration
	Force bool   // overwrite it, and the password beside it

	Answers
	Given map[string]bool // the flags that were set, by name: their questions are not asked

	In  *os.File  // a terminal for the answers; nil: no question is asked
	Ask io.Writer // where questions are printed
	Out io.Writer // where results are printed
	// Scan may be slow, because it probes each bus. After an error the session continues with
	// the returned sensors, which have to be a valid section even then.
	Scan  func(context.Context) (sensors string, err error)
	Today string // for the head of the file
}

// Answers are the values that the file is made from. A field may be empty until its
// question was asked or its flag read.
type Answers struct {
	ClientID      string
	Server        string // a URL, or a host alone
	Username      string // empty: the broker needs none
	Password      string // written to a file beside the configuration
	PasswordFile  string // an existing file; empty: Password is written, if there is one
	HomeAssistant bool
}

// ErrMistake marks an answer that the user has to change.
var ErrMistake = errors.New("cannot be used")

// A Session writes one file. It is used by one goroutine.
type Session struct {
	Options
	term *terminal // nil: no question is asked
}

// New creates a session. It starts to read o.In at once, so that input before the first
// question is used too.
func New(o Options) *Session {
	s := &Session{Options: o}
	if o.In != nil {
		s.term = newTerminal(o.In, o.Ask)
	}
	return s
}

// Run asks for the missing answers, and writes the file. An error that the user can fix is
// an [ErrMistake]. Run changes nothing on disk until all answers are there and the text has
// passed the check. After an error there may be a file with the password and no
// configuration. Run is called once.
func (s *Session) Run(ctx context.Context) error {
	path, err := filepath.Abs(s.Path)
	if err != nil {
		return err
	}
	s.Path = path
	// Before the first question, so that nobody answers all of them for nothing.
	if err := s.checkVacant(); err != nil {
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
	// After the questions, so that the first question appears at once.
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

// checkVacant fails if a file would be overwritten, before the first question. It uses
// Lstat, because a broken link counts as a file too. place checks this again: another
// program may create the file while the questions are answered.
func (s *Session) checkVacant() error {
	if _, err := os.Lstat(s.Path); err == nil && !s.Force {
		return fmt.Errorf("%s is there already and %w: change it by hand, name another with -c FILE, "+
			"or overwrite it with --force", s.Path, ErrMistake)
	}
	return nil
}

// takeFlags checks the answers if no question can be asked. Only the server has no default
// value. There is no flag for a password: other users would see it in the list of
// processes.
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

// write creates the file with the password first, so a configuration never names a file
// that does not exist. A folder that it creates has mode 0750, because of the passwords.
func (s *Session) write(a Answers, text string) error {
	dir := filepath.Dir(s.Path)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return explainDenied(err)
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

// writeFile creates a complete file or none. The file belongs to the group of its folder,
// so that a service may read what root has written. A secret is only for its owner if that
// group is root's, or cannot be set. The content is on disk before the file gets its name:
// after a power cut the file is complete, or does not exist.
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
		return explainDenied(err)
	}
	defer func() {
		file.Close() // after success it is closed already
		if err != nil {
			os.Remove(file.Name())
		}
	}()
	group := folder.Sys().(*syscall.Stat_t).Gid
	// A user may only set a group that the user is in (chown(2)). If that fails, the mode below
	// decides who may read the file.
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

// place renames a file. Without --force it does not replace a file that was created
// meanwhile: link(2) fails if the name exists, rename(2) replaces the file.
func (s *Session) place(from, to string) error {
	if s.Force {
		return os.Rename(from, to)
	}
	if err := os.Link(from, to); err != nil {
		return err
	}
	return os.Remove(from)
}

// explainDenied adds the remedy to a permission error. Other errors are returned unchanged.
func explainDenied(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: run it as root (sudo holdfast init), or name a file of your own with -c FILE", err)
	}
	return err
}
