package queue

import (
	"encoding/json"
	"fmt"
	"strings"

	"go.etcd.io/bbolt"
)

// gapsPerValue is how many gaps one value of the file has at most. Package pages treats a
// value of more than 1 MiB as damage, and the names in a gap can take about 500 bytes.
// There can be many gaps: a node that is offline for months and starts every day has one
// for each stream in each of these starts.
const gapsPerValue = 1024

// gapsKey returns the key of the nth value of gaps in the meta bucket, from n = 0: "gaps",
// "gaps 2", "gaps 3". Older agents read only the first one.
func gapsKey(n int) []byte {
	if n == 0 {
		return keyGaps
	}
	return fmt.Appendf(nil, "%s %d", keyGaps, n+1)
}

// isGapsKey reports whether a key of the meta bucket is that of gaps.
func isGapsKey(key []byte) bool {
	return string(key) == string(keyGaps) || strings.HasPrefix(string(key), string(keyGaps)+" ")
}

// storeGaps replaces the gaps in the file by a list.
func storeGaps(meta *bbolt.Bucket, list []Gap) error {
	n := 0
	for ; len(list) > 0; n++ {
		part := list[:min(len(list), gapsPerValue)]
		list = list[len(part):]
		if err := meta.Put(gapsKey(n), encodeGaps(part)); err != nil {
			return err
		}
	}
	for ; n == 0 || meta.Get(gapsKey(n)) != nil; n++ { // the rest of a longer old list
		if err := meta.Delete(gapsKey(n)); err != nil {
			return err
		}
	}
	return nil
}

// gapsIn returns the gaps in the values of the meta bucket. After an error it has those of
// the values before the damaged one.
func gapsIn(meta map[string][]byte) (all []Gap, err error) {
	for n := 0; meta[string(gapsKey(n))] != nil; n++ {
		list, err := decodeGaps(meta[string(gapsKey(n))])
		if err != nil {
			return all, err
		}
		all = append(all, list...)
	}
	return all, nil
}

// encodeGaps makes a value of the file. It is JSON, so that a person can read it there.
func encodeGaps(list []Gap) []byte {
	b, err := json.Marshal(list)
	if err != nil {
		panic(fmt.Sprint("queue: gaps: ", err)) // strings and numbers always marshal
	}
	return b
}

// decodeGaps returns the gaps in a value, or none if the value is empty. After an error
// the gaps that it returns must not be used.
func decodeGaps(data []byte) (list []Gap, err error) {
	if len(data) > 0 {
		err = json.Unmarshal(data, &list)
	}
	return list, err
}
