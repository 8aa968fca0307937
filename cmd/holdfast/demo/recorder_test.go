package demo

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestUnusableRecorderIsReported tests a missing program and one that ends at once.
func TestUnusableRecorderIsReported(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := startRecorder(t.TempDir(), "127.0.0.1:1", io.Discard); err == nil ||
		!strings.Contains(err.Error(), "go build -o holdfast-recorder ./cmd/recorder") {
		t.Errorf("without the program: %v", err)
	}
	dir := t.TempDir()
	program := filepath.Join(dir, recorderName)
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho no such key >&2\nexit 2\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	if _, err := startRecorder(t.TempDir(), "127.0.0.1:1", io.Discard); err == nil ||
		!strings.Contains(err.Error(), "it ended: no such key") {
		t.Errorf("with one that ends: %v", err)
	}
}
