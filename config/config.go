// Package config reads the configuration file into a [Config]. It is strict, and reports
// all mistakes at once.
//
// The file is YAML. An unknown key, a repeated key, a duration without a unit and a
// sensor that cannot exist are errors, and each is reported with its line and column. The
// package opens only the file itself: it does not open the passwords, certificates and
// devices that the file names, so that a file can be checked on another machine than the
// one that it is for.
//
// There are two steps. The decoder (decode.go) fills structs whose yaml tags are the keys,
// including the keys of each kind of sensor, and remembers the position of each value. The
// reader (reader.go and the files with its other methods) checks the values.
//
// # Errors
//
// Mistakes in the file are returned as [Errors], in the order of the file, at most 100. An
// error says what is wrong and what to write instead. It never contains a value that may be
// a secret. Where one mistake causes others, only the first one is reported:
// [problems.suppress] hides the rest.
//
// # Concurrency
//
// [Load] and [Parse] may be called from any goroutine. Calls share no data, and the result
// belongs to the caller.
package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

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

// DefaultQueue is the path of the queue if the file has no queue.path.
const DefaultQueue = "/var/lib/holdfast/queue.db"

// DefaultPath is the path of the configuration file if there is no -c.
const DefaultPath = "/etc/holdfast/config.yaml"

// A Config has the options of every package. Uplink.Boot, Version and Hardware, and the
// clocks of Queue and Uplink, are not in the file: the caller has to set them. A Config that
// was returned with an error has no meaning.
type Config struct {
	Sensors  []sensors.Spec  // in the order of the file
	Outputs  []outputs.Spec  // in the order of the file
	Access   []access.Spec   // doors that open for a card, in the order of the file
	Rules    []rules.Rule    // in the order of the file
	Arming   *arming.Options // nil: there is no alarm panel
	Clock    clock.Trust
	Queue    queue.Options
	Uplink   uplink.Options
	Embedded *Embedded // the broker inside the agent; nil: there is none
	Status   *Status   // the status page; nil: there is none
	Warnings Errors    // settings that are allowed but suspicious

	Untrusted string // why other users may have written the file, also one of the warnings; empty: they cannot
	Commands  bool   // the file names commands that the agent runs

	// Path and Text are the file's path and content, if Load has read it and it has outputs;
	// else they are empty.
	Path string
	Text []byte
}

// Embedded is the broker inside the agent; Uplink.Servers is its address.
type Embedded struct {
	Listen   string      // host:port
	Password mqtt.Secret // zero: everybody may connect; only allowed on a loopback address
}

// maxFile is the maximum size of a file in bytes: a thousand sensors take a tenth of it.
const maxFile = 1 << 20

// Load reads a file, or standard input if path is "-". Its error is an [Errors], or
// ctx.Err().
//
// It returns when ctx is done, even if the file is a terminal or a named pipe that never
// ends. The goroutine that reads is then abandoned.
func Load(ctx context.Context, path string) (Config, error) {
	return untilDone(ctx, func() (Config, error) { return loadFile(path) })
}

// untilDone returns the result of read, or ctx.Err() when ctx is done. Then the goroutine of
// read is abandoned.
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
	// The channel has room for the result, so an abandoned goroutine can end.
	select {
	case r := <-loaded:
		return r.got, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// loadFile reads a file, or standard input if path is "-". It also adds a warning if other
// users can write the file; the open file is checked, because the path may change.
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

// load reads a text to its end and parses it.
func load(name string, from io.Reader) (Config, error) {
	data, err := readAll(name, from)
	if err != nil {
		return Config{}, err
	}
	return Parse(name, data)
}

// readAll reads a text to its end, but at most maxFile bytes: a person may name a device or
// a log file by mistake. The error is an [Errors].
func readAll(name string, from io.Reader) ([]byte, error) {
	var data bytes.Buffer
	// One more byte than allowed shows that the file is too large.
	n, err := io.Copy(&data, io.LimitReader(from, maxFile+1))
	if err != nil {
		return nil, Errors{{File: name, Text: unreadable(err, agentHints)}}
	}
	if n > maxFile {
		return nil, Errors{{File: name, Text: "this is not a configuration: it is larger than 1MiB"}}
	}
	return data.Bytes(), nil
}

// hints are what an error about an unreadable file suggests.
type hints struct {
	program  string   // that has to be able to read it
	smallest []string // the keys of the smallest file that works
}

var agentHints = hints{"holdfast", []string{"mqtt: {server: mqtts://broker.example.com}",
	"sensors: {door: {kind: contact, gpio: GPIO17}}"}}

// unreadable returns why a file cannot be read and what to do, without the path: [Error] has
// it in a field of its own.
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
		return fmt.Sprintf("%v: the user that runs %s has to be able to read it; for any other user, sudo", err, h.program)
	case errors.Is(err, syscall.EISDIR):
		return fmt.Sprintf("%v: name the file in it with -c FILE", err)
	}
	return err.Error()
}

// Parse reads the text of a file; name is the name of the file in errors. The error is an
// [Errors], and the Config is then empty. Config.Warnings cause no error.
//
// If client_id is missing, Parse reads the serial number of the board or the host name; it
// reads no other file.
func Parse(name string, data []byte) (Config, error) {
	return parse(name, data, catalog{drivers.New, drivers.Kinds})
}

// A catalog knows the kinds of sensors. Only tests use another one than that of package
// drivers. open returns the options of a kind with their defaults, or false if there is no
// such kind; kinds returns all names.
type catalog struct {
	open  func(kind string) (drivers.Options, bool)
	kinds func() []string
}
