package setup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/holdfast-iot/holdfast/config"
)

// A question asks for one answer. Its functions get all answers so far; those of earlier
// questions are checked already.
type question struct {
	flag string // the flag that gives it
	// text is the question, without the colon and the default value that are printed after it.
	text   string
	silent bool                   // the input is not shown
	preset func(*Answers) string  // the default value; nil: none
	answer func(*Answers) *string // where the answer is stored
	// check may complete the answer, as checkServer does. Its error is shown to the user after
	// the question or the name of the flag.
	check  func(*Answers) error
	needed func(*Answers) bool // nil: always
}

// questions are asked in this order; a last question is about Home Assistant. The order
// matters: whether a user name is needed depends on the server, and whether a password is
// needed depends on the user name.
var questions = []question{
	{
		flag: "client-id", text: "Name of this node, the first word of its topics", preset: presetClientID,
		answer: func(a *Answers) *string { return &a.ClientID },
		check:  func(a *Answers) error { return mistake("client_id: " + quoted(a.ClientID)) },
	},
	{
		flag: "server", text: "MQTT broker, such as mqtts://broker.example.com or 192.168.1.10",
		answer: func(a *Answers) *string { return &a.Server },
		check:  checkServer,
	},
	{
		flag: "username", text: "User name at the broker (empty: it wants none)",
		answer: func(a *Answers) *string { return &a.Username },
		check:  func(a *Answers) error { return mistake(mqttBlock(*a)) },
		needed: func(a *Answers) bool { return a.Server != embedded }, // it takes no account
	},
	{
		flag: "password", text: "Password (not shown)", silent: true,
		answer: func(a *Answers) *string { return &a.Password },
		check:  checkPassword,
		needed: func(a *Answers) bool { return a.Username != "" && a.PasswordFile == "" },
	},
}

// wrong returns what is wrong with an answer. UTF-8 is checked first: MQTT allows nothing
// else in its strings (MQTT 3.1.1, section 1.5.3), and quoting would change other bytes.
func (q question) wrong(a *Answers) error {
	if !utf8.ValidString(*q.answer(a)) {
		return errors.New("it is not UTF-8")
	}
	return q.check(a)
}

// presetClientID is the client ID of a file without client_id: package config derives it
// from the machine. If it is empty there is no default value, and the check refuses an
// empty answer.
func presetClientID(*Answers) string {
	cfg, err := config.Parse("init", []byte(rest+server))
	if err != nil {
		return ""
	}
	return cfg.Uplink.ClientID
}

const (
	embedded = "embedded" // the broker inside the agent

	// A file needs a sensor and a broker besides the part that is checked. These two depend on
	// nothing of the machine.
	rest   = "sensors: {made_up: {kind: simulated, counter: {}, every: 10s}}\n"
	server = "mqtt: {server: embedded}\n"
)

// mistake returns the first error that holdfast check would find in a part of a file. part
// is one or more complete keys of the top level, without sensors. The error has no
// position, because the user did not write this text. It is nil if the part is valid.
func mistake(part string) error {
	text := rest + part + "\n"
	if !strings.Contains(part, "mqtt:") {
		text += server
	}
	_, err := config.Parse("init", []byte(text))
	if wrong, ok := err.(config.Errors); ok && len(wrong) > 0 {
		return errors.New(wrong[0].Text)
	}
	return err
}

// checkServer adds a scheme to a host without one: with TLS, unless the host is in this
// network; the rules of holdfast check decide. It changes the answer, so that the file
// shows the result.
func checkServer(a *Answers) error {
	if a.Server == "" {
		return errors.New("it is empty: write the broker's URL, or its host alone")
	}
	if a.Server != embedded && !strings.Contains(a.Server, "://") {
		// The check decides by the path of a password; it does not read the file.
		near := Answers{Server: "mqtt://" + a.Server, PasswordFile: "/x"}
		if a.Server = "mqtts://" + a.Server; mistake(mqttBlock(near)) == nil {
			a.Server = near.Server
		}
	}
	return mistake(mqttBlock(Answers{Server: a.Server}))
}

// checkPassword checks the password in its context: holdfast check refuses one that would
// be sent without TLS to a public host.
func checkPassword(a *Answers) error {
	if strings.ContainsAny(a.Password, "\r\n\x00") {
		return errors.New("it has a line break or a zero byte")
	}
	// A copy, because a PasswordFile in the answers means that the user has given a file.
	with := *a
	if a.Password != "" {
		with.PasswordFile = "/x"
	}
	return mistake(mqttBlock(with))
}

// ask asks for the missing answers, and repeats a question until its answer is valid. The
// error is that of the terminal, the end of ctx, or that of a flag with an invalid value,
// which is not asked for again.
func (s *Session) ask(ctx context.Context, a *Answers) (err error) {
	for _, q := range questions {
		if err := s.askFor(ctx, q, a); err != nil {
			return err
		}
	}
	if !s.Given["home-assistant"] && a.Server != embedded {
		a.HomeAssistant, err = s.term.yes(ctx, "Announce the sensors to Home Assistant?")
	}
	return err
}

// askFor asks one question until its answer is valid. The value of a flag is checked and
// not asked for.
func (s *Session) askFor(ctx context.Context, q question, a *Answers) error {
	skip := q.needed != nil && !q.needed(a)
	if s.Given[q.flag] || skip {
		if err := q.wrong(a); err != nil {
			return fmt.Errorf("--%s %w: %w", q.flag, ErrMistake, err)
		}
		return nil
	}
	preset := ""
	if q.preset != nil {
		preset = q.preset(a)
	}
	for {
		line, err := s.term.line(ctx, q.text, preset, q.silent)
		if err != nil {
			return err
		}
		*q.answer(a) = line
		wrong := q.wrong(a)
		if wrong == nil {
			return nil
		}
		fmt.Fprintf(s.Ask, "  %v\n", wrong)
	}
}

// Confirm asks for yes or no; an empty answer is yes. It needs a terminal. Its errors are
// the end of ctx and the end of the input.
func (s *Session) Confirm(ctx context.Context, text string) (bool, error) {
	return s.term.yes(ctx, text)
}
