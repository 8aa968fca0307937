package initrd

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// list reads an archive like the kernel: names and data in order.
func list(t *testing.T, b []byte) (names []string, data map[string]string) {
	t.Helper()
	data = map[string]string{}
	for at := 0; ; {
		if at%4 != 0 || string(b[at:at+6]) != "070701" {
			t.Fatalf("no record at %d", at)
		}
		field := func(n int) int {
			v, err := strconv.ParseUint(string(b[at+6+8*n:at+14+8*n]), 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			return int(v)
		}
		size, nameSize := field(6), field(11)
		name := string(b[at+110 : at+110+nameSize-1])
		if name == "TRAILER!!!" {
			return names, data
		}
		start := (at + 110 + nameSize + 3) / 4 * 4
		names = append(names, name)
		data[name] = string(b[start : start+size])
		at = (start + size + 3) / 4 * 4
	}
}

func TestArchiveHasFoldersBeforeTheirFiles(t *testing.T) {
	var a Archive
	a.File("etc/holdfast/config.yaml", 0o644, []byte("odd"))
	a.Folder("etc")
	a.Link("bin/sh", "busybox")
	a.CharDevice("dev/console", 5, 1)
	names, data := list(t, a.Bytes())
	want := "etc etc/holdfast etc/holdfast/config.yaml bin bin/sh dev dev/console"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("archive has %q, want %q", got, want)
	}
	if data["etc/holdfast/config.yaml"] != "odd" || data["bin/sh"] != "busybox" {
		t.Errorf("contents %q", data)
	}
}

// module is the smallest ELF file with a .modinfo section.
func module(t *testing.T, info string) []byte {
	t.Helper()
	names := "\x00.modinfo\x00.shstrtab\x00"
	const head = 64
	var b bytes.Buffer
	put := func(v any) {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			t.Fatal(err)
		}
	}
	h := elf.Header64{
		Type: uint16(elf.ET_REL), Machine: uint16(elf.EM_AARCH64), Version: 1, Ehsize: head, Shentsize: 64, Shnum: 3,
		Shstrndx: 2,
		Shoff:    uint64(head + len(info) + len(names)),
	}
	copy(h.Ident[:], elf.ELFMAG+"\x02\x01\x01")
	put(h)
	b.WriteString(info + names)
	put(elf.Section64{})
	put(elf.Section64{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: head, Size: uint64(len(info))})
	put(elf.Section64{Name: 10, Type: uint32(elf.SHT_STRTAB), Off: uint64(head + len(info)), Size: uint64(len(names))})
	return b.Bytes()
}

func TestModulesFollowTheirDependencies(t *testing.T) {
	folder := t.TempDir()
	for name, info := range map[string]string{
		"ext4.ko":           "license=GPL\x00depends=jbd2,mbcache\x00softdep=pre: crc32c post: later\x00",
		"jbd2.ko":           "depends=\x00",
		"mbcache.ko":        "depends=jbd2\x00",
		"crc32c.ko":         "",
		"later.ko":          "",
		"i2c-dev.ko":        "depends=i2c-core\x00", // i2c-core is built in
		"unasked.ko":        "",
		"deep/virtio_x.ko":  "depends=i2c_dev\x00",
		"modules.builtin":   "",
		"deep/readme.ko.md": "",
	} {
		file := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, module(t, info), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	modules, err := Modules(folder, "ext4", "virtio-x", "i2c-dev")
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, m := range modules {
		order = append(order, m.Name)
	}
	want := "jbd2 mbcache crc32c ext4 i2c_dev virtio_x"
	if got := strings.Join(order, " "); got != want {
		t.Errorf("order %q, want %q", got, want)
	}
}
