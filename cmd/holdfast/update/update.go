// Package update installs a newer version of holdfast from the machine's apt source, and
// returns to the previous version if the new one does not deliver.
//
// An update is kept when the new version is ready and the broker has acknowledged a message
// from it. Until then a record on disk names the version to return to. After a power cut
// the next run therefore checks the version that it finds.
package update

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/status"
)

const (
	// Cache is where the packages of previous versions are.
	Cache = "/var/cache/holdfast"

	// pollEvery is short compared to the minutes that a version gets, and long enough that the
	// queries cost an old board nothing.
	pollEvery = 2 * time.Second // while a version is checked

	// refusedFor is for how long a version that did not deliver is skipped. It is tried again
	// later, because the network may have been the cause.
	refusedFor = 7 * 24 * time.Hour
)

// Options are the dependencies of an update. Tests replace them. All fields are required.
// Run, Ask and Report are called one at a time, from the goroutine that calls the function
// Run.
type Options struct {
	Cache string        // a folder that root alone may write
	Wait  time.Duration // how long a new version has to deliver
	// Run runs a program of the system and returns its output. The error has the end of its
	// standard error. Run kills the program when the context ends.
	Run func(ctx context.Context, name string, args ...string) (string, error)
	// Ask asks the running agent for its status. An error means that no agent runs or that it
	// does not answer.
	Ask func() (status.Snapshot, error)
	// Report has the running agent publish the outcome. An agent that is older than this
	// command answers with an error.
	Report func(Outcome) error
	Log    *slog.Logger
}

// An Outcome is the details of the event "update". Subscribers use its keys:
// docs/install.md shows two of them.
type Outcome struct {
	From   string `json:"from"`
	To     string `json:"to"`
	Result string `json:"result"`        // kept or returned
	Why    string `json:"why,omitempty"` // why the version was not kept
}

// ErrReturned means that the new version did not deliver and the previous one runs again.
var ErrReturned = errors.New("the new version does not deliver: the one before was installed again")

// Run looks for a newer version and installs it, or checks one whose update was
// interrupted. Without a newer version it does nothing. It needs root. Only one process may
// call it at a time; systemd ensures that.
//
// The order makes power cuts harmless: first the package of the installed version is in the
// cache, then the record is on disk, and only then apt changes the machine. The record is
// removed when the outcome is known.
//
// It returns nil if the new version is kept or there is none, [ErrReturned] if the previous
// version was installed again, and another error if nothing was changed or the machine
// needs manual repair. When ctx ends it returns the context's error and leaves the record.
func Run(ctx context.Context, opt Options) error {
	u := &updater{opt}
	var p pending
	switch text, err := os.ReadFile(u.file("pending")); {
	case err == nil:
		if err := json.Unmarshal(text, &p); err != nil {
			return fmt.Errorf("%s: %w", u.file("pending"), err)
		}
		u.opt.Log.Info("checks the version whose update was interrupted", "from", p.From, "to", p.To)
		// A power cut may have left packages unpacked and not configured: apt and dpkg refuse all
		// work until this is done.
		_, err := u.opt.Run(ctx, "dpkg", "--configure", "-a")
		return u.evaluate(ctx, p, err)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	newer, err := u.newer(ctx)
	if err != nil || newer == nil {
		return err
	}
	if err := u.keepPrevious(ctx, newer.From); err != nil {
		return fmt.Errorf("not updated, as there would be no way back: %w", err)
	}
	text, err := json.Marshal(newer)
	if err != nil {
		return err
	}
	if err := u.write("pending", text); err != nil {
		return err
	}
	u.opt.Log.Info("installs", "from", newer.From, "to", newer.To)
	// confold keeps a file below /etc that the user has changed, without a question.
	_, err = u.opt.Run(ctx, "apt-get", "-q", "-y", "--no-install-recommends", "-o", "Dpkg::Options::=--force-confold",
		"install", "holdfast="+newer.To)
	return u.evaluate(ctx, *newer, err)
}

// An updater is one call of Run.
type updater struct{ opt Options }

// pending is an update that has begun, stored as JSON in the file "pending". A newer
// version has to read the record of an older one, so the field names must not change.
type pending struct{ From, To string }

func (u *updater) file(name string) string { return filepath.Join(u.opt.Cache, name) }

// write replaces a file durably: after a power cut the old or the new content is there. A
// file that ends in .new is left over from a power cut, and is overwritten.
func (u *updater) write(name string, text []byte) error {
	part := u.file(name + ".new")
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return u.place(part, name)
}

// place renames a file into the cache durably. The content of part is on disk already.
func (u *updater) place(part, name string) error {
	if err := os.Rename(part, u.file(name)); err != nil {
		return err
	}
	return syncFile(u.opt.Cache)
}

// syncFile waits until a file, or the entries of a folder, are on disk.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// newer returns the available update, nil if there is none. It is an error if the agent
// does not deliver now: then a failure of the new version could not be recognized.
func (u *updater) newer(ctx context.Context) (*pending, error) {
	from, err := u.opt.Run(ctx, "dpkg-query", "-W", "-f", "${Version}", "holdfast")
	if err != nil {
		return nil, fmt.Errorf("holdfast was not installed as a package: %w", err)
	}
	if why := u.notDelivering(""); why != "" {
		return nil, fmt.Errorf("not updated: %s, so that nobody could tell whether a new version works", why)
	}
	if _, err := u.opt.Run(ctx, "apt-get", "-q", "update"); err != nil {
		return nil, fmt.Errorf("the package sources cannot be read: %w", err)
	}
	policy, err := u.opt.Run(ctx, "apt-cache", "policy", "holdfast")
	if err != nil {
		return nil, err
	}
	to := candidate(policy)
	if to == "" || to == from {
		u.opt.Log.Info("is up to date", "version", from)
		return nil, nil
	}
	// The source may have an older version: a node with its own build is not downgraded. dpkg
	// exits with 1 if the comparison is false.
	if _, err := u.opt.Run(ctx, "dpkg", "--compare-versions", to, "gt", from); err != nil {
		u.opt.Log.Info("is up to date", "version", from, "source", to)
		return nil, nil
	}
	// A time far in the future comes from a clock that was wrong.
	if at, err := os.Stat(u.file("refused-" + to)); err == nil && time.Since(at.ModTime()).Abs() < refusedFor {
		u.opt.Log.Info("leaves out a version that did not deliver", "version", to, "until",
			at.ModTime().Add(refusedFor))
		return nil, nil
	}
	return &pending{from, to}, nil
}

// candidate is the version that apt would install. policy is the output of apt-cache(8). It
// is empty if there is no such version.
func candidate(policy string) string {
	for line := range strings.Lines(policy) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "Candidate: "); ok && v != "(none)" {
			return v
		}
	}
	return ""
}

