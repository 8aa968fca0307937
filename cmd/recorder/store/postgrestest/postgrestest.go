// Package postgrestest runs a real PostgreSQL for tests.
//
// # Concurrency
//
// Database may be called from any goroutine, Run and Stop from that of the test.
package postgrestest

import (
	"database/sql"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// A Server is a PostgreSQL of our own on loopback, in a folder that is deleted.
type Server struct {
	t    *testing.T
	addr string
	make func() *exec.Cmd
	cmd  *exec.Cmd
	n    atomic.Int64 // databases that were made
}

// Start starts a server, which is stopped at the end of the test. As root it runs as the user postgres, since the
// server refuses root.
func Start(t *testing.T) *Server {
	t.Helper()
	// Debian keeps the programs of each version in a folder of its own, not in PATH.
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		t.Fatal("PostgreSQL is not installed: apt-get install postgresql, or run build/test")
	}
	bin := filepath.Dir(found[len(found)-1])
	// Not t.TempDir: the folder above it is closed to the user that the server runs as.
	dir, err := os.MkdirTemp("", "recorder-postgres-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			t.Fatal(err)
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	// Everybody may connect: it listens on loopback, and there is nothing in it.
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "recorder", "--auth=trust", "--no-sync",
		"--encoding=UTF8", "--locale=C")
	initdb.SysProcAttr, initdb.Dir = attr, dir
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v: %s", err, out)
	}
	// A port that was free a moment ago.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, addr: l.Addr().String()}
	_, port, _ := net.SplitHostPort(s.addr)
	l.Close()
	s.make = func() *exec.Cmd {
		// Without fsync: the tests stop the server in order, and never cut its power.
		cmd := exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-h", "127.0.0.1", "-p", port, "-k", dir,
			"-c", "fsync=off")
		cmd.SysProcAttr, cmd.Dir = attr, dir
		return cmd
	}
	s.Run()
	t.Cleanup(s.Stop)
	return s
}

// Run starts the server again, and returns when it answers.
func (s *Server) Run() {
	s.t.Helper()
	s.cmd = s.make()
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		db, err := sql.Open("pgx", s.url("postgres"))
		if err == nil {
			err = db.Ping()
			db.Close()
		}
		switch {
		case err == nil:
			return
		case time.Now().After(end):
			s.t.Fatal("PostgreSQL does not answer: ", err)
		}
	}
}

// Stop ends the server: connections are closed, transactions are rolled back.
func (s *Server) Stop() {
	s.cmd.Process.Signal(syscall.SIGINT) // the fast shutdown
	s.cmd.Wait()
}

// url is the address of a database of the server.
func (s *Server) url(name string) string {
	return fmt.Sprintf("postgres://recorder@%s/%s", s.addr, name)
}

// Database makes an empty database and returns its URL.
func (s *Server) Database(t *testing.T) string {
	t.Helper()
	db, err := sql.Open("pgx", s.url("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	name := fmt.Sprintf("history%d", s.n.Add(1))
	if _, err := db.Exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	return s.url(name)
}
