package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/chromedp/chromedp"
	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/broker"
)

// A history is a broker, the real recorder with its page, and a publisher that sends a day
// of a cold store, as an agent would.
type history struct {
	broker    *broker.Broker
	recorder  *exec.Cmd
	publisher mqtt.Client
	url       string
	now       time.Time // the end of the day
}

// The day of the cold store, in minutes before its end: the network is down for four hours,
// in which the freezer is too warm, and the agent drops twenty readings because its queue
// is full.
const (
	minutes                = 24 * 60
	outBegin, outEnd       = 13 * 60, 9 * 60
	alarmBegin, alarmEnd   = 11*60 + 30, 10*60 + 15
	droppedFrom, droppedTo = minutes - outBegin + 1, minutes - outBegin + 20 // numbers of readings
)

// recorded shows a day with an outage on the recorder's page, before and after the late
// readings have arrived, in each view.
func (p *prover) recorded(ctx context.Context) (measured string, err error) {
	axe, err := os.ReadFile(p.axe)
	if err != nil {
		return "", err
	}
	h, err := newHistory(ctx, p.recorder, filepath.Join(p.dir, "history"))
	if err != nil {
		return "", err
	}
	defer h.stop()
	tab, end := newBrowser(ctx, p.chromium)
	defer end()
	checks := 0
	for _, stage := range []struct {
		name    string
		publish func() error
		late    bool
	}{
		{"before", h.live, false},
		{"after", h.late, true},
	} {
		if err := stage.publish(); err != nil {
			return "", err
		}
		if err := h.arrived(ctx, stage.late); err != nil {
			return "", fmt.Errorf("%s the late readings: %w", stage.name, err)
		}
		for view, address := range map[string]string{"fleet": "#/", "node": "#/store-7", "stream": "#/store-7/freezer/day"} {
			n, err := p.looks(tab, h.url+address, "recorder-"+view+"-"+stage.name, string(axe))
			if err != nil {
				return "", fmt.Errorf("%s %s the late readings: %w", view, stage.name, err)
			}
			checks += n
		}
	}
	return fmt.Sprintf("%d rules of axe-core passed", checks), nil
}

// looks stores a picture of a URL in each view, and returns how many rules of axe-core
// passed.
func (p *prover) looks(tab context.Context, url, name, axe string) (passed int, err error) {
	for _, v := range views {
		var width int64
		var png []byte
		// Navigating to another fragment (#) alone would not load the page again.
		err := chromedp.Run(tab, v.set(), chromedp.Navigate("about:blank"), chromedp.Navigate(url),
			until(`!document.getElementById("main").innerText.startsWith("Loading")`),
			chromedp.Evaluate(`document.documentElement.scrollWidth`, &width), chromedp.FullScreenshot(&png, 100)) // 100: a PNG
		if err != nil {
			return 0, err
		}
		if width > v.width {
			return 0, fmt.Errorf("%s: the page is %d pixels wide, the screen %d", v.name, width, v.width)
		}
		n, err := accessible(tab, axe)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", v.name, err)
		}
		passed += n
		if p.folder == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(p.folder, name+"-"+v.name+".png"), png, 0o644); err != nil {
			return 0, err
		}
	}
	return passed, nil
}

// newHistory starts the broker and the recorder, and connects the publisher.
func newHistory(ctx context.Context, binary, dir string) (h *history, err error) {
	h = &history{now: time.Now().Truncate(time.Minute)}
	defer func() {
		if err != nil {
			h.stop()
		}
	}()
	if err := os.Mkdir(dir, 0o700); err != nil {
		return h, err
	}
	if h.broker, err = broker.Listen("127.0.0.1:0", "", slog.New(slog.DiscardHandler)); err != nil {
		return h, err
	}
	listen, err := freePort()
	if err != nil {
		return h, err
	}
	h.url = "http://" + listen + "/"
	file := filepath.Join(dir, "recorder.yaml")
	text := fmt.Sprintf("client_id: recorder-1\nmqtt: {server: \"mqtt://%s\"}\ndatabase: \"sqlite:%s/history.db\"\n"+
		"status: {listen: %q}\n", h.broker.Addr(), dir, listen)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return h, err
	}
	h.recorder = exec.Command(binary, "run", "-c", file)
	h.recorder.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := h.recorder.Start(); err != nil {
		return h, err
	}
	h.publisher = mqtt.NewClient(mqtt.NewClientOptions().AddBroker("mqtt://" + h.broker.Addr().String()).
		SetClientID("store-7"))
	if t := h.publisher.Connect(); !t.WaitTimeout(patience) || t.Error() != nil {
		return h, fmt.Errorf("the publisher cannot connect: %w", t.Error())
	}
	return h, h.ready(ctx)
}

// ready publishes the birth until the recorder has stored it: then its subscription is
// active.
func (h *history) ready(ctx context.Context) error {
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		if err := h.publish("agent/status", "online"); err != nil {
			return err
		}
		_, body, err := fetch(ctx, h.url+"api/fleet")
		var fleet struct{ Devices []struct{ Online bool } }
		if err == nil && json.Unmarshal([]byte(body), &fleet) == nil && len(fleet.Devices) == 1 && fleet.Devices[0].Online {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("the recorder has no node: %s %w", body, err)
		}
	}
}

