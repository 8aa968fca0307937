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

// queueChecks check the place of the queue. A place that does not survive a restart is an
// error: the backlog would be lost silently.
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

// onDisk is the remedy for a folder that does not survive a restart. The path in it is the
// default of queue.path.
const onDisk = "set queue.path to a folder on the SD card or another disk, such as /var/lib/holdfast/queue.db"

var (
	// Faults of the folder. Each of these file systems accepts the queue, and loses it or hangs
	// later. Only network file systems and memory are treated as faults, so an unusual file
	// system on a disk causes no false alarm.
	folderInMemory = &Fault{Error, "the queue's folder {folder} is on a {type}, which is empty after a power cut",
		onDisk}
	// raspi-config calls this the overlay file system; it protects a card and loses a queue.
	folderOverlay = &Fault{Error,
		"the queue's folder {folder} is on an overlay that keeps its changes in memory: they are gone after a " +
			"power cut",
		"mount a partition that can be written at {folder}, or switch the overlay off (sudo raspi-config nonint " +
			"disable_overlayfs)"}
	// A layer of a container survives a restart, and is deleted with the container: a warning,
	// because that may be intended for a trial.
	folderContainer = &Fault{Warning,
		"the queue's folder {folder} is on the overlay of a container, and is deleted with it",
		"mount a volume there: --volume holdfast:{folder}"}
	// This is an error although it works today: the queue is needed exactly when there is no
	// network.
	folderNetwork = &Fault{Error,
		"the queue's folder {folder} is on a network file system ({type}), which is away when the network is", onDisk}
	// The kernel remounts a file system read-only when the card returns errors (ext4,
	// errors=remount-ro), so the card is the first suspect.
	folderReadOnly = &Fault{Error, "the queue's folder {folder} is on a file system that is read-only",
		"see dmesg whether the card fails (then replace it); else sudo mount -o remount,rw {mount}, or mount a " +
			"partition for it"}
	// The agent needs to write to the folder, because it creates and renames files beside the
	// queue.
	folderDenied = &Fault{Error, "user {user} may not write to the queue's folder {folder}",
		"sudo install -d -o {user} -m 750 {folder}, or set queue.path to a folder of this user"}
	// The agent creates the folder itself if it has the right to.
	folderNone = &Fault{Error, "the queue's folder {folder} is not there and cannot be made: {text}",
		"sudo install -d -o {user} -m 750 {folder}, or set queue.path"}

	// Faults of the space. A backlog that does not fit is thinned out and dropped early, so
	// this is reported in advance.
	diskFull = &Fault{Error, "the disk with the queue ({folder}) is full: {free} are free",
		"delete what fills it: sudo du -xh {mount} | sort -h | tail shows the largest folders"}
	// The free space is compared with the largest size that the configuration allows, not with
	// the present size.
	diskSmall = &Fault{Warning, "the disk with the queue ({folder}) has {free} free, and the queue may grow by {need}",
		"set queue.max_size to less than what is free, or delete what fills the disk: sudo du -xh {mount} | sort -h " +
			"| tail"}
	noInodes = &Fault{Error,
		"the file system with the queue ({folder}) has {free} free inodes: no file can be made soon",
		"delete folders with many small files: sudo du -x --inodes {mount} | sort -n | tail"}

	// Faults of the client ID: a card was cloned, or a node renamed. Nothing is lost in either
	// case: the agent never deletes a backlog with another client ID, and never sends it
	// without a command.
	otherOwner = &Fault{Warning,
		"the queue's file {file} holds the backlog of client ID {client_id}, and this node is {ours}",
		"set client_id back to {client_id}; or start the agent, which moves the file aside, and holdfast queue adopt " +
			"--from {client_id} sends it as {ours}"}
	otherAside = &Fault{Warning, "a backlog of client ID {client_id} lies in {file}, and nobody sends it",
		"holdfast queue adopt --from {client_id} sends it as {ours}; or delete the file"}

	// Faults of the file. The agent starts with any file, so these are warnings. The agent
	// repairs the file, not the doctor: only one process may write to it.
	fileUnreadable = &Fault{Warning, "the queue's file cannot be read: {text}",
		"start the agent: it saves what can be read and keeps the rest beside it; see dmesg whether the card fails"}
	// Each block has its own checksum, so damage costs only the readings of one block.
	fileDamaged = &Fault{Warning, "{count} blocks of the queue's file {file} are damaged",
		"nothing has to be done for the rest; see dmesg whether the card fails, and replace it then"}
)

// A mount is one line of mountinfo: proc(5). at is the mount point, kind the type of the
// file system. options are those of the mount and those of the file system, joined by
// commas, because either can be read-only.
type mount struct {
	at, kind, options string
}

