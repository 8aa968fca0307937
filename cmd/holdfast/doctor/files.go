package doctor

import (
	"context"
	"fmt"
	"strings"

	"github.com/holdfast-iot/holdfast/sensors/access"
	"github.com/holdfast-iot/holdfast/sensors/arming"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// fileChecks check the files. They come first, and need neither a network nor a device.
var fileChecks = []Check{
	{"configuration", "the file for settings that are allowed but probably mistakes", false,
		[]*Fault{configWarning}, nil, checkConfig},
	{"secrets", "the password, the certificates, the key of orders and the codes of the alarm panel: whether they can " +
		"be read, fit together, and are private", false,
		[]*Fault{secretBroken, secretOdd}, nil, checkSecrets},
}

var (
	// The texts are those of package config and of uplink/mqtt, which include the remedy.
	configWarning = &Fault{Warning, "{text}", "change it in the file; holdfast check repeats what is said here"}
	secretBroken  = &Fault{Error, "{text}",
		"mend or replace that file, readable for the user that runs holdfast and not for others"}
	secretOdd = &Fault{Warning, "{text}", "write the file again"}
)

// checkConfig repeats the warnings of holdfast check. Errors end the command before:
// without a valid file there is no configuration to check.
func checkConfig(_ context.Context, s *Site) (found []Finding) {
	for _, w := range s.Config.Warnings {
		found = append(found, configWarning.at("text", w.Error()))
	}
	return found
}

// checkSecrets reads every file that a connection needs. An embedded broker has one secret,
// its password; other connections may have several files. Each error is a separate finding.
func checkSecrets(ctx context.Context, s *Site) (found []Finding) {
	for _, err := range s.alarmSecrets(ctx) {
		found = append(found, secretBroken.at("text", err))
	}
	if s.Config.Embedded != nil {
		if _, err := s.Config.Embedded.Password.Read(ctx); err != nil {
			found = append(found, secretBroken.at("text", err))
		}
		return found
	}
	warnings, err := s.Config.Uplink.Check(ctx)
	for _, w := range warnings {
		found = append(found, secretOdd.at("text", w))
	}
	if err != nil {
		s.unusable = true
		for line := range strings.SplitSeq(err.Error(), "\n") {
			found = append(found, secretBroken.at("text", line))
		}
	}
	return found
}

// alarmSecrets reads the key of orders, the cards that open doors offline, and the codes of
// the alarm panel, as the agent does. The agent runs without them, and then refuses all
// orders and codes.
func (s *Site) alarmSecrets(ctx context.Context) (errs []error) {
	if key := s.Config.Uplink.Commands.Key; key.File != "" {
		if _, err := key.Read(ctx); err != nil {
			errs = append(errs, err)
		}
	}
	for _, door := range s.Config.Access {
		if door.AllowFile == "" {
			continue
		}
		allowed := mqtt.Secret{File: door.AllowFile, Key: "access." + door.Name + ".allow_file"}
		if _, err := allowed.Read(ctx); err != nil {
			errs = append(errs, err)
		} else if _, err := access.ReadList(ctx, door.AllowFile); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", allowed.Key, err))
		}
	}
	if panel := s.Config.Arming; panel != nil && panel.CodesFile != "" {
		const key = "arming.codes_file"
		if _, err := (mqtt.Secret{File: panel.CodesFile, Key: key}).Read(ctx); err != nil {
			return append(errs, err)
		}
		if _, err := arming.ReadCodes(ctx, panel.CodesFile); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", key, err))
		}
	}
	return errs
}