// stop stops what newHistory has started.
func (h *history) stop() {
	if h.publisher != nil {
		h.publisher.Disconnect(0)
	}
	if h.recorder != nil && h.recorder.Process != nil {
		h.recorder.Process.Signal(syscall.SIGTERM)
		h.recorder.Wait()
	}
	if h.broker != nil {
		h.broker.Close()
	}
}

// publish publishes at QoS 1 below the node's client ID.
func (h *history) publish(topic, payload string) error {
	t := h.publisher.Publish("store-7/"+topic, 1, false, payload)
	if !t.WaitTimeout(patience) {
		return fmt.Errorf("%s is not acknowledged in %v", topic, patience)
	}
	return t.Error()
}

// at is a time of the day, in Unix milliseconds.
func (h *history) at(minutesBefore int) int64 {
	return h.now.Add(-time.Duration(minutesBefore) * time.Minute).UnixMilli()
}

// freezer publishes the readings of a part of the day.
func (h *history) freezer(begin, end int, more string) error {
	for before := begin; before > end; before-- {
		seq := minutes - before + 1
		if seq >= droppedFrom && seq <= droppedTo && more != "" {
			continue // never sent
		}
		value := -19 + math.Sin(float64(before)/25) // °C, the compressor's cycle
		if before <= alarmBegin+40 && before >= alarmEnd {
			value += 8 * math.Sin(math.Pi*float64(alarmBegin+40-before)/float64(alarmBegin+40-alarmEnd))
		}
		err := h.publish("freezer", fmt.Sprintf(`{"ts":%d,"boot":"7-9f3c02ab","seq":%d,"value":%.1f,"unit":"°C"%s}`,
			h.at(before), seq, value, more))
		if err != nil {
			return err
		}
	}
	return nil
}

// live publishes what arrived in time: everything except the outage. Its health message
// reports a backlog.
func (h *history) live() error {
	if err := h.freezer(minutes, outBegin, ""); err != nil {
		return err
	}
	if err := h.freezer(outEnd, 0, ""); err != nil {
		return err
	}
	return h.publish("agent/health", fmt.Sprintf(
		`{"ts":%d,"backlog":220,"oldest":%d,"dropped":20,"faults":[],"clock":"ok","written":40960}`, h.at(0), outBegin*60))
}

// late publishes what was queued: the readings, the alarm, and the gap of the dropped
// readings.
func (h *history) late() error {
	const late = `,"historical":true`
	for i, change := range []struct {
		at    int
		value int
		state string
	}{{alarmBegin, 1, "alarm"}, {alarmEnd, 0, "ok"}} {
		err := h.publish("freezer_alarm", fmt.Sprintf(`{"ts":%d,"boot":"7-9f3c02ab","seq":%d,"value":%d,"state":%q%s}`,
			h.at(change.at), i+1, change.value, change.state, late))
		if err != nil {
			return err
		}
	}
	err := h.publish("agent/event", fmt.Sprintf(`{"ts":%d,"boot":"7-9f3c02ab","seq":1,"event":"gap","stream":"freezer",`+
		`"from":%d,"to":%d,"count":%d,"why":"dropped"}`, h.at(outEnd), droppedFrom, droppedTo, droppedTo-droppedFrom+1))
	if err != nil {
		return err
	}
	if err := h.freezer(outBegin, outEnd, late); err != nil {
		return err
	}
	return h.publish("agent/health", fmt.Sprintf(
		`{"ts":%d,"backlog":0,"oldest":0,"dropped":20,"faults":[],"clock":"ok","written":40960}`, h.at(0)))
}

// arrived waits until the recorder has exactly what was published.
func (h *history) arrived(ctx context.Context, late bool) error {
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		if err := h.check(ctx, late); err == nil || time.Now().After(end) {
			return err
		}
	}
}

// check compares the answer of the API with what was published, with or without the late
// readings.
func (h *history) check(ctx context.Context, late bool) error {
	_, body, err := fetch(ctx, fmt.Sprintf("%sapi/devices/store-7/streams/freezer?from=%d&to=%d&buckets=2000",
		h.url, h.at(minutes), h.at(0)))
	if err != nil {
		return err
	}
	var series struct {
		Buckets []struct{ Count, Late int }
		Gaps    []struct {
			Count int
			State string
		}
		Alarms []struct{ State string }
	}
	if err := json.Unmarshal([]byte(body), &series); err != nil {
		return err
	}
	count, lateCount, gaps, lost := 0, 0, map[string]int{}, droppedTo-droppedFrom+1
	for _, b := range series.Buckets {
		count, lateCount = count+b.Count, lateCount+b.Late
	}
	for _, g := range series.Gaps {
		gaps[g.State] += g.Count
	}
	out := outBegin - outEnd
	want, wantLate, wantGaps, wantAlarms := minutes-out, 0, map[string]int{"missing": out}, 0
	if late {
		want, wantLate, wantAlarms = minutes-lost, out-lost, 2
		// A gap that is filled within a minute, as here, is not stored.
		wantGaps = map[string]int{"declared": lost}
	}
	if count != want || lateCount != wantLate || fmt.Sprint(gaps) != fmt.Sprint(wantGaps) ||
		len(series.Alarms) != wantAlarms {
		return fmt.Errorf("%d readings, %d late, gaps %v, %d alarms; want %d, %d, %v, %d",
			count, lateCount, gaps, len(series.Alarms), want, wantLate, wantGaps, wantAlarms)
	}
	return nil
}
