package command

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
)

// signedText returns the text that the mac of an order is computed from: five lines, the
// last one without a line feed. No part can contain a line feed, so different orders have
// different texts.
//
//	the topic:    porch/lock/set
//	the id:       a1
//	expires:      1763640000123
//	the state:    ON
//	extra:        5s       (the text of "for" or "duration", or "bypass" with commas; or nothing)
func (o *Order) signedText(topic string) string {
	return strings.Join([]string{topic, o.ID, strconv.FormatInt(o.expires, 10), o.State, o.extra}, "\n")
}

// isSigned reports whether the mac is the HMAC-SHA256 of the signed text with the key, in
// hexadecimal.
func (o *Order) isSigned(topic string, key []byte) bool {
	got, err := hex.DecodeString(o.mac)
	if err != nil {
		return false
	}
	h := hmac.New(sha256.New, key)
	h.Write([]byte(o.signedText(topic)))
	return hmac.Equal(got, h.Sum(nil)) // in constant time
}
