// Command changelog converts CHANGELOG.md to the format of Debian's changelogs.
//
//	go run ./build/package/changelog VERSION UNIX-TIME <CHANGELOG.md
//
// The section Unreleased becomes the entry of the given version.
package main

import (
	"fmt"
	"io"
	"log"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	maintainer = "holdfast maintainers <holdfast-iot@users.noreply.github.com>"
	width      = 79 // columns
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: changelog VERSION UNIX-TIME <CHANGELOG.md")
	}
	seconds, err := strconv.ParseInt(os.Args[2], 10, 64)
	if err != nil {
		log.Fatal("changelog: the time: ", err)
	}
	text, err := io.ReadAll(os.Stdin)
	if err == nil {
		err = write(os.Stdout, string(text), os.Args[1], time.Unix(seconds, 0).UTC())
	}
	if err != nil {
		log.Fatal("changelog: ", err)
	}
}

// released matches the heading of a version: "## 1.2.0 - 2026-01-02".
var released = regexp.MustCompile(`^## \[?([0-9][^\] ]*)\]? - (\d{4}-\d\d-\d\d)$`)

// write writes an entry for each version, the latest first.
func write(to io.Writer, text, version string, now time.Time) error {
	entries := 0
	for _, section := range strings.Split("\n"+text, "\n## ")[1:] {
		heading, body, _ := strings.Cut(section, "\n")
		name, at := version, now
		if m := released.FindStringSubmatch("## " + heading); m != nil {
			var err error
			if at, err = time.Parse(time.DateOnly, m[2]); err != nil {
				return err
			}
			name = m[1]
		} else if entries > 0 || !strings.HasPrefix(heading, "Unreleased") {
			return fmt.Errorf("heading %q is neither the first, Unreleased, nor VERSION - DATE", heading)
		}
		entries++
		_, err := fmt.Fprintf(to, "holdfast (%s) unstable; urgency=medium\n\n%s\n -- %s  %s\n\n", name, changes(body),
			maintainer, at.Format(time.RFC1123Z))
		if err != nil {
			return err
		}
	}
	if entries == 0 {
		return fmt.Errorf("there is no version")
	}
	return nil
}

// changes converts the paragraphs and lists of a version to items.
func changes(body string) string {
	var b strings.Builder
	var item string
	flush := func() {
		if item != "" {
			b.WriteString(wrap(item))
		}
		item = ""
	}
	for line := range strings.Lines(body) {
		line = strings.TrimSpace(line)
		switch {
		case line == "":
			flush()
		case strings.HasPrefix(line, "### "):
			flush()
			fmt.Fprintf(&b, "  [ %s ]\n", strings.TrimPrefix(line, "### "))
		case strings.HasPrefix(line, "- "):
			flush()
			item = strings.TrimPrefix(line, "- ")
		case item == "":
			item = line
		default:
			item += " " + line
		}
	}
	flush()
	return b.String()
}

// wrap breaks an item into lines, and removes the markup of Markdown.
func wrap(item string) string {
	item = strings.NewReplacer("**", "", "`", "").Replace(item)
	var b strings.Builder
	line := "  *"
	for _, word := range strings.Fields(item) {
		if len([]rune(line))+1+len([]rune(word)) > width && strings.TrimSpace(line) != "" {
			b.WriteString(line + "\n")
			line = "   "
		}
		line += " " + word
	}
	return b.String() + line + "\n"
}