// mounts returns the file systems in the order in which they were mounted. A line that
// cannot be parsed is skipped.
func (s *Site) mounts() (all []mount) {
	text, _ := os.ReadFile(filepath.Join(s.Hardware.Proc, "self", "mountinfo")) // without procfs there are none
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

// unescape replaces the octal escapes of mountinfo. The kernel escapes only these four
// characters, because they separate the fields.
func unescape(text string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(text)
}

// mountOf returns the mount that a path is on. If two mounts have the same place, the later
// one hides the earlier. path has to be absolute and without links. The result is the zero
// mount if none is known.
func mountOf(all []mount, path string) (best mount) {
	for _, m := range all {
		if within(path, m.at) && len(m.at) >= len(best.at) {
			best = m
		}
	}
	return best
}

// within reports whether a path is a folder or below it. Both are absolute and clean. A
// common prefix is not enough: /var2 is not below /var.
func within(path, dir string) bool {
	return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
}

// option returns an option of the mount or of its file system. value is empty for an option
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

// isNetwork reports whether a file system is on another machine. The names are those of the
// kernel's drivers and of FUSE, as in mountinfo.
func (m mount) isNetwork() bool {
	switch m.kind {
	case "nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "ncpfs", "glusterfs", "fuse.sshfs", "fuse.glusterfs",
		"fuse.rclone":
		return true
	}
	return false
}

// folder returns the queue's folder, and the nearest existing folder above it with links
// resolved. The agent would create the folder there, so the file system and the rights of
// the second one matter.
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

// checkFolder finds at most one fault of the file system's type and one of the right to
// write: each has its own remedy. access(2) tests the right without writing to the card.
//
// For root access(2) allows everything, except on a read-only file system.
func checkFolder(_ context.Context, s *Site) (found []Finding) {
	want, there := s.folder()
	all := s.mounts()
	m := mountOf(all, there)
	upper, _ := m.option("upperdir")
	readOnly := false
	switch _, ro := m.option("ro"); {
	case m.inMemory():
		found = append(found, folderInMemory.at("folder", want, "type", m.kind))
	case m.isNetwork():
		found = append(found, folderNetwork.at("folder", want, "type", m.kind))
	case m.kind == "overlay" && mountOf(all, upper).inMemory():
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

// exists reports whether a path exists and is accessible.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

const (
	// The agent cannot work with less than these, so less is an error. A queue that cannot grow
	// to its limit is the warning diskSmall.
	minFree   = 2 << 20 // bytes: one large commit, and what else writes meanwhile
	minInodes = 16      // the agent makes a few files beside the queue
)

// checkSpace compares the free space with what the queue may still grow by. Free is what is
// left for users other than root (f_bavail), because the agent does not run as root.
func checkSpace(_ context.Context, s *Site) (found []Finding) {
	want, there := s.folder()
	var disk syscall.Statfs_t
	if err := syscall.Statfs(there, &disk); err != nil {
		return nil // queue-folder reports it
	}
	mount := mountOf(s.mounts(), there).at
	free := int64(disk.Bavail) * int64(disk.Bsize)
	need := s.Config.Queue.MaxSize
	if info, err := os.Stat(s.Config.Queue.Path); err == nil {
		need -= info.Size()
	}
	switch {
	case free < minFree:
		found = append(found, diskFull.at("folder", want, "free", size(free), "mount", mount))
	case free < need:
		found = append(found, diskSmall.at("folder", want, "free", size(free), "need", size(need), "mount", mount))
	}
	if disk.Files > 0 && disk.Ffree < minInodes { // some file systems have no fixed number: 0
		found = append(found, noInodes.at("folder", want, "free", disk.Ffree, "mount", mount))
	}
	return found
}

// size formats a number of bytes. It rounds down, so that nobody relies on space that does
// not exist.
func size(bytes int64) string {
	if bytes < 1<<20 {
		return fmt.Sprintf("%d KiB", bytes>>10)
	}
	return fmt.Sprintf("%d MiB", bytes>>20)
}

// checkOwner reads only the client ID, and more of the file only if the ID is not ours.
// Each file that was moved aside is reported as long as it exists.
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

// waits reports whether a queue's file has anything that is not delivered. The agent takes
// over an empty file, whatever its client ID is. A file that cannot be read counts as one
// that has something.
func waits(path string) bool {
	c, err := queue.Inspect(path, nil)
	return err != nil || c.Alarms+c.Routine+c.Rejected+len(c.Gaps) > 0
}

// checkQueueFile reads the whole file as of the last commit, without a lock, so the agent
// may run meanwhile. That takes too long for the start of the agent.
func checkQueueFile(_ context.Context, s *Site) []Finding {
	path := s.Config.Queue.Path
	c, err := queue.Inspect(path, nil)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // the agent has never run
	case err != nil:
		return []Finding{fileUnreadable.at("text", err)}
	case c.Damaged > 0:
		return []Finding{fileDamaged.at("file", path, "count", c.Damaged)}
	}
	return nil
}
