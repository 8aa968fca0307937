package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
)

// queueChecks look at where the queue is. A place that does not last is an error: the
// backlog would be lost without a word.
var queueChecks = []Check{
	{"queue-folder", "the folder of queue.path: its file system, and whether it can be written", true,
		[]*Fault{folderInMemory, folderOverlay, folderContainer, folderNetwork, folderReadOnly, folderDenied,
			folderNone},
		nil, checkFolder},
	{"queue-space", "free bytes and inodes where the queue is", true,
		[]*Fault{diskFull, diskSmall, noInodes}, nil, checkSpace},
	{"queue-owner", "whose readings are in the queue's file, and in those that were moved aside", true,
		[]*Fault{otherOwner, otherAside}, nil, checkOwner},
	{"queue-file", "the queue's file, read from end to end", false,
		[]*Fault{fileUnreadable, fileDamaged}, nil, checkQueueFile},
}

// onDisk mends a folder that does not last. The path in it is the default of
// queue.path.
const onDisk = "set queue.path to a folder on the SD card or another disk, such as /var/lib/holdfast/queue.db"

var (
	// Faults of the folder. Each of these file systems takes the queue, and loses it or
	// hangs later: only the network and memory are told apart from a disk, so that a
	// disk with an unusual file system is no false alarm.
	folderInMemory = &Fault{Error, "the queue's folder {folder} is on a {type}, which is empty after a power cut",
		onDisk}
	// raspi-config calls this the overlay file system; it protects a card and loses a
	// queue.
	folderOverlay = &Fault{Error,
		"the queue's folder {folder} is on an overlay that keeps its changes in memory: they are gone after a " +
			"power cut",
		"mount a partition that can be written at {folder}, or switch the overlay off (sudo raspi-config nonint " +
			"disable_overlayfs)"}
	// A layer outlives restarts, and goes with the next image: a warning, since
	// somebody may want just that for a trial.
	folderContainer = &Fault{Warning, "the queue's folder {folder} is on the overlay of a container, and goes with it",
		"mount a volume there: --volume holdfast:{folder}"}
	// It is an error although it works today: the queue is there for the time without
	// network.
	folderNetwork = &Fault{Error,
		"the queue's folder {folder} is on a network file system ({type}), which is away when the network is", onDisk}
	// The kernel remounts a file system read-only when the card returns errors (ext4,
	// errors=remount-ro), so the card is suspected first.
	folderReadOnly = &Fault{Error, "the queue's folder {folder} is on a file system that is read-only",
		"see dmesg whether the card fails (then replace it); else sudo mount -o remount,rw {mount}, or mount a " +
			"partition for it"}
	// The agent needs the right for the folder, as it makes and renames files beside
	// the queue.
	folderDenied = &Fault{Error, "user {user} may not write to the queue's folder {folder}",
		"sudo install -d -o {user} -m 750 {folder}, or set queue.path to a folder of this user"}
	// The agent makes the folder itself if it has the right to.
	folderNone = &Fault{Error, "the queue's folder {folder} is not there and cannot be made: {text}",
		"sudo install -d -o {user} -m 750 {folder}, or set queue.path"}

	// Faults of the space. A backlog that does not fit is thinned out and dropped early,
	// which is told when it is still far away.
	diskFull = &Fault{Error, "the disk with the queue ({folder}) is full: {free} are free",
		"delete what fills it: sudo du -xh {mount} | sort -h | tail shows the largest folders"}
	// It compares with the largest size that the configuration allows, not with that of
	// today.
	diskSmall = &Fault{Warning, "the disk with the queue ({folder}) has {free} free, and the queue may grow by {need}",
		"set queue.max_size to less than what is free, or delete what fills the disk: sudo du -xh {mount} | sort -h " +
			"| tail"}
	noInodes = &Fault{Error,
		"the file system with the queue ({folder}) has {free} free inodes: no file can be made soon",
		"delete folders with many small files: sudo du -x --inodes {mount} | sort -n | tail"}

	// Faults of the client ID: a card was cloned, or a node renamed. Nothing is lost in
	// either way: the agent never sends a backlog under another name by itself, and
	// never deletes it.
	otherOwner = &Fault{Warning,
		"the queue's file {file} holds the backlog of client ID {client_id}, and this node is {ours}",
		"set client_id back to {client_id}; or start the agent, which moves the file aside, and holdfast queue adopt " +
			"--from {client_id} sends it as {ours}"}
	otherAside = &Fault{Warning, "a backlog of client ID {client_id} lies in {file}, and nobody sends it",
		"holdfast queue adopt --from {client_id} sends it as {ours}; or delete the file"}

	// Faults of the file. The agent starts with whatever it finds, so that these are
	// warnings. The agent repairs the file, not the doctor: only one process may write
	// it.
	fileUnreadable = &Fault{Warning, "the queue's file cannot be read: {text}",
		"start the agent: it saves what can be read and keeps the rest beside it; see dmesg whether the card fails"}
	// Each block has a checksum of its own, so damage costs the readings of one block.
	fileDamaged = &Fault{Warning, "{count} blocks of the queue's file {file} are damaged",
		"nothing has to be done for the rest; see dmesg whether the card fails, and replace it then"}
)

