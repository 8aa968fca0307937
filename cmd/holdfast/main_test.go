package main

import (
	"context"
	"flag"
	"os"
	"os/signal"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// agentEnv makes the test binary run as the agent, so that tests can kill it.
const agentEnv = "HOLDFAST_TEST_AGENT"

// retryEnv is the agent's maxRetryWait.
const retryEnv = "HOLDFAST_TEST_RETRY_MOST"

// raceEnv has the options of the race detector.
const raceEnv = "GORACE"

func TestMain(m *testing.M) {
	if os.Getenv(agentEnv) != "" {
		maxRetryWait, _ = time.ParseDuration(os.Getenv(retryEnv))
		main()
	}
	if signal.Ignored(os.Interrupt) { // as in a background job: the agents would inherit it
		signal.Notify(make(chan os.Signal, 1), os.Interrupt)
	}
	if os.Getenv(raceEnv) == "" { // the race detector sleeps a second at the end of each program
		os.Setenv(raceEnv, "atexit_sleep_ms=0")
	}
	flag.Set("test.parallel", "24") // the tests mostly wait; -parallel overrides this
	testscript.Main(m, map[string]func(){"holdfast": main})
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Setup: func(env *testscript.Env) error {
			env.Setenv(raceEnv, os.Getenv(raceEnv))
			return nil
		},
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
