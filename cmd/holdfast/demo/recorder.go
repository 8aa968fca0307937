package demo

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// recorderName is the program that stores the history. It is a separate program, so that
// the agent contains no database.
const recorderName = "holdfast-recorder"

// A recorder is a holdfast-recorder that runs beside the demo and ends with it.
type recorder struct {
	program string
	config  string // its configuration file
	url     string // of its page
	run     *exec.Cmd
	logged  chan struct{} // closed when its log has ended
}

// startRecorder starts the recorder for a broker, with its database in the folder of the
// demo. The recorder's log is copied to log. The caller has to call stop.
func startRecorder(dir, broker string, log io.Writer) (r *recorder, err error) {
	r = &recorder{config: filepath.Join(dir, "recorder.yaml")}
	if r.program, err = findRecorder(); err != nil {
		return nil, err
	}
	listen, err := freePort()
	if err != nil {
		return nil, err
	}
	r.url = "http://" + listen + "/"
	text := fmt.Sprintf("client_id: recorder-1\nmqtt: {server: \"mqtt://%s\"}\ndatabase: %q\nstatus: {listen: %q}\n",
		broker, "sqlite:"+filepath.Join(dir, "history.db"), listen)
	if err := os.WriteFile(r.config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	r.run = exec.Command(r.program, "run", "-c", r.config)
	lines, err := r.run.StderrPipe()
	if err != nil {
		return nil, err
	}
	// A separate process group: Ctrl-C at the terminal must reach only the demo, which stops
	// the recorder after everything has arrived.
	r.run.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := r.run.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", r.program, err)
	}
	// The recorder misses everything that is published before it has subscribed.
	subscribed := make(chan string, 1)
	r.logged = make(chan struct{})
	go func() {
		defer close(r.logged)
		last := ""
		for scan := bufio.NewScanner(lines); scan.Scan(); {
			last = scan.Text()
			fmt.Fprintln(log, last)
			if strings.Contains(last, "msg=connected") {
				offer(subscribed, "")
			}
		}
		offer(subscribed, "it ended: "+last)
	}()
	why := "it did not connect"
	select {
	case why = <-subscribed:
	case <-time.After(settle):
	}
	if why != "" {
		r.run.Process.Kill()
		<-r.logged
		r.run.Wait()
		return nil, fmt.Errorf("%s cannot be used: %s", r.program, why)
	}
	return r, nil
}

// offer sends to a channel with a buffer of one, unless the buffer is full.
func offer(c chan string, text string) {
	select {
	case c <- text:
	default:
	}
}

// findRecorder returns the program beside this one, or else the one in $PATH.
func findRecorder() (string, error) {
	if own, err := os.Executable(); err == nil {
		path := filepath.Join(filepath.Dir(own), recorderName)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	path, err := exec.LookPath(recorderName)
	if err != nil {
		return "", fmt.Errorf("%s is neither beside holdfast nor in $PATH: build it with go build -o %[1]s ./cmd/recorder",
			recorderName)
	}
	return path, nil
}

// stop stops the recorder, and returns the result of its verify command for a device:
// whether every gap in the history is explained.
func (r *recorder) stop(device string) (said string, err error) {
	r.run.Process.Signal(syscall.SIGTERM)
	<-r.logged // exec.Cmd requires that reading ends before Wait
	if err := r.run.Wait(); err != nil {
		return "", fmt.Errorf("%s ended: %w", r.program, err)
	}
	out, err := exec.Command(r.program, "verify", "-c", r.config, device).CombinedOutput()
	var status *exec.ExitError
	if errors.As(err, &status) {
		err = fmt.Errorf("%s verify: %s", recorderName, out)
	}
	return string(out), err
}

// freePort returns an address of the loopback interface with a port that was free at the
// time of the call.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
