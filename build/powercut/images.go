package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/build/powercut/promise"
)

// imageTime limits the opening of one image.
const imageTime = time.Minute

// An outcome is the result of one image.
type outcome struct {
	cut, choice int
	expected    int // readings that must exist
	found       []promise.Violation
}

// open lets workers open images from..to of the batch. A worker is a separate process,
// because a damaged bbolt file can crash it; the next worker continues after that image.
func (b batch) open(from, to int, dir string, each func(outcome)) error {
	for from < to {
		n, err := b.work(dir, each, "-from", fmt.Sprint(from), "-to", fmt.Sprint(to))
		if err != nil {
			return err
		}
		from += n
	}
	return nil
}

func (b batch) openOne(cut, choice int, dir string, each func(outcome)) error {
	_, err := b.work(dir, each, "-cut", fmt.Sprint(cut), "-choice", fmt.Sprint(choice))
	return err
}

// work runs one worker, and returns how many images it has opened, including the one at
// which it crashed.
func (b batch) work(dir string, each func(outcome), args ...string) (done int, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	args = append([]string{"worker", "-recording", b.path, "-dir", dir,
		"-seed", fmt.Sprint(b.seed), "-life", fmt.Sprint(b.life), fmt.Sprint("-lies=", b.lies)}, args...)
	cmd := exec.Command(self, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	hung := time.AfterFunc(imageTime, func() { cmd.Process.Kill() })
	defer hung.Stop()
	done, last := outcomes(stdout, func(o outcome) { hung.Reset(imageTime); each(o) })
	err = cmd.Wait()
	if err != nil && last == nil {
		return done, fmt.Errorf("worker: %w\n%s", err, stderr.Bytes())
	}
	if last != nil {
		last.found = []promise.Violation{{Sort: promise.Died,
			What: fmt.Sprintf("%v: %s", err, firstLine(stderr.String()))}}
		each(*last)
		done++
	}
	return done, nil
}

// outcomes parses the output of a worker: "image CUT CHOICE", then a line for each
// violation, then "done EXPECTED". An image without its end is returned as the last.
func outcomes(r io.Reader, each func(outcome)) (done int, last *outcome) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		switch {
		case word == "image":
			last = new(outcome)
			fmt.Sscan(rest, &last.cut, &last.choice)
		case last == nil:
		case word == "done":
			fmt.Sscan(rest, &last.expected)
			each(*last)
			done, last = done+1, nil
		default:
			last.found = append(last.found, promise.Violation{Sort: promise.Sort(word), What: rest})
		}
	}
	return done, last
}

// firstLine is the reason of a crash, from a program's output.
func firstLine(text string) string {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "fatal error:") ||
			strings.HasPrefix(line, "unexpected fault") {
			return strings.TrimSpace(line)
		}
	}
	line, _, _ := strings.Cut(text, "\n")
	return line
}
