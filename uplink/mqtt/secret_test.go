package mqtt

import (
	"crypto/x509"
	"os"
	"strings"
	"testing"
)

func TestASecretThatAllUsersCanReadIsRefused(t *testing.T) {
	a := newAuthority(t)
	a.issue(t, "node", x509.Certificate{})
	password, key := a.path("password"), a.path("node.key")
	write(t, password, "s3cret\n", 0o600)
	for mode, good := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o640: true, 0o660: true, 0o644: false,
		0o604: false, 0o602: false, 0o666: false} {
		opt := Broker{Password: Secret{File: password}, TLS: TLS{Cert: a.path("node.pem"), Key: key}}
		for _, name := range []string{password, key} {
			if err := os.Chmod(name, mode); err != nil {
				t.Fatal(err)
			}
		}
		_, err := opt.Check(t.Context())
		if good != (err == nil) {
			t.Errorf("mode %04o: %v", mode, err)
		}
		if good {
			continue
		}
		for _, part := range []string{"mqtt.password_file: ", "chmod 600 " + password, "mqtt.tls.key: ", "chmod 600 " +
			key} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("mode %04o: %q is not in %v", mode, part, err)
			}
		}
		if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the error holds the secret: %v", err)
		}
	}
}

// A link has a mode of its own that says nothing: 0777 on Linux.
func TestASymbolicLinkToASecretHasTheModeOfItsTarget(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/real", "s3cret", 0o600)
	if err := os.Symlink("real", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	if got, err := (Secret{File: dir + "/link"}).Read(t.Context()); got != "s3cret" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if err := os.Chmod(dir+"/real", 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := (Secret{File: dir + "/link"}).Read(t.Context()); err == nil {
		t.Error("a secret that all can read was taken through a link")
	}
}

func TestThePasswordIsTheFirstLine(t *testing.T) {
	for text, want := range map[string]string{"s3cret": "s3cret", "s3cret\n": "s3cret", "s3cret\r\nnext": "s3cret",
		" sp ace \n": " sp ace "} {
		name := t.TempDir() + "/password"
		write(t, name, text, 0o600)
		if got, err := (Secret{File: name}).Read(t.Context()); got != want || err != nil {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "\n", "\r\n", "\ns3cret"} {
		name := t.TempDir() + "/password"
		write(t, name, text, 0o600)
		if _, err := (Secret{File: name}).Read(t.Context()); err == nil || !strings.Contains(err.Error(),
			"is empty") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// What editors and shells add around a password is no part of it; what could be
// is sent, with a warning.
func TestPasswordsInUnusualFiles(t *testing.T) {
	for text, want := range map[string]struct{ password, warning, err string }{
		"s3cret\n":                 {password: "s3cret"},
		"s3cret\r\n":               {password: "s3cret"},
		"\ufeffs3cret\r\n":         {password: "s3cret"},
		"s3cret \n":                {password: "s3cret ", warning: "begins or ends with a blank"},
		"\ts3cret":                 {password: "\ts3cret", warning: "begins or ends with a blank"},
		"two words":                {password: "two words"},
		"\n":                       {err: "is empty"},
		"\ufeff":                   {err: "is empty"},
		"\xff\xfes\x003\x00":       {err: "is UTF-16"},
		"s3cr\x00et":               {err: "has a zero byte"},
		strings.Repeat("x", 70000): {err: "at most 65535"},
	} {
		name := t.TempDir() + "/password"
		write(t, name, text, 0o600)
		secrets := map[string]Secret{"mqtt.password_file: ": {File: name},
			"mqtt.embedded.password_file: ": {File: name, Key: "mqtt.embedded.password_file"}}
		if !strings.Contains(text, "\x00") { // no environment holds one
			t.Setenv("HOLDFAST_TEST_PASSWORD", text)
			secrets["$HOLDFAST_TEST_PASSWORD: "] = Secret{Env: "HOLDFAST_TEST_PASSWORD"}
		}
		for where, s := range secrets {
			got, warning, err := s.read(t.Context())
			message := warning
			if err != nil {
				message = err.Error()
			}
			if got != want.password || (err != nil) != (want.err != "") || !strings.Contains(message,
				want.err+want.warning) || message != "" && !strings.HasPrefix(message, where) {
				t.Errorf("%.20q: got %.20q, %q, %v", text, got, warning, err)
			}
			if strings.Contains(message, "s3cr") {
				t.Errorf("%q: %q repeats the secret", text, message)
			}
		}
	}
}

// A password or a key that is written where its file belongs is not repeated;
// the name of a file that is missing is.
func TestAnErrorDoesNotRepeatASecretInPlaceOfItsFile(t *testing.T) {
	dir := t.TempDir()
	a := newAuthority(t)
	a.issue(t, "node", x509.Certificate{})
	for name, repeated := range map[string]bool{
		"s3cret": false, "s3cret/with/slashes": false, "/s3cret": false, "/s3cret/": false,
		strings.Repeat("s3cret", 1000): false,
		dir + "/s3cret":                true, dir + "/none/s3cret": true,
	} {
		opt := Broker{Password: Secret{File: name}, TLS: TLS{Cert: a.path("node.pem"), Key: name}}
		_, err := opt.Check(t.Context())
		if err == nil {
			t.Fatalf("%s was read", name)
		}
		if n := strings.Count(err.Error(), "s3cret"); repeated != (n > 0) {
			t.Errorf("%.50s: %v", name, err)
		}
		for _, part := range []string{"mqtt.password_file: ", "mqtt.tls.key: "} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%.50s: no %q in %v", name, part, err)
			}
		}
	}
}

// TestCheckWarnsOfABlankInAPassword: check prints what Broker.Check returns.
func TestCheckWarnsOfABlankInAPassword(t *testing.T) {
	name := t.TempDir() + "/password"
	write(t, name, "s3cret \n", 0o600)
	warnings, err := Broker{Password: Secret{File: name}}.Check(t.Context())
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "begins or ends with a blank") {
		t.Errorf("warnings %q, %v", warnings, err)
	}
}