// A mount is one line of mountinfo: proc(5). at is where it is mounted, kind the type
// of the file system. options are those of the mount and those of the file system, with
// commas between them: either can be read-only.
type mount struct {
	at, kind, options string
}

// mounts are the file systems as the kernel has them. They are in the order in which
// they were mounted. A line that is not understood is left out.
func (s *Site) mounts() (all []mount) {
	text, _ := os.ReadFile(filepath.Join(s.Hardware.Proc, "self", "mountinfo")) // no procfs: nothing is known
	for line := range strings.Lines(string(text)) {
		front, back, ok := strings.Cut(line, " - ")
		fields, more := strings.Fields(front), strings.Fields(back)
		if !ok || len(fields) < 6 || len(more) < 3 {
			continue
		}
		all = append(all, mount{unescape(fields[4]), more[0], fields[5] + "," + more[2]})
	}
	return all
}

// unescape undoes the octal escapes of mountinfo. The kernel escapes these four
// characters alone, as they separate the fields.
func unescape(text string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(text)
}

// under is the mount that a path is on. Of two at one place the later one hides the
// earlier. path has to be absolute and without links. It is the zero mount if nothing
// is known.
func under(all []mount, path string) (best mount) {
	for _, m := range all {
		if within(path, m.at) && len(m.at) >= len(best.at) {
			best = m
		}
	}
	return best
}

// within reports whether a path is a folder or below it. Both are absolute and clean. A
// common beginning of the name is not enough: /var2 is not below /var.
func within(path, dir string) bool {
	return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
}

// option is an option of the mount or of its file system. value is empty for an option
// without one, such as ro.
func (m mount) option(name string) (value string, set bool) {
	for o := range strings.SplitSeq(m.options, ",") {
		if key, value, _ := strings.Cut(o, "="); key == name {
			return value, true
		}
	}
	return "", false
}

// inMemory reports whether a file system is empty after a restart.
func (m mount) inMemory() bool { return m.kind == "tmpfs" || m.kind == "ramfs" }

// isNetwork reports whether a file system is on another machine. The names are those of
// the kernel's drivers and of FUSE, as mountinfo has them.
func (m mount) isNetwork() bool {
	switch m.kind {
	case "nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "ncpfs", "glusterfs", "fuse.sshfs", "fuse.glusterfs",
		"fuse.rclone":
		return true
	}
	return false
}

// folder is the queue's folder, and the nearest folder above it that is there, with its
// links followed. The second one is where the agent would make the folder, and so whose
// file system and rights count.
func (s *Site) folder() (want, there string) {
	want, err := filepath.Abs(filepath.Dir(s.Config.Queue.Path))
	if err != nil {
		want = filepath.Dir(s.Config.Queue.Path)
	}
	for there = want; ; there = filepath.Dir(there) {
		real, err := filepath.EvalSymlinks(there)
		if err == nil {
			return want, real
		}
		if there == filepath.Dir(there) {
			return want, there
		}
	}
}