// keepPrevious downloads the package of the installed version into the cache, unless it is
// there. After an error the update must not begin.
func (u *updater) keepPrevious(ctx context.Context, version string) error {
	// A power cut may have left the file without its content.
	if there, err := os.Stat(u.previousPath(version)); err == nil && there.Size() > 0 {
		return nil
	}
	dir, err := os.MkdirTemp(u.opt.Cache, "download")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	// Not as apt's own user, which cannot write to this folder.
	if _, err := u.opt.Run(ctx, "env", "-C", dir, "apt-get", "-q", "-o", "APT::Sandbox::User=root",
		"download", "holdfast="+version); err != nil {
		return err
	}
	got, _ := filepath.Glob(filepath.Join(dir, "*.deb")) // the pattern is valid
	if len(got) != 1 {
		return fmt.Errorf("the source has no package of version %s", version)
	}
	// The file gets its final name after its content is on disk, so an incomplete download
	// never has that name.
	if err := syncFile(got[0]); err != nil {
		return err
	}
	return u.place(got[0], filepath.Base(u.previousPath(version)))
}

// previousPath is the path of the package of a version, whether the file exists or not.
func (u *updater) previousPath(version string) string { return u.file("holdfast_" + version + ".deb") }

// evaluate waits until the new version delivers. If it does not, or if it could not be
// installed, evaluate returns to the previous version. installed is the error of the
// installation. After an error other than [ErrReturned] neither may be complete.
func (u *updater) evaluate(ctx context.Context, p pending, installed error) error {
	why := ""
	if installed != nil {
		why = installed.Error()
	} else {
		why = u.await(ctx, p.To)
	}
	if ctx.Err() != nil {
		return ctx.Err() // the record remains: the next run checks
	}
	if why == "" {
		u.opt.Log.Info("keeps the new version", "version", p.To)
		u.forget(p.From)
		return u.end(Outcome{p.From, p.To, "kept", ""}, nil)
	}
	u.opt.Log.Error("goes back to the version before", "version", p.From, "from", p.To, "why", why)
	if _, err := u.opt.Run(ctx, "dpkg", "-i", u.previousPath(p.From)); err != nil {
		return fmt.Errorf("%s; and the version before cannot be installed: %w", why, err)
	}
	_, err := u.opt.Run(ctx, "systemctl", "restart", "holdfast.service")
	err = errors.Join(ErrReturned, err, u.write("refused-"+p.To, []byte(why)))
	return u.end(Outcome{p.From, p.To, "returned", why}, err)
}

// await returns why a version does not deliver in time, empty if it does. It asks at once
// and then every pollEvery, and returns the last reason.
func (u *updater) await(ctx context.Context, version string) (why string) {
	end := time.Now().Add(u.opt.Wait)
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		if why = u.notDelivering(version); why == "" || time.Now().After(end) {
			return why
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err().Error()
		}
	}
}

// notDelivering returns why the agent does not deliver. It is empty if that version runs,
// is connected, and the broker has acknowledged something over this connection. An empty
// version stands for any version.
func (u *updater) notDelivering(version string) string {
	s, err := u.opt.Ask()
	switch {
	case err != nil:
		return err.Error()
	case version != "" && s.Node.Version != version:
		return fmt.Sprintf("version %s runs", s.Node.Version)
	case !s.Link.Connected:
		return "the agent is not connected: " + s.Link.Error
	case s.Link.Held != "":
		return "the agent may not publish: " + s.Link.Held
	case s.Link.RoundTrip <= 0:
		return "the broker has acknowledged nothing yet"
	}
	return ""
}

// forget removes the packages of all versions except one. A package that cannot be removed
// only takes space.
func (u *updater) forget(but string) {
	all, _ := filepath.Glob(u.file("holdfast_*.deb")) // the pattern is valid
	for _, name := range all {
		if name == u.previousPath(but) {
			continue
		}
		if err := os.Remove(name); err != nil {
			u.opt.Log.Warn("an old package was not removed", "err", err)
		}
	}
}

// end removes the record and has the agent report the outcome. The agent may still be
// starting, or be too old to do it.
func (u *updater) end(o Outcome, err error) error {
	if gone := os.Remove(u.file("pending")); gone != nil {
		err = errors.Join(err, gone)
	}
	var told error
	for range 15 {
		if told = u.opt.Report(o); told == nil {
			return err
		}
		time.Sleep(pollEvery)
	}
	u.opt.Log.Warn("no event tells of the update", "err", told)
	return err
}
