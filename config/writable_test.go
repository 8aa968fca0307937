package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWorldWritableFileIsAWarning(t *testing.T) {
	for _, c := range []struct {
		file, folder os.FileMode
		want         string
	}{
		{0o600, 0o755, ""}, {0o644, 0o755, ""}, {0o664, 0o775, ""}, {0o600, 0o777 | os.ModeSticky, ""},
		{0o666, 0o755, "(mode 0666): chmod o-w "}, {0o602, 0o755, "(mode 0602): chmod o-w "},
		{0o600, 0o777, "(its folder has mode 0777): chmod o-w "},
		{0o600, 0o703, "(its folder has mode 0703): chmod o-w "},
	} {
		dir := filepath.Join(t.TempDir(), "folder")
		path := filepath.Join(dir, "config.yaml")
		link := filepath.Join(t.TempDir(), "link.yaml")
		for _, err := range []error{os.Mkdir(dir, 0o700), os.WriteFile(path, []byte("mqtt: {server: mqtt://b}\n"+
			"sensors: {tank: {kind: lines, command: [/bin/true]}}\n"), 0o600), os.Chmod(path, c.file),
			os.Chmod(dir, c.folder), os.Symlink(path, link)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []string{path, link} {
			cfg, err := Load(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			if !cfg.Commands {
				t.Error("the command is not seen")
			}
			if (cfg.Untrusted == "") != (c.want == "") || !strings.Contains(cfg.Untrusted, c.want) ||
				len(cfg.Warnings) > 0 != (c.want != "") {
				t.Errorf("modes %v and %v: got %q, %v", c.file, c.folder, cfg.Untrusted, cfg.Warnings)
			}
		}
	}
}
