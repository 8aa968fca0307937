package queue

import (
	"encoding/json"
	"fmt"
	"strings"

	"go.etcd.io/bbolt"
)

// gapsPerValue is how many gaps one value of the file has. Package pages reads no value of
// over a mebibyte, and takes a file that has one for damaged; the names of a gap have at
// most some 500 bytes. A node that is offline for months and starts every day has a gap
// for each of its streams in each of these starts.
const gapsPerValue = 1024

// gapsKey is the key of a value of gaps in the bucket of meta: "gaps", "gaps 2", "gaps 3".
// An agent from before there were several reads the first alone.
func gapsKey(n int) []byte {
	if n == 0 {
		return keyGaps
	}
	return fmt.Appendf(nil, "%s %d", keyGaps, n+1)
}

// isGapsKey reports whether a value of the bucket of meta has gaps.
func isGapsKey(key []byte) bool {
	return string(key) == string(keyGaps) || strings.HasPrefix(string(key), string(keyGaps)+" ")
}

// storeGaps makes a list the gaps of the file.
func storeGaps(meta *bbolt.Bucket, list []Gap) error {
	n := 0
	for ; len(list) > 0; n++ {
		part := list[:min(len(list), gapsPerValue)]
		list = list[len(part):]
		if err := meta.Put(gapsKey(n), encodeGaps(part)); err != nil {
			return err
		}
	}
	for ; n == 0 || meta.Get(gapsKey(n)) != nil; n++ { // the rest of a longer list
		if err := meta.Delete(gapsKey(n)); err != nil {
			return err
		}
	}
	return nil
}

// gapsIn are the gaps in the values of the bucket of meta. With an error they are those of
// the values before the one that is damaged.
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

// encodeGaps is a value of the file. Gaps are JSON, for a person who looks into a file.
func encodeGaps(list []Gap) []byte {
	b, err := json.Marshal(list)
	if err != nil {
		panic(fmt.Sprint("queue: gaps: ", err)) // strings and numbers always marshal
	}
	return b
}

// decodeGaps returns the gaps in a value, none if there is no value. With an error
// it may return some: they are not to be used.
func decodeGaps(data []byte) (list []Gap, err error) {
	if len(data) > 0 {
		err = json.Unmarshal(data, &list)
	}
	return list, err
}
