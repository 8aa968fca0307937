package config

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Ten lines of aliases, each with ten aliases of the line before, would expand to ten
// billion words.
func TestAliasExpansionIsLimited(t *testing.T) {
	for _, value := range []string{"words", "wave", "weights"} {
		var b strings.Builder
		b.WriteString("mqtt: {server: mqtt://b}\na0: &a0 [x]\n")
		for i := 1; i < 10; i++ {
			one := fmt.Sprintf("*a%d, ", i-1)
			fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.Repeat(one, 10))
		}
		fmt.Fprintf(&b, "sensors: {p: {kind: probe, %s: *a9}}\n", value)
		if _, err := read(b.String()); err == nil {
			t.Errorf("%s was taken", value)
		}
	}
}

func TestTooManyValuesAreOneMistake(t *testing.T) {
	words := "&w [" + strings.Repeat("x, ", 1000) + "]"
	text := "mqtt: {server: mqtt://b}\nsensors:\n  p: {kind: probe, words: " + words + "}\n"
	for i := range 200 {
		text += fmt.Sprintf("  p%d: {kind: probe, words: *w}\n", i)
	}
	_, err := read(text)
	if err == nil || !strings.Contains(err.Error(), "too many values") || strings.Count(err.Error(), "\n") > 0 {
		t.Errorf("got %.300v", err)
	}
}

// TestParsingTimeIsLinear parses a file of maximum size and one of half the size: a
// quadratic parser would take minutes on a Pi Zero.
func TestParsingTimeIsLinear(t *testing.T) {
	work := func(size int) float64 {
		var b strings.Builder
		for i := 0; b.Len() < size; i++ {
			fmt.Fprintf(&b, "  k%d: {kind: door, gpio: a}\n", i)
		}
		text := "mqtt: {server: mqtt://b}\nsensors:\n" + b.String()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := read(text)
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Error("a pin that is none was taken")
		}
		return float64(after.TotalAlloc - before.TotalAlloc)
	}
	work(maxFile / 4)
	if half, whole := work(maxFile/2-100), work(maxFile-100); whole > 2.6*half {
		t.Errorf("%.0f bytes for a file, %.0f for half of it", whole, half)
	}
}

func TestRecursiveAliasIsRefused(t *testing.T) {
	for _, text := range []string{
		"sensors: &s {p: *s}", "sensors: {p: {kind: probe, wave: {bounds: &b [*b]}}}", "&r mqtt: &m {tls: *m}",
		"sensors: {p: &p {kind: probe, nested: *p, wave: *p, weights: *p}}",
	} {
		if _, err := read(text); err == nil {
			t.Errorf("%s was taken", text)
		}
	}
}

func TestAWholeNumberOfAnyUnitIsThatDuration(t *testing.T) {
	of := map[string]time.Duration{"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour,
		"d": 24 * time.Hour}
	rapid.Check(t, func(t *rapid.T) {
		unit := rapid.SampledFrom([]string{"ms", "s", "m", "h", "d"}).Draw(t, "unit")
		n := rapid.IntRange(0, int(min(100_000, maxDuration/of[unit]))).Draw(t, "n")
		text := fmt.Sprint(n, unit)
		if got, err := parseDuration(text); err != nil || got != time.Duration(n)*of[unit] {
			t.Fatalf("%s: got %v, %v", text, got, err)
		}
	})
}

func TestDistanceIsSymmetric(t *testing.T) {
	word := rapid.StringMatching(`[a-d]{0,6}`)
	rapid.Check(t, func(t *rapid.T) {
		a, b := word.Draw(t, "a"), word.Draw(t, "b")
		there, back := distance(a, b, 99), distance(b, a, 99)
		if there != back || (there == 0) != (a == b) || there > max(len(a), len(b)) {
			t.Fatalf("%q %q: %d, %d", a, b, there, back)
		}
	})
}

func TestMisspeltWordGetsASuggestion(t *testing.T) {
	keys := []string{"kind", "gpio", "pull", "normally", "debounce", "password_file", "i2c"}
	for word, want := range map[string]string{
		"debounse": "debounce", "debonuce": "debounce", "gipo": "gpio", "password": "password_file",
		"normaly": "normally", "I2C": "i2c", "colour": "", "x": "", "": "", "Pull": "pull", "i2d": "i2c",
		"PASSWORD-FILE": "password_file", strings.Repeat("k", 1<<20): "",
	} {
		if got := similar(word, keys); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
}

// FuzzParse checks that no text makes the parser panic or take long, that a file is valid
// or has errors, and that each error has a position.
func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.yaml")
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, name := range []string{"smallest", "larger"} {
		data, err := os.ReadFile("testdata/good/" + name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("mqtt: {server: embedded}" + oneDoor))
	f.Add([]byte("sensors: {p: &p {kind: probe, nested: *p, words: [a, *p], weights: {*p : 1}}}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > maxFile {
			return
		}
		begin := time.Now()
		Parse("f.yaml", data) // with the real kinds
		cfg, err := parse("f.yaml", data, testCatalog)
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("took %v", took)
		}
		if err == nil {
			if len(cfg.Sensors) == 0 || len(cfg.Uplink.Servers) == 0 {
				t.Errorf("took a file without sensors or servers: %+v", cfg)
			}
			return
		}
		for _, e := range err.(Errors) {
			if strings.HasPrefix(e.Text, "and ") {
				continue // the number of further errors
			}
			if e.Line < 1 || e.Line > len(data)+1 || e.Col < 1 || e.Text == "" {
				t.Errorf("no place: %+v", e)
			}
		}
	})
}
