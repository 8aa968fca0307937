package setup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-iot/holdfast/config"
)

// openTerminal returns the two ends of a pseudo-terminal: that of the user, and that of the
// program.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	number, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprint("/dev/pts/", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}

func echoes(t *testing.T, f *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

func TestPasswordInputIsHidden(t *testing.T) {
	person, program := openTerminal(t)
	if !IsTerminal(program) || !echoes(t, program) {
		t.Fatal("this is no terminal that shows what is typed")
	}
	var prompts bytes.Buffer
	typed := make(chan string)
	go func() {
		line, err := newTerminal(program, &prompts).line(t.Context(), "Password", "", true)
		if err != nil {
			line = err.Error()
		}
		typed <- line
	}()
	for end := time.Now().Add(time.Minute); echoes(t, program); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the terminal still shows what is typed")
		}
	}
	fmt.Fprint(person, " s3cret \n")
	if got := <-typed; got != " s3cret " || !echoes(t, program) {
		t.Errorf("typed %q, shown afterwards %v; want the blanks too, and true", got, echoes(t, program))
	}
}

// TestTerminalIsRestoredAfterAnInterrupt: Ctrl-C ends the context.
func TestTerminalIsRestoredAfterAnInterrupt(t *testing.T) {
	_, program := openTerminal(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := newTerminal(program, &bytes.Buffer{}).line(ctx, "Password", "", true)
	if !errors.Is(err, context.Canceled) || !echoes(t, program) {
		t.Errorf("%v, shown afterwards %v", err, echoes(t, program))
	}
}

func TestHostWithoutASchemeGetsASafeOne(t *testing.T) {
	for given, want := range map[string]string{
		"192.168.1.10":            "mqtt://192.168.1.10",
		"homeassistant.local":     "mqtt://homeassistant.local",
		"broker":                  "mqtt://broker",
		"broker.example.com":      "mqtts://broker.example.com",
		"broker.example.com:8884": "mqtts://broker.example.com:8884",
		"ws://10.0.0.1:9001/mqtt": "ws://10.0.0.1:9001/mqtt",
		"embedded":                "embedded",
	} {
		a := Answers{Server: given}
		if err := checkServer(&a); err != nil || a.Server != want {
			t.Errorf("%s: %s, %v; want %s", given, a.Server, err, want)
		}
	}
	for _, wrong := range []string{"", "http://broker.example.com", "my broker", "mqtt://"} {
		if err := checkServer(&Answers{Server: wrong}); err == nil {
			t.Errorf("%q is taken", wrong)
		}
	}
}

// session returns a session with flags, in its own folder.
func session(t *testing.T, a Answers) *Session {
	t.Helper()
	given := map[string]bool{"client-id": a.ClientID != "", "server": true, "username": a.Username != ""}
	return New(Options{Path: filepath.Join(t.TempDir(), "new", "config.yaml"), Answers: a, Given: given,
		Ask: &bytes.Buffer{}, Out: &bytes.Buffer{}, Today: "2026-11-30",
		Scan: func(context.Context) (string, error) { return rest, nil }})
}

func TestFileHasTheAnswers(t *testing.T) {
	s := session(t, Answers{ClientID: "porch", Server: "mqtts://broker.example.com", Username: `a "b" \ ü`,
		Password: "s3cret", HomeAssistant: true})
	if err := s.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(t.Context(), s.Path)
	if err != nil {
		t.Fatal(err)
	}
	password, err := cfg.Uplink.Password.Read(t.Context())
	if cfg.Uplink.ClientID != "porch" || cfg.Uplink.Username != `a "b" \ ü` || password != "s3cret" || err != nil ||
		!cfg.Uplink.HomeAssistant.Discovery || len(cfg.Warnings) > 0 {
		t.Errorf("%+v, password %q, %v", cfg, password, err)
	}
}

// TestExistingPasswordFileLeavesNoConfiguration: the file may belong to another program.
func TestExistingPasswordFileLeavesNoConfiguration(t *testing.T) {
	s := session(t, Answers{ClientID: "porch", Server: "mqtts://broker.example.com", Username: "porch",
		Password: "new"})
	s.Path = filepath.Join(t.TempDir(), "config.yaml")
	theirs := filepath.Join(filepath.Dir(s.Path), "mqtt.password")
	if err := os.WriteFile(theirs, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := s.Run(t.Context())
	text, _ := os.ReadFile(theirs)
	files, _ := os.ReadDir(filepath.Dir(s.Path))
	if !errors.Is(err, ErrMistake) || string(text) != "old" || len(files) != 1 {
		t.Errorf("%v, the file says %q, %d files", err, text, len(files))
	}
}

// FuzzDocumentPasses: for any answers, the file is refused before it is written, or it
// passes the check with the same values.
func FuzzDocumentPasses(f *testing.F) {
	f.Add("porch", "broker.example.com", "user", true)
	f.Add("a-b", "mqtt://10.0.0.1", "# {x: \"", false)
	f.Add("agent", "embedded", "é\u2028\x00", false)
	f.Fuzz(func(t *testing.T, id, server, user string, ha bool) {
		s := &Session{Options: Options{Given: map[string]bool{"client-id": true, "server": true, "username": true}}}
		a := Answers{ClientID: id, Server: server, Username: user, HomeAssistant: ha}
		if s.takeFlags(&a) != nil {
			return
		}
		cfg, err := config.Parse("f.yaml", []byte(document(a, rest, "2026-11-30")))
		if err != nil || cfg.Uplink.ClientID != id || cfg.Embedded == nil && cfg.Uplink.Username != user {
			t.Errorf("%q, %q, %q: %v", id, server, user, err)
		}
		if strings.Contains(server, "\n") {
			t.Errorf("a server of two lines is taken: %q", server)
		}
	})
}
