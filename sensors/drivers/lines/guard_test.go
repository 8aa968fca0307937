package lines

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// agentWord makes the test program an agent that runs a command and prints what
// it says, until it is killed.
const agentWord = "HOLDFAST_TEST_RUN_LINES"

func TestMain(m *testing.M) {
	if script := os.Getenv(agentWord); script != "" {
		runAgent(script)
	}
	os.Exit(m.Run())
}

func runAgent(script string) {
	c, err := startCommand([]string{"/bin/sh", "-c", script}, nil)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	in := bufio.NewScanner(c.lines())
	for in.Scan() {
		fmt.Println(in.Text())
	}
	select {}
}

// killAgent runs a script under an agent that is killed after the script has told
// so many processes, and returns their numbers.
func killAgent(t *testing.T, script string, n int) (pids []int) {
	t.Helper()
	agent := exec.Command("/proc/self/exe")
	agent.Env = append(os.Environ(), agentWord+"="+script)
	out, err := agent.StdoutPipe()
	if err == nil {
		err = agent.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewScanner(out)
	for len(pids) < n && in.Scan() {
		pid, err := strconv.Atoi(in.Text())
		if err != nil {
			t.Error(in.Text())
			break
		}
		pids = append(pids, pid)
		t.Cleanup(func() { syscall.Kill(pid, syscall.SIGKILL) }) // where the agent's end did not end it
	}
	if err := agent.Process.Kill(); err != nil {
		t.Error(err)
	}
	if err := agent.Wait(); err == nil || len(pids) < n {
		t.Fatal("the agent was not killed: ", err, pids)
	}
	return pids
}

// Whatever a command started ends with the agent, also when it is killed: what the
// shell put into the background, what ignores signals, and what outlived its parent.
func TestGrandchildrenEndWithAnAgentThatIsKilled(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"in the background": `sleep 60 & echo $!; echo $$; wait`,
		"stubborn":          `trap '' TERM HUP INT PIPE; sleep 60 & echo $!; echo $$; while :; do sleep 60; done`,
		"orphan":            `(sleep 60 & echo $!); echo $$; exec sleep 60`,
		"without its shell": `sleep 60 >/dev/null 2>&1 & echo $!; echo $!`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pids := killAgent(t, script, 2)
			for end := time.Now().Add(20 * time.Second); ; runtime.Gosched() {
				left := ""
				for _, pid := range pids {
					if !gone(pid) {
						left += fmt.Sprint(pid, " ")
					}
				}
				if left == "" {
					return
				}
				if time.Now().After(end) {
					t.Fatalf("of %v there are still %s", pids, left)
				}
			}
		})
	}
}

// A command belongs to the agent and not to the thread that started it.
func TestCommandSurvivesTheThreadThatStartedIt(t *testing.T) {
	t.Parallel()
	gate := filepath.Join(t.TempDir(), "gate")
	mkfifo(t, gate)
	started, thread := make(chan *command), make(chan int, 1)
	var start func()
	start = func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		if syscall.Gettid() == os.Getpid() {
			var other sync.WaitGroup
			other.Go(start) // the main thread does not end; while it is held, another is used
			other.Wait()
			return
		}
		c, err := startCommand([]string{"/bin/sh", "-c", "echo 1; read x <" + gate + "; echo $x; exec sleep 60"}, nil)
		if err != nil {
			t.Error(err)
		}
		thread <- syscall.Gettid()
		started <- c
	}
	go start()
	c := <-started
	defer c.Close()
	task := filepath.Join("/proc/self/task", strconv.Itoa(<-thread))
	for end := time.Now().Add(20 * time.Second); ; runtime.Gosched() {
		if _, err := os.Stat(task); err != nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the thread goes on")
		}
	}
	w, err := os.OpenFile(gate, os.O_RDWR, 0) // which does not wait for a reader that has been killed
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := w.WriteString("2\n"); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewScanner(c.lines())
	var lines []string
	for len(lines) < 2 && in.Scan() {
		lines = append(lines, in.Text())
	}
	if got := strings.Join(lines, " "); got != "1 2" {
		t.Errorf("it said %q", got)
	}
}
