package page

import (
	"fmt"
	"maps"
	"math"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/status"
	"github.com/holdfast-iot/holdfast/sensors/arming"
)

// No library writes the metrics: all values are in one snapshot, and a library would use
// most of the memory that a Pi Zero has left (docs/status.md has the figures).

// An exposition is the text for a scraper: OpenMetrics 1.0.0, or the older format of
// Prometheus (0.0.4), which has no units and no end mark. It is built by one goroutine, for
// one scrape.
type exposition struct {
	strings.Builder
	open bool // OpenMetrics
}

// family starts a metric. In OpenMetrics the name of a counter is without _total there.
// kind is gauge or counter. A unit has to be the suffix of the name, as OpenMetrics
// requires; it is empty if there is none.
func (e *exposition) family(name, kind, unit, help string) {
	if !e.open && kind == "counter" {
		name += "_total"
	}
	fmt.Fprintf(e, "# TYPE %s %s\n", name, kind)
	if e.open && unit != "" {
		fmt.Fprintf(e, "# UNIT %s %s\n", name, unit)
	}
	fmt.Fprintf(e, "# HELP %s %s\n", name, help)
}

// sample writes one value; labels are alternately names and values. NaN and +Inf have the
// same spelling in both formats.
func (e *exposition) sample(name string, v float64, labels ...string) {
	e.WriteString(name)
	for i := 0; i < len(labels); i += 2 {
		e.WriteByte("{,"[min(i, 1)])
		e.WriteString(labels[i] + `="` + escapeLabel.Replace(labels[i+1]) + `"`)
	}
	if len(labels) > 0 {
		e.WriteByte('}')
	}
	e.WriteString(" " + strconv.FormatFloat(v, 'g', -1, 64) + "\n")
}

// escapeLabel escapes a label value, for both formats.
var escapeLabel = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

// gauge writes a gauge with one value.
func (e *exposition) gauge(name, unit, help string, v float64) {
	e.family(name, "gauge", unit, help)
	e.sample(name, v)
}

// counter writes a counter with one value, which starts at 0 with the agent. The name is
// without _total, which its sample gets.
func (e *exposition) counter(name, unit, help string, v float64) {
	e.family(name, "counter", unit, help)
	e.sample(name+"_total", v)
}

// number converts a boolean to 1 or 0.
func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// seconds converts Unix milliseconds: Prometheus uses base units.
func seconds(ms int64) float64 { return float64(ms) / 1000 }

// metrics answers a scrape in the requested format. The answer must not be cached: a
// scraper would take an old value for a new one.
func (s *server) metrics(w http.ResponseWriter, r *http.Request) {
	open := wantsOpenMetrics(r.Header.Get("Accept"))
	kind := "text/plain; version=0.0.4; charset=utf-8"
	if open {
		kind = "application/openmetrics-text; version=1.0.0; charset=utf-8"
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "no-store")
	w.Write([]byte(metricsText(s.node.Snapshot(false), open)))
}

// metricsText is the text of /metrics for a snapshot.
func metricsText(s status.Snapshot, open bool) string {
	e := &exposition{open: open}
	e.family("holdfast_build_info", "gauge", "", "Always 1; the labels say what runs.")
	e.sample("holdfast_build_info", 1,
		"client_id", s.Node.ClientID, "version", s.Node.Version, "hardware", s.Node.Hardware)
	e.gauge("holdfast_start_time_seconds", "seconds", "When the agent started, in Unix time.", seconds(s.Node.Started))
	e.link(s.Link)
	e.queue(s.Queue)
	e.gauge("holdfast_clock_synced", "", "1 if a time source confirms the clock.", number(s.Clock.Quality == "ok"))
	e.streams(s.Streams)
	e.outputs(s.Outputs)
	e.arming(s.Arming)
	e.process()
	if open {
		e.WriteString("# EOF\n")
	}
	return e.String()
}

