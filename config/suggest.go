package config

import "strings"

// similar returns the candidate that the user most likely meant by word, or "" if none is
// similar. An abbreviation ("password" for "password_file") is similar, and so is a word in
// other letters ("MQTT", "client-id").
func similar(word string, candidates []string) string {
	if len(word) > 64 {
		return "" // no key is that long, and the time is quadratic
	}
	word = strings.ReplaceAll(strings.ToLower(word), "-", "_")
	// One error in a short word, up to four in a long one: with more the suggestion would be a
	// guess.
	best, nearest := "", 1+max(1, min(len(word), 12)/3)
	for _, c := range candidates {
		d := distance(word, c, nearest)
		if len(word) > 2 && strings.HasPrefix(c, word) {
			d = 1
		}
		if d < nearest {
			best, nearest = c, d
		}
	}
	return best
}

// distance is the number of letters to insert, delete, replace or swap with their neighbour
// to change a into b (the optimal string alignment distance). It stops at enough and then
// returns enough.
func distance(a, b string, enough int) int {
	if max(len(a)-len(b), len(b)-len(a)) >= enough {
		return enough
	}
	// Three rows of the table are enough: a swap needs the row before the last.
	var before, above []int // the row before the last, and the last row
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, above, row = above, row, make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+differ(a[i-1], b[j-1]))
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return min(row[len(b)], enough)
}

// differ is the cost of replacing one letter by another.
func differ(a, b byte) int {
	if a == b {
		return 0
	}
	return 1
}
