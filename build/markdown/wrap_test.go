package markdown

import (
	"strings"
	"testing"
)

func TestWrapBreaksProseAndNothingElse(t *testing.T) {
	long := strings.TrimSpace(strings.Repeat("wörter ", 20)) // 139 characters
	got := Wrap("# " + long + "\n\n" + long + "\n\n1. " + long + "\n2. b\n   c\n\n| " + long + " |\n\n    " + long +
		"\n\n```\n" + long + "\n```\n")
	fourteen, six := strings.TrimSpace(strings.Repeat("wörter ", 14)), strings.TrimSpace(strings.Repeat("wörter ", 6))
	want := "# " + long + "\n\n" + fourteen + "\n" + six + "\n\n1. " + fourteen + "\n   " + six + "\n2. b c\n\n| " +
		long + " |\n\n    " +
		long + "\n\n```\n" + long + "\n```\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if again := Wrap(got); again != got {
		t.Errorf("wrapped again it is\n%s", again)
	}
}
