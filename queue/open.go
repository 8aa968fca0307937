package queue

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// ErrLocked means that another process has the queue open.
var ErrLocked = errors.New("another process has the queue open: is holdfast already running?")

// Open opens the queue, or makes it. It starts nothing: see Run. A damaged file
// is moved aside, and a disk that cannot be written leaves a queue in memory;
// the log says so. Errors are a file that another process holds, and a path
// that a person has to change.
func Open(opt Options, log *slog.Logger) (*Queue, error) {
	q := &Queue{
		opt:     opt,
		log:     log,
		start:   time.Now(),
		arrived: make(chan struct{}, 1),
		work:    make(chan struct{}, 1),
		stopped: make(chan struct{}),
		tried:   make(chan struct{}),
		lanes:   [2]lane{{first: 1, next: 1}, {first: 1, next: 1}},
	}
	err := os.MkdirAll(filepath.Dir(opt.Path), 0o700)
	if err == nil {
		q.boot, err = nextBoot(filepath.Dir(opt.Path))
		err = errors.Join(err, q.openFile())
	}
	switch {
	case err == nil:
	case diskTrouble(err):
		q.log.Error("storage fails: readings are kept in memory until the next start", "err", err)
		q.file = nil
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("queue %s: %w: let the user that holdfast runs as write to the folder, or set queue.path", opt.Path, err)
	default:
		return nil, fmt.Errorf("queue %s: %w", opt.Path, err)
	}
	if q.boot == "" {
		q.boot = bootName(1)
	}
	return q, nil
}

// diskTrouble says that the disk is at fault, not the path.
func diskTrouble(err error) bool {
	for _, errno := range [...]syscall.Errno{syscall.EROFS, syscall.ENOSPC, syscall.EIO, syscall.EDQUOT} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// openFile opens the file; one that is damaged is moved aside first.
func (q *Queue) openFile() error {
	path := q.opt.Path
	damage := preflight(path)
	if damage == nil {
		damage = guard(func() (err error) {
			if q.file, err = openFile(path, q.log); err != nil {
				return err
			}
			q.lanes, err = q.file.lanes()
			return err
		})
	}
	if damage == nil || notDamage(damage) {
		return damage
	}
	if q.file != nil {
		damage = errors.Join(damage, q.file.close())
		q.file = nil
	}
	aside := fmt.Sprintf("%s.damaged-%s", path, time.Now().UTC().Format("20060102T150405.000"))
	if err := os.Rename(path, aside); err != nil {
		return fmt.Errorf("move the damaged file aside: %w", err)
	}
	q.log.Error("queue was damaged: moved aside, starting with an empty one", "err", damage, "aside", aside)
	var err error
	if q.file, err = openFile(path, q.log); err != nil {
		return err
	}
	q.lanes, err = q.file.lanes()
	return err
}

// notDamage tells what a person has to mend from what is wrong in the file.
func notDamage(err error) bool {
	return errors.Is(err, ErrLocked) || errors.Is(err, syscall.EISDIR) ||
		errors.Is(err, fs.ErrPermission) || diskTrouble(err)
}

// preflight reads the whole file once, read-only. A damaged bbolt file can
// panic in a goroutine of bbolt's own when it is opened for writing, where
// nothing can recover it; here it panics in ours.
func preflight(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	if info.IsDir() {
		return &fs.PathError{Op: "open", Path: path, Err: syscall.EISDIR}
	}
	return guard(func() error {
		db, err := openDB(path, true)
		if errors.Is(err, bolterrors.ErrTimeout) {
			return ErrLocked
		}
		if err != nil {
			return err
		}
		return errors.Join(db.View(walk), db.Close())
	})
}

// walk visits every key and value.
func walk(tx *bbolt.Tx) error {
	if info, err := os.Stat(tx.DB().Path()); err != nil || info.Size() < tx.Size() {
		return fmt.Errorf("file is cut short: %w", errors.Join(err, bolterrors.ErrInvalid))
	}
	return tx.ForEach(func(_ []byte, b *bbolt.Bucket) error {
		return b.ForEach(func(k, v []byte) error {
			sum := byte(0)
			for _, c := range v {
				sum ^= c // a page that cannot be read faults here
			}
			_ = sum
			return nil
		})
	})
}

// guard makes a panic of f, or a fault in mapped memory, an error.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("damaged: %v", p)
		}
	}()
	return f()
}

// nextBoot counts this start in the state directory and names it. The count is
// for people: the random digits make the name unique even if it repeats.
func nextBoot(dir string) (string, error) {
	path := filepath.Join(dir, "starts")
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	n, _ := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
	n++
	return bootName(n), replaceFile(path, fmt.Appendln(nil, n))
}

func bootName(n uint64) string {
	var digits [4]byte
	rand.Read(digits[:])
	return fmt.Sprintf("%d-%s", n, hex.EncodeToString(digits[:]))
}

// replaceFile writes a file so that a power cut leaves the old or the new one.
func replaceFile(path string, data []byte) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// Close writes what is still in memory and closes the file. Run has returned,
// or was never called.
func (q *Queue) Close() error {
	if q.file == nil {
		return nil
	}
	q.commit(true)
	return q.file.close()
}