// link writes the metrics of the link. Unknown values are left out instead of 0: a
// certificate that expired in 1970 would cause a false alert.
func (e *exposition) link(l status.Link) {
	e.gauge("holdfast_link_up", "", "1 while the broker has accepted the connection.", number(l.Connected))
	if l.Connected {
		e.family("holdfast_link_info", "gauge", "", "1 while the link is up; the labels say to which broker, and by "+
			"which version of MQTT.")
		e.sample("holdfast_link_info", 1, "server", l.Server, "mqtt", l.MQTT)
	}
	e.gauge("holdfast_link_since_timestamp_seconds", "seconds",
		"Since when the link is up or down, in Unix time.", seconds(l.Since))
	e.gauge("holdfast_link_held", "", "1 while the backlog is held although the link is up.", number(l.Held != ""))
	e.gauge("holdfast_link_orders_failing", "", "1 while orders cannot arrive although outputs take them.",
		number(l.NoOrders != ""))
	if len(l.Unheard) > 0 {
		e.family("holdfast_unheard_readings", "gauge", "readings",
			"Readings that nobody has subscribed to, since somebody did.")
		for _, stream := range slices.Sorted(maps.Keys(l.Unheard)) {
			e.sample("holdfast_unheard_readings", float64(l.Unheard[stream]), "stream", stream)
		}
	}
	if l.RoundTrip > 0 {
		e.gauge("holdfast_link_round_trip_seconds", "seconds",
			"How long the last message took until it was acknowledged.", l.RoundTrip)
	}
	if l.CertExpires != 0 {
		e.gauge("holdfast_certificate_expiry_timestamp_seconds", "seconds",
			"When the first certificate of the connection expires, in Unix time.", seconds(l.CertExpires))
	}
}

// queue writes the backlog, the losses and the load on the disk.
func (e *exposition) queue(q status.Queue) {
	e.gauge("holdfast_backlog_readings", "readings",
		"Readings and events that are not acknowledged.", float64(q.Backlog))
	e.gauge("holdfast_backlog_memory_readings", "readings",
		"Of the backlog, what is in memory alone.", float64(q.Memory))
	e.gauge("holdfast_backlog_oldest_age_seconds", "seconds", "Age of the oldest reading that waits.", q.Oldest)
	e.gauge("holdfast_aside_readings", "readings", "Readings and events that the broker refuses.", float64(q.Aside))
	e.counter("holdfast_delivered_readings", "readings",
		"Readings and events that were acknowledged.", float64(q.Delivered))
	e.counter("holdfast_skipped_readings", "readings",
		"Readings that were too late for a plain payload and were not sent.", float64(q.Skipped))
	e.counter("holdfast_dropped_readings", "readings", "Readings that had to make room.", float64(q.Dropped))
	e.counter("holdfast_missing_readings", "readings", "Readings that were declared as gaps.", float64(q.Missing))
	e.gauge("holdfast_disk_failing", "", "1 while the disk fails or hangs.", number(q.Failing))
	e.counter("holdfast_disk_written_bytes", "bytes", "Bytes written to the queue's file.", float64(q.Written))
	e.counter("holdfast_disk_commits", "commits", "Commits to the queue's file.", float64(q.Commits))
}

// streams writes three families with a sample for each stream: the samples of one family
// have to be adjacent. The value of a stream that cannot be read is left out, so that
// Prometheus shows a gap.
func (e *exposition) streams(all []status.Stream) {
	e.family("holdfast_stream_fault", "gauge", "", "1 while the stream cannot be read.")
	for _, s := range all {
		e.sample("holdfast_stream_fault", number(s.Error != ""), "stream", s.Name)
	}
	e.family("holdfast_stream_value", "gauge", "", "The latest value, in the unit that the label says.")
	for _, s := range all {
		if s.Value != nil {
			e.sample("holdfast_stream_value", *s.Value, "stream", s.Name, "unit", s.Unit)
		}
	}
	e.family("holdfast_stream_reading_timestamp_seconds", "gauge", "seconds",
		"When the latest value was measured, or since when the stream cannot be read, in Unix time.")
	for _, s := range all {
		if s.At != 0 {
			e.sample("holdfast_stream_reading_timestamp_seconds", seconds(s.At), "stream", s.Name)
		}
	}
}

