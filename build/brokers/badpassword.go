package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/cable"
)

// badPassword: the agent reports the remedy, does not retry too often, and connects after
// the file is corrected.
func (s *suite) badPassword(ctx context.Context) {
	remark, err := s.wrongPassword(ctx, sync.OnceFunc(s.calm.Done))
	s.tell(casePassword, remark, err)
}

// attempts counts connections.
type attempts struct{ n atomic.Int32 }

func (a *attempts) tap() cable.Tap { a.n.Add(1); return quiet{} }

type quiet struct{}

func (quiet) ToServer([]byte) {}
func (quiet) ToClient([]byte) {}

func (s *suite) wrongPassword(ctx context.Context, observed func()) (remark string, err error) {
	defer observed()
	const wrong = "guess-me-not"
	var tries attempts
	link, err := cable.New(s.server.address(), tries.tap, cable.Link{})
	if err != nil {
		return "", err
	}
	defer link.Close()
	a, err := newAgent(s.server, "wrong-password", "wrong-password", link.Addr(), wrong)
	if err != nil {
		return "", err
	}
	defer a.kill()
	if err := a.start(); err != nil {
		return "", err
	}
	code, err := s.complaint(ctx, a)
	if err != nil {
		return "", err
	}
	pause(ctx, 10*time.Second)
	// Random within 30 s, 60 s, 2 min, ...: five attempts in ten seconds happen once in 100,000
	// runs.
	if n := tries.n.Load(); n > 4 {
		return "", fmt.Errorf("%d attempts within ten seconds with a password that is wrong", n)
	}
	observed()
	if err := a.setPassword(password); err != nil {
		return "", err
	}
	if err := s.live(ctx, "wrong-password"); err != nil {
		return "", err
	}
	if log := a.log.String(); strings.Contains(log, wrong) || strings.Contains(log, password) {
		return "", errors.New("the log holds a password")
	}
	s.report.fact(s.server.kind.name, "It answers a bad password with %s.", code)
	return code + ", reported once, in when mended", nil
}

// complaint waits for the error with the remedy; it may be logged only once.
func (s *suite) complaint(ctx context.Context, a *agent) (code string, err error) {
	complaints := func() int {
		n := 0
		for line := range strings.Lines(a.log.String()) {
			if strings.Contains(line, "level=ERROR") && strings.Contains(line, "mqtt.password_file") {
				n++
			}
		}
		return n
	}
	if err := eventually(ctx, time.Minute, "an error names mqtt.password_file", func() bool {
		return complaints() > 0
	}); err != nil {
		return "", err
	}
	if n := complaints(); n > 1 {
		return "", fmt.Errorf("the same error stands in the log %d times", n)
	}
	if code = regexp.MustCompile(`code \d+`).FindString(a.log.String()); code == "" {
		code = "no code"
	}
	return code, nil
}
