package arming

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// A cutDisk is a file system whose power is cut after some operations. What was written
// and not synced may be there, be missing or be cut short; a name that was changed and not
// synced may be the old or the new one.
type cutDisk struct {
	left    int               // operations until the power is cut
	durable map[string]string // names and contents that survive a power cut
	written map[string]string // contents of files, in memory
	synced  map[string]bool   // files whose content is durable under any name
	names   map[string]string // the folder in memory: the file that each name is
	files   int
}

var errCut = errors.New("the power was cut")

func newCutDisk(left int) *cutDisk {
	return &cutDisk{left: left, durable: map[string]string{}, written: map[string]string{},
		synced: map[string]bool{}, names: map[string]string{}}
}

func (d *cutDisk) spend() error {
	if d.left--; d.left < 0 {
		return errCut
	}
	return nil
}

func (d *cutDisk) read(path string) ([]byte, error) {
	if text, ok := d.durable[path]; ok {
		return []byte(text), nil
	}
	return nil, fs.ErrNotExist
}

func (d *cutDisk) write(path string, data []byte) error {
	if err := d.spend(); err != nil {
		return err
	}
	d.files++
	inode := fmt.Sprint(d.files)
	d.names[path], d.written[inode] = inode, string(data)
	return nil
}

func (d *cutDisk) sync(path string) error {
	if err := d.spend(); err != nil {
		return err
	}
	if inode, isFile := d.names[path]; isFile {
		d.synced[inode] = true
		return nil
	}
	d.durable = map[string]string{} // the folder as it is now
	for name, inode := range d.names {
		d.durable[name] = d.written[inode]
		if !d.synced[inode] {
			d.durable[name] = ""
		}
	}
	return nil
}

func (d *cutDisk) rename(from, to string) error {
	if err := d.spend(); err != nil {
		return err
	}
	d.names[to] = d.names[from]
	delete(d.names, from)
	return nil
}

// images returns all contents of the disk that are possible after a power cut now: the folder as it
// was synced or as it is, and each file that was not synced empty, truncated or complete.
func (d *cutDisk) images() []map[string]string {
	all := []map[string]string{maps.Clone(d.durable)}
	for _, share := range []int{0, 1, 2} {
		image := map[string]string{}
		for name, inode := range d.names {
			text := d.written[inode]
			if !d.synced[inode] {
				text = text[:len(text)*share/2]
			}
			image[name] = text
		}
		all = append(all, image)
	}
	return all
}

// states is a history of a panel.
var states = []Saved{
	{State: Disarmed, By: "start"},
	{State: Arming, Mode: "away", By: "code:anna", Bypass: []string{"cellar"}},
	{State: "armed_away", Mode: "away", By: "exit", Bypass: []string{"cellar"}},
	{State: Pending, Mode: "away", By: "rule:intruder", Rules: []string{"intruder"}},
	{State: Triggered, Mode: "away", By: "rule:intruder", Rules: []string{"intruder", "tamper"},
		At: clock.Stamp{Unix: 1763640000123, Uptime: 5000, Kernel: "2f1c0a99"}},
	{State: Disarmed, By: "code:anna"},
}

// cutEverywhere saves the states one after another, with a power cut after each operation. It returns
// the contents of images that have neither the state before nor the one that was being saved.
func cutEverywhere(save func(*Store, Saved) error) (wrong []string, images int) {
	for cut := range 4 * len(states) {
		d := newCutDisk(cut)
		s := &Store{path: "dir/arming.state", disk: d}
		done := 0
		for done < len(states) && save(s, states[done]) == nil {
			done++
		}
		for _, image := range d.images() {
			images++
			got, err := (&Store{path: s.path, disk: &cutDisk{durable: image}}).Load("away")
			before := Saved{State: Disarmed}
			if done > 0 {
				before = states[done-1]
			}
			isNext := done < len(states) && reflect.DeepEqual(got, states[done])
			if err != nil || !isNext && !reflect.DeepEqual(got, before) {
				wrong = append(wrong, fmt.Sprintf("cut after %d operations, %d states saved: %+v, %v", cut, done, got, err))
			}
		}
	}
	return wrong, images
}

// TestPowerCutLeavesTheOldOrTheNewState cuts the power after each write, sync and rename.
func TestPowerCutLeavesTheOldOrTheNewState(t *testing.T) {
	wrong, images := cutEverywhere((*Store).Save)
	t.Logf("%d images", images)
	if len(wrong) > 0 {
		t.Errorf("%d of %d:\n%s", len(wrong), images, strings.Join(wrong, "\n"))
	}
}

// TestPowerCutTestDetectsAMissingSync checks that the test above can fail.
func TestPowerCutTestDetectsAMissingSync(t *testing.T) {
	for name, save := range map[string]func(*Store, Saved) error{
		"the file": func(s *Store, saved Saved) error {
			return errors.Join(s.disk.write(s.path+".new", saved.encode()), s.disk.rename(s.path+".new", s.path),
				s.disk.sync("dir"))
		},
		"the folder": func(s *Store, saved Saved) error {
			return errors.Join(s.disk.write(s.path+".new", saved.encode()), s.disk.sync(s.path+".new"),
				s.disk.rename(s.path+".new", s.path))
		},
		"and writes in place": func(s *Store, saved Saved) error {
			return errors.Join(s.disk.write(s.path, saved.encode()), s.disk.sync(s.path), s.disk.sync("dir"))
		},
	} {
		if wrong, _ := cutEverywhere(save); len(wrong) == 0 {
			t.Errorf("a store that forgets %s was not found", name)
		}
	}
}

// TestStateIsRestoredAsSaved uses a real disk, also with an old temporary file from a crash.
func TestStateIsRestoredAsSaved(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	s := NewStore(path)
	if got, err := s.Load("away"); err != nil || got.State != Disarmed {
		t.Fatalf("without a file: %+v, %v", got, err)
	}
	if err := os.Symlink("/dev/null", path+".new"); err != nil {
		t.Fatal(err)
	}
	for _, want := range states {
		if err := s.Save(want); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Load("away"); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v\nwant %+v", got, err, want)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// TestDamagedFileCannotDisarm: flipped bits, truncated files, and a folder in place of the file.
func TestDamagedFileCannotDisarm(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	s := NewStore(path)
	intact := states[2].encode()
	check := func(name string) {
		t.Helper()
		got, err := s.Load("home")
		if err == nil || got.State != "armed_home" || got.Mode != "home" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for i := range intact {
		for bit := range 8 {
			damaged := append([]byte(nil), intact...)
			damaged[i] ^= 1 << bit
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			check(fmt.Sprintf("bit %d of byte %d", bit, i))
		}
		if err := os.WriteFile(path, intact[:i], 0o600); err != nil {
			t.Fatal(err)
		}
		check(fmt.Sprintf("cut after %d bytes", i))
	}
	if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
		t.Fatal(err)
	}
	check("a folder")
}

// FuzzAStateFileIsRefusedOrWhole: a file that is accepted is written again without a change.
func FuzzAStateFileIsRefusedOrWhole(f *testing.F) {
	for _, s := range states {
		f.Add(s.encode())
	}
	f.Add([]byte("holdfast arming 1 00000000\n{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decode(data)
		if err != nil {
			if !errors.Is(err, errDamaged) {
				t.Errorf("%v", err)
			}
			return
		}
		again, err := decode(s.encode())
		if err != nil || !reflect.DeepEqual(again, s) {
			t.Errorf("%+v became %+v, %v", s, again, err)
		}
		NewPanel(options(), s, start, 0, false).Advance(start)
	})
}
