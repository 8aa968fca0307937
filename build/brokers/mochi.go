package main

import (
	"bytes"
	"crypto/subtle"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"

	server2 "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// mochi is a library; this program starts itself as the broker, so that it can be killed.
var mochi = kind{
	name: "mochi", ci: true, source: "Go module `github.com/mochi-mqtt/server/v2`",
	notes: "Sessions and retained messages are only in memory. Messages that waited for an absent subscriber " +
		"arrive out of order; a connected subscriber gets them in order. It is the broker behind `server: embedded`.",
	version: func(place) (string, error) {
		info, ok := debug.ReadBuildInfo()
		if ok {
			for _, m := range info.Deps {
				if m.Path == "github.com/mochi-mqtt/server/v2" {
					return m.Version[1:], nil
				}
			}
		}
		return "", fmt.Errorf("this program does not know its modules")
	},
	prepare: func(*server) error { return nil },
	command: func(s *server) (*exec.Cmd, error) {
		return exec.Command("/proc/self/exe", mochiWord, s.address(), s.place.ca.certFile, s.place.ca.keyFile,
			strconv.Itoa(s.limits.size), strconv.Itoa(s.limits.queue)), nil
	},
}

// mochiWord is the argument that makes this program the broker.
const mochiWord = "serve-mochi"

// serveMochi serves until SIGTERM. args are the address, the certificate, its key, and the
// limits of a message and of a queue, or 0.
func serveMochi(args []string) error {
	if len(args) != 5 {
		return fmt.Errorf("%d arguments, want address, certificate, key and two limits", len(args))
	}
	pair, err := tls.LoadX509KeyPair(args[1], args[2])
	if err != nil {
		return err
	}
	l, err := tls.Listen("tcp", args[0], &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		return err
	}
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	var size, queue int
	if _, err := fmt.Sscan(args[3]+" "+args[4], &size, &queue); err != nil {
		return err
	}
	options := &server2.Options{Capabilities: server2.NewDefaultServerCapabilities(),
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	options.Capabilities.MaximumPacketSize = uint32(size) // 0 means no limit
	if queue > 0 {
		options.Capabilities.MaximumClientWritesPending = int32(queue)
		options.Capabilities.MaximumInflight = uint16(queue)
	}
	s := server2.New(options)
	if err := s.AddHook(&authHook{}, nil); err != nil {
		return err
	}
	if err := s.AddListener(listeners.NewNet("tls", l)); err != nil {
		return err
	}
	if err := s.Serve(); err != nil {
		return err
	}
	<-terminated
	return s.Close()
}

// authHook accepts clients with the user name and the password.
type authHook struct{ server2.HookBase }

func (*authHook) Provides(hook byte) bool {
	return bytes.Contains([]byte{server2.OnConnectAuthenticate, server2.OnACLCheck}, []byte{hook})
}

func (*authHook) OnConnectAuthenticate(_ *server2.Client, p packets.Packet) bool {
	return string(p.Connect.Username) == user && subtle.ConstantTimeCompare(p.Connect.Password, []byte(password)) == 1
}

// OnACLCheck denies denied/#: only answers.go publishes there.
func (*authHook) OnACLCheck(_ *server2.Client, topic string, write bool) bool {
	return !write || !strings.HasPrefix(topic, "denied/")
}
