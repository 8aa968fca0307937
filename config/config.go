// Package config makes one file one [Config]: strict, and all errors at once.
//
// The file is YAML. An unknown key, a repeated key, a duration without a unit and a
// sensor that cannot exist are errors, and each is reported with its line and
// column. Nothing is opened here but the file itself: passwords, certificates and
// devices are named and left alone, so that a file can be checked on another machine
// than the one that it is for.
//
// There are two steps. The decoder (decode.go) fills structs whose yaml tags are the
// keys, the kinds' own among them, and knows where each came from. The reader
// (reader.go and the files it calls on) checks what they say.
//
// # Errors
//
// What a person wrote wrong is reported as [Errors], in the order of the file, at
// most 100. An error says what is wrong and what to write instead. It repeats no
// value that may be a secret. Where one mistake causes others, only the first one is
// reported: [problems.suppress] keeps the rest back.
//
// # Concurrency
//
// [Load] and [Parse] may be called from any goroutine; each call is its own, and
// what it returns is shared with nobody.
package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/access"
	"github.com/holdfast-iot/holdfast/sensors/arming"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
	"github.com/holdfast-iot/holdfast/sensors/rules"
	"github.com/holdfast-iot/holdfast/uplink"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// DefaultQueue is where the queue is, if the file does not say otherwise.
const DefaultQueue = "/var/lib/holdfast/queue.db"

// DefaultPath is where the file is, if nobody says otherwise.
const DefaultPath = "/etc/holdfast/config.yaml"

// A Config is what every package is to do. Uplink.Boot, Version and Hardware, and
// the clocks of Queue and Uplink, are not in the file: they are left for the caller
// to fill. It means nothing if there was an error.
type Config struct {
	Sensors  []sensors.Spec  // in the order of the file
	Outputs  []outputs.Spec  // in the order of the file
	Access   []access.Spec   // doors that open for a card, in the order of the file
	Rules    []rules.Rule    // in the order of the file
	Arming   *arming.Options // nil: there is no alarm panel
	Clock    clock.Trust
	Queue    queue.Options
	Uplink   uplink.Options
	Embedded *Embedded // set when the broker is to run inside the agent
	Status   *Status   // set when the status page is to be served
	Warnings Errors    // what is no mistake and still worth a word

	Untrusted string // why anybody may have written the file, one of the warnings; empty: they cannot
	Commands  bool   // the file names commands that the agent runs

	// Path and Text are those of a file with outputs that Load has read; else they are empty.
	Path string
	Text []byte
}

// Embedded is the broker inside the agent; Uplink.Servers is its address.
type Embedded struct {
	Listen   string      // host:port
	Password mqtt.Secret // zero: everybody may connect, which loopback alone allows
}

// maxFile is the size limit of a file in bytes: a thousand sensors take a tenth of
// it.
const maxFile = 1 << 20

// Load reads a file, or standard input if path is "-". What is wrong with it is
// an [Errors].
//
// It returns when ctx is done, whatever it reads from: a terminal or a named pipe
// may never come to its end. The reading is then left behind.
func Load(ctx context.Context, path string) (Config, error) {
	return untilDone(ctx, func() (Config, error) { return loadFile(path) })
}

// untilDone returns what read does, or when ctx is done: then read is left behind.
func untilDone[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type result struct {
		got T
		err error
	}
	loaded := make(chan result, 1)
	go func() {
		got, err := read()
		loaded <- result{got, err}
	}()
	// The channel has room for the result, so a reader that is left behind ends.
	select {
	case r := <-loaded:
		return r.got, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// loadFile reads a file, or standard input if path is "-". It also warns of a file
// that every user may write, which only an open file can tell.
func loadFile(path string) (Config, error) {
	if path == "-" {
		return load("<stdin>", os.Stdin)
	}
	f, err := os.Open(path)
	if err != nil {
		return Config{}, Errors{{File: path, Text: unreadable(err, agentHints)}}
	}
	defer f.Close()
	data, err := readAll(path, f)
	if err != nil {
		return Config{}, err
	}
	cfg, err := Parse(path, data)
	if err != nil {
		return cfg, err
	}
	if len(cfg.Outputs) > 0 { // a thousand sensors have 100 kB of text
		cfg.Path, cfg.Text = path, bytes.Clone(data)
	}
	if cfg.Untrusted = writableProblem(path, f); cfg.Untrusted != "" {
		cfg.Warnings = append(cfg.Warnings, Error{File: path, Text: cfg.Untrusted})
	}
	return cfg, nil
}

// load reads and parses a text to its end.
func load(name string, from io.Reader) (Config, error) {
	data, err := readAll(name, from)
	if err != nil {
		return Config{}, err
	}
	return Parse(name, data)
}

// readAll reads a text to its end, but no more than a configuration can have: a person
// may name a device or a log file by mistake. An error is an [Errors].
func readAll(name string, from io.Reader) ([]byte, error) {
	var data bytes.Buffer
	// One byte more than may be there tells a file that is too large.
	n, err := io.Copy(&data, io.LimitReader(from, maxFile+1))
	if err != nil {
		return nil, Errors{{File: name, Text: unreadable(err, agentHints)}}
	}
	if n > maxFile {
		return nil, Errors{{File: name, Text: "this is not a configuration: it is larger than 1MiB"}}
	}
	return data.Bytes(), nil
}

// hints are what an error about a file suggests.
type hints struct {
	program  string   // that has to be able to read it
	smallest []string // the keys of the smallest file that works
}

var agentHints = hints{"holdfast", []string{"mqtt: {server: mqtts://broker.example.com}",
	"sensors: {door: {kind: contact, gpio: GPIO17}}"}}

// unreadable says why there is no file to read and what to do. The path is left out:
// the error names it already.
func unreadable(err error, h hints) string {
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("%v: write one, with at least %q and %q, or name another with -c FILE",
			err, h.smallest[0], h.smallest[1])
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("%v: the user that runs %s has to be able to read it", err, h.program)
	}
	return err.Error()
}

// Parse reads the text of a file; name is what errors call it. What is wrong with it
// is an [Errors], and then the Config is empty. Warnings are no error.
//
// It reads no file but those that name the client, when client_id is not given: the
// serial number of the board, or the host name.
func Parse(name string, data []byte) (Config, error) {
	return parse(name, data, catalog{drivers.New, drivers.Kinds})
}

// A catalog knows the kinds of sensors. That of package drivers is used, but for
// tests. open returns the options of a kind with their defaults, not ok if there is
// no such kind; kinds lists all names.
type catalog struct {
	open  func(kind string) (drivers.Options, bool)
	kinds func() []string
}
