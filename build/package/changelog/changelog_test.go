package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestEntriesHaveDebiansFormat(t *testing.T) {
	var b strings.Builder
	err := write(&b, `# Changelog

Words before.

## Unreleased: 0.2.0

### Fixed

- A value is **published** as it was `+"`measured`"+`, with a line that is so long that it has to go
  on in the next one.

## 0.1.0 - 2026-01-02

The first one.
`, "0.2.0~dev1", time.Unix(1767500000, 0).UTC())
	if err != nil {
		t.Fatal(err)
	}
	want := `holdfast (0.2.0~dev1) unstable; urgency=medium

  [ Fixed ]
  * A value is published as it was measured, with a line that is so long that
    it has to go on in the next one.

 -- holdfast maintainers <holdfast-iot@users.noreply.github.com>  Sun, 04 Jan 2026 04:13:20 +0000

holdfast (0.1.0) unstable; urgency=medium

  * The first one.

 -- holdfast maintainers <holdfast-iot@users.noreply.github.com>  Fri, 02 Jan 2026 00:00:00 +0000

`
	if b.String() != want {
		t.Errorf("got\n%s", b.String())
	}
}

func TestInvalidHeadingIsRefused(t *testing.T) {
	for _, text := range []string{"", "# Changelog\n", "## Next\n", "## Unreleased\n\n## Older\n"} {
		if err := write(&strings.Builder{}, text, "1.0", time.Now()); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// TestOurChangelogIsRead with Debian's own parser, if it is installed.
func TestOurChangelogIsRead(t *testing.T) {
	text, err := os.ReadFile("../../../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := write(&b, string(text), "1.0", time.Now()); err != nil {
		t.Fatal(err)
	}
	parser, err := exec.LookPath("dpkg-parsechangelog")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("dpkg-dev is not installed")
		}
		t.Skip("dpkg-dev is not installed; build/package/prove runs lintian on the package")
	}
	cmd := exec.Command(parser, "-l", "-", "--all")
	cmd.Stdin = strings.NewReader(b.String())
	var complaints strings.Builder
	cmd.Stderr = &complaints
	if err := cmd.Run(); err != nil || complaints.Len() > 0 {
		t.Errorf("%v: %s", err, complaints.String())
	}
}
