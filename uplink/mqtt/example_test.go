package mqtt_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// A blank behind the password is a warning; a certificate that cannot be read
// prevents every connection.
func ExampleBroker_Check() {
	dir, err := os.MkdirTemp("", "holdfast")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte("secret \n"), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	broker := mqtt.Broker{
		ClientID:  "porch",
		Servers:   []*url.URL{{Scheme: "mqtts", Host: "broker.example.com:8883"}},
		Password:  mqtt.Secret{File: password},
		TLS:       mqtt.TLS{CA: "no-such-folder/ca.pem"},
		KeepAlive: 15 * time.Second,
	}
	warnings, err := broker.Check(context.Background())
	for _, w := range warnings {
		fmt.Println("warning:", w)
	}
	fmt.Println("error:", err)
	// Output:
	// warning: mqtt.password_file: the password begins or ends with a blank, which is sent as a part of it
	// error: mqtt.tls.ca: open no-such-folder/ca.pem: no such file or directory
}
