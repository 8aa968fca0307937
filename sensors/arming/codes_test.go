package arming

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestCodeBelongsToOnePerson: a new line accepts its code and no other one.
func TestCodeBelongsToOnePerson(t *testing.T) {
	anna, err := NewLine("anna", "4711")
	if err != nil {
		t.Fatal(err)
	}
	bert, err := NewLine("bert", "0815 and more")
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := NewLine("anna", "4711"); again == anna {
		t.Error("two lines of one code are the same: there is no salt")
	}
	if strings.Contains(anna, "4711") {
		t.Error("the line has the code")
	}
	path := filepath.Join(t.TempDir(), "codes")
	if err := os.WriteFile(path, []byte("# who may\n\n"+anna+"\n  "+bert+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	codes, err := ReadCodes(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	for entered, want := range map[string]string{"4711": "anna", "0815 and more": "bert", "": "", "4712": "",
		"471": "", "47111": "", strings.Repeat("4", 65): ""} {
		if got := codes.Match(entered); got != want {
			t.Errorf("%q is %q's, want %q's", entered, got, want)
		}
	}
}

// TestInvalidCodesFileIsRejected: the error names the line, but does not contain its text.
func TestInvalidCodesFileIsRejected(t *testing.T) {
	good, err := NewLine("anna", "4711")
	if err != nil {
		t.Fatal(err)
	}
	edit := func(old, with string) string { return strings.Replace(good, old, with, 1) }
	for _, c := range []struct{ text, want string }{
		{"", "has no code"},
		{"# nothing\n", "has no code"},
		{"4711\n", "line 1: is not a code"},
		{good + "\nbert:4711", "line 2: is not a code"},
		{good + "\n" + good, "line 2: anna has a code already"},
		{edit("pbkdf2-sha256", "md5"), "line 1: is not a code"},
		{edit("20000", "999"), "line 1: is not a code"},
		{edit("20000", "1000001"), "line 1: is not a code"},
		{edit("anna", "an na"), "line 1: is not a code"},
		{good + "=", "line 1: is not a code"},
		{strings.Repeat("#", maxCodesFile+1), "is larger than 64 KiB"},
		{manyCodes(good, maxCodes+1), "line 33: there are more than 32 codes"},
	} {
		_, err := ParseCodes([]byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "4711") {
			t.Errorf("%.60q: %v, want %q", c.text, err, c.want)
		}
	}
	if _, err := ParseCodes([]byte(manyCodes(good, maxCodes))); err != nil {
		t.Errorf("%d codes: %v", maxCodes, err)
	}
	for _, c := range []struct{ name, code string }{
		{"an na", "4711"}, {"anna", "471"}, {"anna", strings.Repeat("1", 65)},
	} {
		if line, err := NewLine(c.name, c.code); err == nil {
			t.Errorf("%s with %s: %s", c.name, c.code, line)
		}
	}
}

func manyCodes(good string, n int) string {
	var all strings.Builder
	for i := range n {
		fmt.Fprintln(&all, strings.Replace(good, "anna", fmt.Sprint("anna", i), 1))
	}
	return all.String()
}

// TestFiveWrongCodesLockForAMinute: the right code is refused, too. A right code in between resets the
// count.
func TestFiveWrongCodesLockForAMinute(t *testing.T) {
	var l Lock
	now := start
	for i := range 4 {
		if l.Count(now, false) || l.IsLocked(now) {
			t.Fatalf("locked after %d", i+1)
		}
	}
	l.Count(now, true)
	for range 4 {
		l.Count(now, false)
	}
	if l.IsLocked(now) {
		t.Error("a right code does not reset the count")
	}
	if !l.Count(now, false) || !l.IsLocked(now.Add(59*time.Second)) || l.IsLocked(now.Add(time.Minute)) {
		t.Errorf("after five: until %v", l.until)
	}
	if l.Until(now) != now.Add(time.Minute) || !l.Until(now.Add(time.Minute)).IsZero() {
		t.Errorf("until %v", l.Until(now))
	}
}

// TestLockBoundsTheAttempts: in an hour, only five codes per minute can be tried.
func TestLockBoundsTheAttempts(t *testing.T) {
	var l Lock
	tried := 0
	for now := start; now.Before(start.Add(time.Hour)); now = now.Add(100 * time.Millisecond) {
		if !l.IsLocked(now) {
			tried++
			l.Count(now, false)
		}
	}
	if tried > 5*60 {
		t.Errorf("%d attempts in an hour", tried)
	}
}

func FuzzCodesAreRefusedOrWhole(f *testing.F) {
	line, err := NewLine("anna", "4711")
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(line))
	f.Add([]byte("# comment\n\n" + line + "\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		codes, err := ParseCodes(data)
		if err != nil {
			return
		}
		for _, c := range codes {
			again, err := ParseCodes([]byte(c.String()))
			if err != nil || again[0].String() != c.String() {
				t.Errorf("%s: %v", c, err)
			}
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	line, err := NewLine("anna", "4711")
	if err != nil {
		b.Fatal(err)
	}
	codes, err := ParseCodes([]byte(line))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		codes.Match("4712")
	}
}
