package main

import (
	"database/sql"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/rogpeppe/go-internal/testscript"
)

// recorderEnv makes the test binary the recorder, so that tests can kill it.
const recorderEnv = "HOLDFAST_TEST_RECORDER"

func TestMain(m *testing.M) {
	if os.Getenv(recorderEnv) != "" {
		main()
	}
	testscript.Main(m, map[string]func(){"holdfast-recorder": main})
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{Dir: "testdata"})
}

// eventually waits until a condition is true. It fails the test after two minutes, which is long enough
// for a machine under heavy load.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within two minutes: %s", what)
		}
	}
}

func freeAddr(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// A program is a process that a test starts, kills and restarts.
type program struct {
	t    *testing.T
	make func() *exec.Cmd
	cmd  *exec.Cmd
	err  *logBuffer // standard error, of the program that runs
}

func (p *program) start() {
	p.t.Helper()
	p.cmd = p.make()
	p.err = &logBuffer{}
	p.cmd.Stderr = p.err
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
}

// kill ends the program with SIGKILL. stop sends SIGTERM, and the program must exit with status 0.
func (p *program) kill() { p.cmd.Process.Kill(); p.cmd.Wait() }
func (p *program) stop() { p.t.Helper(); p.stopWith(syscall.SIGTERM) }

// stopWith sends a signal, after which the program must exit with status 0.
func (p *program) stopWith(s syscall.Signal) {
	p.t.Helper()
	p.cmd.Process.Signal(s)
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("%v:\n%s", err, p.err)
	}
}

// startMosquitto starts a broker on loopback.
func startMosquitto(t *testing.T, addr, extra string) *program {
	t.Helper()
	if _, err := exec.LookPath("mosquitto"); err != nil {
		t.Fatal("mosquitto is not installed: apt-get install mosquitto, or run build/test")
	}
	dir := t.TempDir()
	_, port, _ := net.SplitHostPort(addr)
	conf := filepath.Join(dir, "mosquitto.conf")
	text := fmt.Sprintf("listener %s 127.0.0.1\nallow_anonymous true\nuser root\npersistence_location %s/\n"+
		"max_queued_messages 1000000\nlog_dest none\n%s", port, dir, extra)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	m := &program{t: t, make: func() *exec.Cmd { return exec.Command("mosquitto", "-c", conf) }}
	m.start()
	t.Cleanup(m.kill)
	waitFor(t, addr)
	return m
}

// waitFor waits until a server accepts connections.
func waitFor(t *testing.T, addr string) {
	t.Helper()
	eventually(t, "the broker listens", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// A recorder is the program under test with its database.
type recorder struct {
	*program
	conf, database string
}

// startRecorder starts a recorder with a new SQLite file. extra is added to its configuration.
func startRecorder(t *testing.T, addr, extra string) *recorder {
	t.Helper()
	return startRecorderWith(t, addr, "sqlite:"+filepath.Join(t.TempDir(), "history.db"), extra)
}

// startRecorderWith starts a recorder with a database, and waits until it is connected.
func startRecorderWith(t *testing.T, addr, database, extra string) *recorder {
	t.Helper()
	text := fmt.Sprintf("client_id: recorder-1\nmqtt: {server: \"mqtt://%s\"}\n%s", addr, extra)
	if strings.HasPrefix(extra, "client_id:") { // all of it
		text = extra
	}
	r := newRecorder(t, database, text)
	r.start()
	t.Cleanup(r.kill)
	r.connected()
	return r
}

// newRecorder writes a configuration; text is all of it except the database.
func newRecorder(t *testing.T, database, text string) *recorder {
	t.Helper()
	r := &recorder{conf: filepath.Join(t.TempDir(), "recorder.yaml"), database: database}
	text += fmt.Sprintf("\ndatabase: %q\n", database)
	if err := os.WriteFile(r.conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r.program = &program{t: t, make: func() *exec.Cmd { return r.command("run") }}
	return r
}

// command returns a command of the recorder with its configuration.
func (r *recorder) command(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], append(args, "-c", r.conf)...)
	cmd.Env = append(os.Environ(), recorderEnv+"=1")
	return cmd
}

// connected waits until the broker has a session for the recorder.
func (r *recorder) connected() {
	r.t.Helper()
	before := time.Now().UnixMilli()
	eventually(r.t, "the recorder connects", func() bool {
		return r.count("SELECT count(*) FROM connection WHERE at >= ?", before-60_000) > 0
	})
}

// output runs a command, and returns what it prints and its exit status.
func (r *recorder) output(args ...string) (string, int) {
	cmd := r.command(args...)
	out, _ := cmd.CombinedOutput()
	return string(out), cmd.ProcessState.ExitCode()
}

// waitExplained waits until verify explains every gap of a device, or fails the test with the output of
// verify.
func (r *recorder) waitExplained(t *testing.T, device string) {
	t.Helper()
	said, status := "", -1
	defer func() { t.Logf("verify %s: status %d\n%s", device, status, said) }()
	eventually(t, device+" is explained", func() bool {
		said, status = r.output("verify", device)
		return status == 0
	})
}

// count reads a number from the database; 0 if it cannot be read yet.
func (r *recorder) count(query string, args ...any) (n int) {
	driver, name := "pgx", r.database
	if path, ok := strings.CutPrefix(r.database, "sqlite:"); ok {
		driver, name = "sqlite", "file:"+path+"?mode=ro&_pragma=busy_timeout(10000)"
	} else {
		for n := 1; strings.Contains(query, "?"); n++ {
			query = strings.Replace(query, "?", fmt.Sprint("$", n), 1)
		}
	}
	db, err := sql.Open(driver, name)
	if err != nil {
		r.t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow(query, args...).Scan(&n); err != nil {
		return 0
	}
	return n
}

// counters returns the counters of the database as text.
func (r *recorder) counters() string {
	var b strings.Builder
	for _, name := range []string{"stored", "duplicates", "improved", "events", "quarantined", "refused"} {
		fmt.Fprintf(&b, "%s=%d ", name, r.count("SELECT value FROM counter WHERE name = ?", name))
	}
	return b.String()
}

// publisher connects a client of the MQTT library.
func publisher(t *testing.T, addr, id string) mqtt.Client {
	t.Helper()
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + addr).SetClientID(id).SetAutoReconnect(false).
		SetProtocolVersion(4))
	if tok := c.Connect(); !tok.WaitTimeout(time.Minute) || tok.Error() != nil {
		t.Fatal("publisher: ", tok.Error())
	}
	t.Cleanup(func() { c.Disconnect(0) })
	return c
}
