package config

import "strings"

// similar returns the candidate that a person most likely meant by word, or ""
// if none is near. An abbreviation ("password" for "password_file") is near,
// and so is one in other letters ("MQTT", "client-id").
func similar(word string, candidates []string) string {
	if len(word) > 64 {
		return "" // no key is that long, and the work grows with the square
	}
	word = strings.ReplaceAll(strings.ToLower(word), "-", "_")
	// One mistake in a short word, up to four in a long one: beyond that the
	// suggestion would be a guess.
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

// distance counts the letters to insert, delete, replace or swap with their
// neighbour to make b of a (the optimal string alignment distance). It stops
// counting at enough, which is what it returns then.
func distance(a, b string, enough int) int {
	if max(len(a)-len(b), len(b)-len(a)) >= enough {
		return enough
	}
	// Three rows of the table are enough: a swap looks two back.
	var before, above []int // the rows of the last letter but one and of the last
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
