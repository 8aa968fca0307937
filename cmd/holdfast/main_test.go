package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// agentEnv makes the test binary the agent, so that tests can kill it.
const agentEnv = "HOLDFAST_TEST_AGENT"

func TestMain(m *testing.M) {
	if os.Getenv(agentEnv) != "" {
		main()
	}
	testscript.Main(m, map[string]func(){"holdfast": main})
}

func TestCommandLine(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:  "testdata",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"refuse": refuse},
	})
}

func TestUnknownCommandExitsWith2(t *testing.T) {
	if status := command(context.Background(), []string{"fly"}); status != 2 {
		t.Errorf("status %d", status)
	}
}

func TestWrongFileExitsWith2(t *testing.T) {
	path := filepath.Join(t.TempDir(), "wrong.yaml")
	if err := os.WriteFile(path, []byte("colour: red\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"check", "run", "read"} {
		if status := command(context.Background(), []string{name, "-c", path}); status != 2 {
			t.Errorf("%s: status %d", name, status)
		}
	}
}
