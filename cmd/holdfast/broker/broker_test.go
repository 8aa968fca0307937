package broker

import (
	"io"
	"log/slog"
	"net"
	"testing"
)

// connect sends a CONNECT of MQTT 3.1.1 and returns the code of the CONNACK,
// 0xff if there is none.
func connect(t *testing.T, b *Broker, password string) byte {
	t.Helper()
	conn, err := net.Dial("tcp", b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	body := append([]byte("\x00\x04MQTT\x04\xc2\x00\x0a\x00\x01a\x00\x01u\x00"), byte(len(password)))
	body = append(body, password...)
	conn.Write(append([]byte{0x10, byte(len(body))}, body...))
	answer := make([]byte, 4)
	if _, err := io.ReadFull(conn, answer); err != nil || answer[0] != 0x20 {
		return 0xff
	}
	return answer[3]
}

func TestPasswordIsRequired(t *testing.T) {
	b, err := Listen("127.0.0.1:0", "s3cret", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if code := connect(t, b, "s3cret"); code != 0 {
		t.Errorf("the right password gets code %d", code)
	}
	if code := connect(t, b, "guess!"); code == 0 {
		t.Error("a wrong password is let in")
	}
}
