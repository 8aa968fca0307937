package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/holdfast-iot/holdfast/build/bench/mosquitto"
)

// TestTLSAndAPassword connects with TLS and a password, and checks the message for a wrong password.
func TestTLSAndAPassword(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	users, secret := filepath.Join(dir, "users"), filepath.Join(dir, "secret")
	if out, err := exec.Command("mosquitto_passwd", "-c", "-b", users, "rec", "s3cret").CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_passwd: %v: %s", err, out)
	}
	certificates, ca, err := mosquitto.TLS(dir)
	if err != nil {
		t.Fatal(err)
	}
	addr, plain := freeAddr(t), freeAddr(t)
	_, port, _ := net.SplitHostPort(plain)
	startMosquitto(t, addr, "allow_anonymous false\npassword_file "+users+"\n"+certificates+
		"listener "+port+" 127.0.0.1\n")
	if err := os.WriteFile(secret, []byte("wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRecorder(t, "sqlite:"+filepath.Join(dir, "h.db"), fmt.Sprintf(
		"client_id: recorder-1\nmqtt: {server: \"mqtts://%s\", username: rec, password_file: %s, tls: {ca: %s}}",
		addr, secret, ca))
	r.start()
	t.Cleanup(r.kill)
	eventually(t, "the refusal is in the log", func() bool { return r.err.count("the broker refuses the account") > 0 })
	// It is read for each connection.
	if err := os.WriteFile(secret, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.connected()
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + plain).SetClientID("pub").SetUsername("rec").
		SetPassword("s3cret"))
	if tok := c.Connect(); !tok.Wait() || tok.Error() != nil {
		t.Fatal(tok.Error())
	}
	defer c.Disconnect(0)
	c.Publish("porch/hum", 1, false, "21.5")
	eventually(t, "the reading is stored", func() bool { return r.count("SELECT count(*) FROM reading") == 1 })
	if strings.Contains(r.err.String(), "s3cret") {
		t.Error("the password is in the log")
	}
	r.stopWith(syscall.SIGHUP) // its terminal was closed
}
