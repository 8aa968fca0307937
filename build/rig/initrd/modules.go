package initrd

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A Module is a kernel module, in the format of insmod.
type Module struct {
	Name string
	Data []byte
}

// Modules finds modules and their dependencies below a folder such as
// /lib/modules/6.1.0-56-arm64, in the order in which to load them. A module that does not
// exist is skipped: it may be built into the kernel, and if one is really missing the
// machine does not boot.
func Modules(folder string, names ...string) ([]Module, error) {
	l := loader{files: map[string]string{}, seen: map[string]bool{}}
	if err := l.index(folder); err != nil {
		return nil, err
	}
	for _, name := range names {
		if err := l.load(name); err != nil {
			return nil, err
		}
	}
	return l.order, nil
}

// A loader traverses the dependencies of modules depth first.
type loader struct {
	files map[string]string // by name
	seen  map[string]bool
	order []Module
}

func (l *loader) index(folder string) error {
	return filepath.WalkDir(folder, func(file string, d fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(filepath.Base(file), ".ko"); ok && err == nil && !d.IsDir() {
			l.files[canonical(name)] = file
		}
		return err
	})
}

func (l *loader) load(name string) error {
	name = canonical(name)
	file, ok := l.files[name]
	if !ok || l.seen[name] {
		return nil
	}
	l.seen[name] = true
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	needs, err := needs(data)
	if err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	for _, need := range needs {
		if err := l.load(need); err != nil {
			return err
		}
	}
	l.order = append(l.order, Module{name, data})
	return nil
}

// canonical is the kernel's form of a name: i2c-dev and i2c_dev are the same module.
func canonical(name string) string { return strings.ReplaceAll(name, "-", "_") }

// needs are the modules to load before a module: those that export its symbols are in the
// first line of .modinfo, its algorithms (ext4's checksums) in the second.
func needs(module []byte) (names []string, err error) {
	file, err := elf.NewFile(bytes.NewReader(module))
	if err != nil {
		return nil, err
	}
	section := file.Section(".modinfo")
	if section == nil {
		return nil, nil
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	for line := range strings.SplitSeq(string(info), "\x00") {
		if list, ok := strings.CutPrefix(line, "depends="); ok && list != "" {
			names = append(names, strings.Split(list, ",")...)
		}
		if list, ok := strings.CutPrefix(line, "softdep=pre: "); ok {
			list, _, _ = strings.Cut(list, " post:")
			names = append(names, strings.Fields(list)...)
		}
	}
	return names, nil
}
