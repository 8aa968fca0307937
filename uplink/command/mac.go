package command

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
)

// signedText is what the mac of an order covers: five lines, of which only the last has
// no line feed at its end. None of the parts can contain one, so no two orders have the
// same text.
//
//	the topic:    porch/lock/set
//	the id:       a1
//	expires:      1763640000123
//	the state:    ON
//	what else:    5s       (the text of "for" or "duration", or "bypass" with commas; or nothing)
func (o *Order) signedText(topic string) string {
	return strings.Join([]string{topic, o.ID, strconv.FormatInt(o.expires, 10), o.State, o.extra}, "\n")
}

// isSigned reports whether the mac is that of the key: HMAC-SHA256, in hexadecimal.
func (o *Order) isSigned(topic string, key []byte) bool {
	got, err := hex.DecodeString(o.mac)
	if err != nil {
		return false
	}
	h := hmac.New(sha256.New, key)
	h.Write([]byte(o.signedText(topic)))
	return hmac.Equal(got, h.Sum(nil)) // in constant time
}
