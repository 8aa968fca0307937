package page

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/status"
	"github.com/holdfast-iot/holdfast/config"
)

var (
	label      = `[a-z_]+="([^"\\\n]|\\["\\n])*"`
	sampleForm = regexp.MustCompile(`^holdfast_[a-z_]+(\{` + label + `(,` + label + `)*\})? [-+.0-9a-zA-Z]+$`)
)

// TestMetricsFollowTheirFormats; build/page also runs promtool.
func TestMetricsFollowTheirFormats(t *testing.T) {
	url, _ := running(t, config.Status{Listen: "127.0.0.1:0"}, &plainNode{})
	for accept, open := range map[string]bool{
		"": false, "text/plain;version=0.0.4;q=0.2,*/*;q=0.1": false,
		"application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5": true,
	} {
		code, text, h := get(t, http.DefaultClient, url+"metrics", "Accept", accept)
		if code != 200 || strings.HasPrefix(h.Get("Content-Type"), "application/openmetrics-text") != open {
			t.Errorf("%q: %d, %s", accept, code, h.Get("Content-Type"))
		}
		if strings.HasSuffix(text, "# EOF\n") != open || strings.Contains(text, "# UNIT") != open {
			t.Errorf("%q: units or end are wrong:\n%s", accept, text)
		}
		family, kind := "", ""
		for line := range strings.Lines(text) {
			line = strings.TrimSuffix(line, "\n")
			switch fields := strings.Fields(line); {
			case strings.HasPrefix(line, "# TYPE"):
				family, kind = fields[2], fields[3]
			case strings.HasPrefix(line, "# EOF"):
			case strings.HasPrefix(line, "#"):
				if fields[2] != family {
					t.Errorf("%q stands in the family %s", line, family)
				}
				if fields[1] == "UNIT" && !strings.HasSuffix(family, "_"+fields[3]) {
					t.Errorf("the name of %s does not end with its unit %s", family, fields[3])
				}
			default:
				want := family
				if open && kind == "counter" {
					want += "_total"
				}
				name, _, _ := strings.Cut(fields[0], "{")
				if name != want || !sampleForm.MatchString(line) {
					t.Errorf("%q stands in the family %s", line, family)
				}
			}
		}
	}
}

func TestMetricsMatchTheSnapshot(t *testing.T) {
	text := metricsText((&plainNode{}).Snapshot(false), true)
	for _, want := range []string{
		"holdfast_link_up 1\n", `holdfast_link_info{server="192.168.1.10:1883",mqtt="5"} 1` + "\n",
		`holdfast_unheard_readings{stream="room"} 5` + "\n", "holdfast_backlog_readings 3\n",
		"holdfast_backlog_oldest_age_seconds 1.5\n",
		"holdfast_delivered_readings_total 7\n", "# TYPE holdfast_delivered_readings counter\n",
		"holdfast_clock_synced 1\n", "holdfast_certificate_expiry_timestamp_seconds 1.8e+09\n",
		`holdfast_stream_value{stream="room",unit="%"} 45.2` + "\n", `holdfast_stream_fault{stream="a\"b\\c"} 1` + "\n",
		`holdfast_stream_reading_timestamp_seconds{stream="room"} 1.763640000123e+09` + "\n",
		`holdfast_output_on{output="siren",class="siren"} 1` + "\n", `holdfast_output_fault{output="valve"} 1` + "\n",
		`holdfast_output_fault{output="siren"} 0` + "\n",
		`holdfast_output_until_timestamp_seconds{output="siren"} 1.76364018e+09` + "\n",
		`holdfast_output_rest_until_timestamp_seconds{output="valve"} 1.76364006e+09` + "\n",
		`holdfast_arming_state{state="pending"} 1` + "\n", `holdfast_arming_state{state="disarmed"} 0` + "\n",
		"holdfast_arming_change_timestamp_seconds 1.76364e+09\n", "holdfast_arming_open_streams 1\n",
		"holdfast_arming_codes_locked 0\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
	for _, absent := range []string{`holdfast_stream_value{stream="a`, `holdfast_output_on{output="valve"`} {
		if strings.Contains(text, absent) {
			t.Errorf("%s has a value, which is unknown", absent)
		}
	}
	bare := metricsText(status.Snapshot{Outputs: []status.Output{}}, true)
	for _, absent := range []string{"holdfast_output", "holdfast_arming", "holdfast_link_info", "holdfast_unheard"} {
		if strings.Contains(bare, absent) {
			t.Errorf("a node without outputs and without a link has metrics %s:\n%s", absent, bare)
		}
	}
}