// outputs writes the families of the outputs. An unknown value is left out, so that it is
// not mistaken for off.
func (e *exposition) outputs(all []status.Output) {
	if len(all) == 0 {
		return
	}
	e.family("holdfast_output_on", "gauge", "", "1 while the output is on, 0 while it is off.")
	for _, o := range all {
		if o.State != status.Unknown {
			e.sample("holdfast_output_on", number(o.State == status.On), "output", o.Name, "class", o.Class)
		}
	}
	e.family("holdfast_output_fault", "gauge", "", "1 while it is unknown whether the output is on.")
	for _, o := range all {
		e.sample("holdfast_output_fault", number(o.State == status.Unknown), "output", o.Name)
	}
	e.times("holdfast_output_change_timestamp_seconds", "When the output changed last, in Unix time.",
		all, func(o status.Output) int64 { return o.Since })
	e.times("holdfast_output_until_timestamp_seconds",
		"When the output goes back to its safe level by itself, in Unix time.",
		all, func(o status.Output) int64 { return o.Until })
	e.times("holdfast_output_rest_until_timestamp_seconds",
		"Until when the output refuses orders, in Unix time.",
		all, func(o status.Output) int64 { return o.RestUntil })
}

// times writes a family of timestamps, with a sample for each output that has one.
func (e *exposition) times(name, help string, all []status.Output, at func(status.Output) int64) {
	e.family(name, "gauge", "seconds", help)
	for _, o := range all {
		if ms := at(o); ms != 0 {
			e.sample(name, seconds(ms), "output", o.Name)
		}
	}
}

// arming writes the state of the alarm panel: a sample for each state, of which one is 1,
// like a state set of OpenMetrics.
func (e *exposition) arming(a *status.Arming) {
	if a == nil {
		return
	}
	e.family("holdfast_arming_state", "gauge", "", "1 for the state of the alarm panel, 0 for the others.")
	for _, state := range arming.States {
		e.sample("holdfast_arming_state", number(a.State == state), "state", state)
	}
	e.gauge("holdfast_arming_change_timestamp_seconds", "seconds",
		"When the state of the alarm panel changed last, in Unix time.", seconds(a.Since))
	e.gauge("holdfast_arming_open_streams", "streams", "Streams that keep the alarm panel from being armed.",
		float64(len(a.Open)))
	e.gauge("holdfast_arming_codes_locked", "", "1 while codes are refused, after too many wrong ones.",
		number(a.LockedUntil != 0))
}

// process writes the resource usage of the process. A value that the system does not
// provide is left out.
func (e *exposition) process() {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err == nil {
		spent := used.Utime.Nano() + used.Stime.Nano()
		e.counter("holdfast_process_cpu_seconds", "seconds", "Processor time of the agent.",
			math.Round(float64(spent)/1e6)/1e3)
	}
	if resident, shared, ok := pagesUsed(); ok {
		page := int64(os.Getpagesize())
		e.gauge("holdfast_process_resident_memory_bytes", "bytes", "Memory of the agent.", float64(resident*page))
		e.gauge("holdfast_process_anonymous_memory_bytes", "bytes",
			"Of it, what is no file: the memory that the system cannot take back.", float64((resident-shared)*page))
	}
	e.gauge("holdfast_process_goroutines", "goroutines", "Goroutines of the agent.", float64(runtime.NumGoroutine()))
}

// pagesUsed returns the memory pages of the process, and how many of them belong to files.
// It does not parse with package fmt, whose scanner would be linked only for this: 30 kB on
// ARMv6.
func pagesUsed() (resident, shared int64, ok bool) {
	text, err := os.ReadFile("/proc/self/statm") // size, resident, shared, ...: proc(5)
	fields := strings.Fields(string(text))
	if err != nil || len(fields) < 3 {
		return 0, 0, false
	}
	resident, badResident := strconv.ParseInt(fields[1], 10, 64)
	shared, badShared := strconv.ParseInt(fields[2], 10, 64)
	return resident, shared, badResident == nil && badShared == nil
}
