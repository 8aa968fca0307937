package uplink

import (
	"crypto/x509"
	"os"
	"strings"
	"testing"
)

func TestSecretsThatEverybodyCanReadAreRefused(t *testing.T) {
	a := newAuthority(t)
	a.issue(t, "node", x509.Certificate{})
	password, key := a.path("password"), a.path("node.key")
	write(t, password, "s3cret\n", 0o600)
	for mode, good := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o640: true, 0o660: true, 0o644: false, 0o604: false, 0o602: false, 0o666: false} {
		opt := Options{Password: Secret{File: password}, TLS: TLS{Cert: a.path("node.pem"), Key: key}}
		for _, name := range []string{password, key} {
			if err := os.Chmod(name, mode); err != nil {
				t.Fatal(err)
			}
		}
		err := opt.Check()
		if good != (err == nil) {
			t.Errorf("mode %04o: %v", mode, err)
		}
		if good {
			continue
		}
		for _, part := range []string{"mqtt.password_file: ", "chmod 600 " + password, "mqtt.tls.key: ", "chmod 600 " + key} {
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
func TestALinkToASecretIsJudgedByWhatItLeadsTo(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/real", "s3cret", 0o600)
	if err := os.Symlink("real", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	if got, err := (Secret{File: dir + "/link"}).Read(); got != "s3cret" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if err := os.Chmod(dir+"/real", 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := (Secret{File: dir + "/link"}).Read(); err == nil {
		t.Error("a secret that all can read was taken through a link")
	}
}

func TestThePasswordIsTheFirstLine(t *testing.T) {
	for text, want := range map[string]string{"s3cret": "s3cret", "s3cret\n": "s3cret", "s3cret\r\nnext": "s3cret", " sp ace \n": " sp ace "} {
		name := t.TempDir() + "/password"
		write(t, name, text, 0o600)
		if got, err := (Secret{File: name}).Read(); got != want || err != nil {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "\n", "\r\n", "\ns3cret"} {
		name := t.TempDir() + "/password"
		write(t, name, text, 0o600)
		if _, err := (Secret{File: name}).Read(); err == nil || !strings.Contains(err.Error(), "is empty") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
