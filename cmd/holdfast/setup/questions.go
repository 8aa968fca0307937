package setup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/holdfast-iot/holdfast/config"
)

// A question is one answer of the file: how it is asked for, and what is wrong with it.
// All its functions get the answers so far; those of earlier questions are checked
// already.
type question struct {
	flag string // the flag that gives it
	// text is what the person reads, without the colon and the preset that are printed
	// behind it.
	text   string
	silent bool                   // nothing that is typed is shown
	preset func(*Answers) string  // what an empty answer means; nil: empty
	answer func(*Answers) *string // where it goes
	// check may complete the answer, as checkServer does. Its error is shown to the
	// person as it is, behind the question or behind the name of the flag.
	check  func(*Answers) error
	needed func(*Answers) bool // nil: always
}

// questions are asked in this order, and behind them whether Home Assistant is to be
// told: five in all. The order matters: whether a user name is needed depends on the
// server, and whether a password is, on the user name.
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

// wrong says what is wrong with an answer. UTF-8 comes first: MQTT allows nothing else
// in its strings (MQTT 3.1.1, section 1.5.3), and a quoted text with other bytes would
// be another text when it is read.
func (q question) wrong(a *Answers) error {
	if !utf8.ValidString(*q.answer(a)) {
		return errors.New("it is not UTF-8")
	}
	return q.check(a)
}

// presetClientID is the one that a file without client_id has. The package config
// decides it from the machine. Empty means that it found none: then the question has no
// preset, and an empty answer is refused by its check.
func presetClientID(*Answers) string {
	cfg, err := config.Parse("init", []byte(rest+server))
	if err != nil {
		return ""
	}
	return cfg.Uplink.ClientID
}

const (
	embedded = "embedded" // the broker inside the agent

	// What a file needs besides the part that is checked: a sensor and a broker, both
	// of the kind that needs nothing from the machine.
	rest   = "sensors: {made_up: {kind: simulated, counter: {}, every: 10s}}\n"
	server = "mqtt: {server: embedded}\n"
)

// mistake says what check would find wrong with a part of a file. part is some whole
// keys of the top level, without a sensors section. Only the first mistake is returned,
// without the position, which is not the person's: nil if the part is right.
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

// checkServer completes a host without a scheme: with TLS, unless it is one of this
// network, as check decides where a password may travel without. It changes the answer,
// so that the person sees in the file what was decided.
func checkServer(a *Answers) error {
	if a.Server == "" {
		return errors.New("it is empty: write the broker's URL, or its host alone")
	}
	if a.Server != embedded && !strings.Contains(a.Server, "://") {
		// The path of a password is there so that check decides; the file is not read.
		near := Answers{Server: "mqtt://" + a.Server, PasswordFile: "/x"}
		if a.Server = "mqtts://" + a.Server; mistake(mqttBlock(near)) == nil {
			a.Server = near.Server
		}
	}
	return mistake(mqttBlock(Answers{Server: a.Server}))
}

// checkPassword tries the password where it would be: check refuses one that would
// travel without TLS to a public host.
func checkPassword(a *Answers) error {
	if strings.ContainsAny(a.Password, "\r\n\x00") {
		return errors.New("it has a line break or a zero byte")
	}
	// A copy: PasswordFile of the answers says whether the person has given a file.
	with := *a
	if a.Password != "" {
		with.PasswordFile = "/x"
	}
	return mistake(mqttBlock(with))
}

// ask asks for what is not given. A mistake is told, and asked for again. The error is
// that of the terminal, the end of ctx, or of a flag whose value is wrong: nobody typed
// it, so it is not asked for again.
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

// askFor asks one question until its answer can be used. An answer that a flag has
// given is checked and not asked for.
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

// Confirm asks the person for yes or no; an empty answer is yes. There has to be a
// terminal. Its errors are the end of ctx and the end of the input.
func (s *Session) Confirm(ctx context.Context, text string) (bool, error) {
	return s.term.yes(ctx, text)
}
