package pages

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// childEnv names a list of files that a child of this test gives to bbolt.
const childEnv = "PAGES_TEST_FILES"

func TestMain(m *testing.M) {
	flag.Parse()
	if list := os.Getenv(childEnv); list != "" {
		useAll(list)
		return
	}
	os.Exit(m.Run())
}

// useInChild lets a child use files, and says which one it died of.
func useInChild(t *testing.T, list []string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(name, []byte(strings.Join(list, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+name)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	timeout := time.AfterFunc(2*time.Minute, func() { cmd.Process.Kill() })
	err := cmd.Run()
	timeout.Stop()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		t.Fatalf("%v at %s\n%s", err, lines[len(lines)-1], errOut.Bytes()[:min(2000, errOut.Len())])
	}
	if n := strings.Count(out.String(), "\n"); n != len(list) {
		t.Fatalf("child used %d of %d files", n, len(list))
	}
}

// useAll is the child: it says what it begins with, and exits with 1 at the
// first file that bbolt returns an error for.
func useAll(list string) {
	f, err := os.Open(list)
	if err != nil {
		panic(err)
	}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fmt.Println(lines.Text())
		path, _, _ := strings.Cut(lines.Text(), "\t")
		if err := use(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// use does with a file what the queue does, and opens it twice: the file must also be intact
// after the commits.
func use(path string) error {
	for round := range 2 {
		db, err := shape{pageSize: 4096}.open(path)
		if err != nil {
			return fmt.Errorf("open %d: %w", round, err)
		}
		if err := db.View(func(tx *bbolt.Tx) error {
			return tx.ForEach(func(_ []byte, b *bbolt.Bucket) error { return read(b) })
		}); err != nil {
			return fmt.Errorf("view: %w", err)
		}
		for range 2 {
			if err := db.Update(write); err != nil {
				return fmt.Errorf("update: %w", err)
			}
		}
		if err := db.Close(); err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if _, err := verify(data); err != nil {
			return fmt.Errorf("after bbolt's commits: %w", err)
		}
	}
	return os.Remove(path)
}

// read walks a bucket forward and touches every byte.
func read(b *bbolt.Bucket) error {
	c := b.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		io.Discard.Write(bytes.Clone(k))
		io.Discard.Write(bytes.Clone(v))
		if v == nil {
			if err := read(b.Bucket(k)); err != nil {
				return err
			}
		}
	}
	for k, _ := c.Last(); k != nil; k, _ = c.Prev() {
		if k[len(k)-1]%8 == 0 {
			c.Seek(k)
		}
	}
	return nil
}

// write puts and deletes in every bucket, all the way down.
func write(tx *bbolt.Tx) error {
	err := tx.ForEach(func(_ []byte, b *bbolt.Bucket) error { return writeBucket(b) })
	if err != nil {
		return err
	}
	b, err := tx.CreateBucketIfNotExists([]byte("new"))
	if err != nil {
		return err
	}
	return b.Put([]byte("k"), bytes.Repeat([]byte("v"), 10000))
}

func writeBucket(b *bbolt.Bucket) error {
	b.FillPercent = 0.95
	var keys, inner [][]byte
	err := b.ForEach(func(k, v []byte) error {
		if v == nil {
			inner = append(inner, bytes.Clone(k))
		} else {
			keys = append(keys, bytes.Clone(k))
		}
		return nil
	})
	for i, k := range keys {
		switch {
		case err != nil:
		case i%3 == 0 || i < len(keys)/4:
			err = b.Delete(k)
		case i%3 == 1:
			err = b.Put(k, bytes.Repeat([]byte("w"), 100))
		}
	}
	for _, k := range inner {
		if err == nil {
			err = writeBucket(b.Bucket(k))
		}
	}
	if err == nil {
		_, err = b.NextSequence()
	}
	return err
}