// checkFolder tells a kind of file system and a missing right apart: each has a mend of
// its own. The right is asked for by access(2), which writes nothing to the card.
//
// One fault at most is about the kind of file system and one about the right to write.
// access(2) says yes to root whatever the mode is, and no where the file system is
// read-only.
func checkFolder(_ context.Context, s *Site) (found []Finding) {
	want, there := s.folder()
	all := s.mounts()
	m := under(all, there)
	upper, _ := m.option("upperdir")
	readOnly := false
	switch _, ro := m.option("ro"); {
	case m.inMemory():
		found = append(found, folderInMemory.at("folder", want, "type", m.kind))
	case m.isNetwork():
		found = append(found, folderNetwork.at("folder", want, "type", m.kind))
	case m.kind == "overlay" && under(all, upper).inMemory():
		found = append(found, folderOverlay.at("folder", want))
	case m.kind == "overlay" && !ro:
		found = append(found, folderContainer.at("folder", want))
	default:
		readOnly = ro
	}
	const mayWrite = 2 // W_OK of access(2)
	err := syscall.Access(there, mayWrite)
	switch {
	case readOnly, errors.Is(err, syscall.EROFS):
		found = append(found, folderReadOnly.at("folder", want, "mount", m.at))
	case err != nil && filepath.Clean(want) != there && !exists(want):
		found = append(found, folderNone.at("folder", want, "user", host.UserName(), "text",
			fmt.Sprintf("%s: %v", there, err)))
	case err != nil:
		found = append(found, folderDenied.at("folder", want, "user", host.UserName()))
	}
	return found
}

// exists reports whether there is something at a path that can be reached.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

const (
	// The agent cannot work with less than these. The error is for what stops the agent
	// now; a queue that cannot grow to its bound is the warning diskSmall.
	leastFree   = 2 << 20 // bytes: one large commit, and what else writes meanwhile
	leastInodes = 16      // the agent makes a few files beside the queue
)

// checkSpace compares what is free with what the queue may still grow by. Free is what
// is left to a user who is not root (f_bavail), as the agent is none.
func checkSpace(_ context.Context, s *Site) (found []Finding) {
	want, there := s.folder()
	var disk syscall.Statfs_t
	if err := syscall.Statfs(there, &disk); err != nil {
		return nil // queue-folder says more
	}
	mount := under(s.mounts(), there).at
	free := int64(disk.Bavail) * int64(disk.Bsize)
	need := s.Config.Queue.MaxSize
	if info, err := os.Stat(s.Config.Queue.Path); err == nil {
		need -= info.Size()
	}
	switch {
	case free < leastFree:
		found = append(found, diskFull.at("folder", want, "free", size(free), "mount", mount))
	case free < need:
		found = append(found, diskSmall.at("folder", want, "free", size(free), "need", size(need), "mount", mount))
	}
	if disk.Files > 0 && disk.Ffree < leastInodes { // some file systems have no fixed number: 0
		found = append(found, noInodes.at("folder", want, "free", disk.Ffree, "mount", mount))
	}
	return found
}

// size is a number of bytes for a person. It is rounded down, so that nobody relies on
// room that is not there.
func size(bytes int64) string {
	if bytes < 1<<20 {
		return fmt.Sprintf("%d KiB", bytes>>10)
	}
	return fmt.Sprintf("%d MiB", bytes>>20)
}

// checkOwner reads the client ID alone, and more only where it is not ours. A file that
// was moved aside is named as long as it exists, once for each.
func checkOwner(_ context.Context, s *Site) (found []Finding) {
	path, ours := s.Config.Queue.Path, s.Config.Uplink.ClientID
	owner, err := queue.Owner(path)
	if err == nil && owner != "" && owner != ours && waits(path) {
		found = append(found, otherOwner.at("file", path, "client_id", owner, "ours", ours))
	}
	for _, o := range queue.Others(path) {
		found = append(found, otherAside.at("client_id", o.ClientID, "file", o.Path, "ours", ours))
	}
	return found
}

// waits reports whether anything in a queue's file is not delivered. The agent takes an
// empty file for its own, whoever had it. A file that cannot be read counts as one with
// something in it.
func waits(path string) bool {
	c, err := queue.Inspect(path, nil)
	return err != nil || c.Alarms+c.Routine+c.Rejected+len(c.Gaps) > 0
}

// checkQueueFile reads as a running agent lets it: without a lock, as of a commit. It
// reads the whole file, which takes too long for the start of the agent.
func checkQueueFile(_ context.Context, s *Site) []Finding {
	path := s.Config.Queue.Path
	c, err := queue.Inspect(path, nil)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // the agent has not run yet
	case err != nil:
		return []Finding{fileUnreadable.at("text", err)}
	case c.Damaged > 0:
		return []Finding{fileDamaged.at("file", path, "count", c.Damaged)}
	}
	return nil
}
