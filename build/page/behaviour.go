package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// refusals sends the agent requests as other sites would, which it has to refuse.
func (p *prover) refusals(ctx context.Context) (measured string, err error) {
	for _, c := range []struct {
		code   int
		header []string
	}{
		{http.StatusOK, nil},
		{http.StatusForbidden, []string{"Host", "evil.example"}},
		{http.StatusForbidden, []string{"Host", "192.168.1.5:8080"}},
		{http.StatusForbidden, []string{"Origin", "http://evil.example"}},
		{http.StatusForbidden, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}},
	} {
		for _, path := range []string{"", "status.json", "metrics", "healthz"} {
			code, _, err := fetch(ctx, p.house.url+path, c.header...)
			if err != nil || code != c.code {
				return "", fmt.Errorf("/%s with %q: %d, %v, want %d", path, c.header, code, err, c.code)
			}
		}
	}
	answer, err := http.Post(p.house.url, "text/plain", nil)
	if err != nil || answer.StatusCode != http.StatusMethodNotAllowed {
		return "", fmt.Errorf("POST: %v, %v", answer, err)
	}
	return "", answer.Body.Close()
}

// unsafe runs holdfast check with an address that the network can reach.
func (p *prover) unsafe(ctx context.Context) (measured string, err error) {
	config := filepath.Join(p.dir, "unsafe.yaml")
	text := "mqtt: {server: mqtt://127.0.0.1}\nstatus: {listen: 0.0.0.0:8080}\n" + houseSensors
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, p.agent, "check", "-c", config).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "that needs status.token_file and status.tls") {
		return "", fmt.Errorf("check says %v: %s", err, out)
	}
	return "", nil
}

// text is a JavaScript expression for the text of an element, empty if there is none.
func text(selector string) string {
	return fmt.Sprintf(`(document.querySelector(%q)?.textContent ?? "")`, selector)
}

// live watches the agent's page in the browser: values are updated, and a fault, an outage
// and a drain are shown.
func (p *prover) live(ctx context.Context) (measured string, err error) {
	s, err := newSite(ctx, p.agent, p.dir, "live",
		houseSensors+"  load: {kind: simulated, counter: {}, every: 5ms}\n"+
			"  key: {kind: simulated, steps: {states: [\"off\", \"on\"], every: 10s}}\n"+
			houseAlarm+"arming: {exit: 5s, key: key}\n")
	if err != nil {
		return "", err
	}
	defer s.stop()
	tab, end := newBrowser(ctx, p.chromium)
	defer end()
	number := text(`[data-name=humidity] .number`)
	var first, loads string
	err = chromedp.Run(tab, tall.set(), show(s.url), until(number+` !== "" && `+number+` !== "No reading yet"`),
		chromedp.Evaluate(number, &first), until(fmt.Sprintf("%s !== %q", number, first)), // an update that was seen
		until(text(`[data-name=cellar] .number`)+` === "Cannot be read"`),
		until(text("#events .name")+` === "fault"`),
		until(text("#overall")+` === "1 stream cannot be read"`))
	if err != nil {
		return "", fmt.Errorf("live update and fault: %w", err)
	}
	s.cable.Pull()
	if err := alarm(tab); err != nil {
		return "", err
	}
	err = chromedp.Run(tab, until(text("#link .big")+` === "Not connected"`),
		until(text("#overall")+`.startsWith("Not connected, ")`),
		until(text("#link [data-v=error]")+` !== ""`),
		until(`node.queue.backlog > 2500 && node.queue.oldest_s > 8`))
	if err != nil {
		return "", fmt.Errorf("outage: %w", err)
	}
	s.cable.Plug()
	err = chromedp.Run(tab, until(`!document.querySelector("#backlog .meter").hidden`),
		until(text("#backlog [data-v=left]")+` !== ""`),
		chromedp.Evaluate(text("#backlog [data-v=rate]"), &loads),
		until(text("#link .big")+` === "Connected" && node.queue.backlog < 100`))
	if err != nil {
		return "", fmt.Errorf("drain: %w", err)
	}
	s.end()
	if err := chromedp.Run(tab, until(text("#overall")+` === "No news from the node"`)); err != nil {
		return "", fmt.Errorf("the end of the agent: %w", err)
	}
	if err := s.start(ctx); err != nil {
		return "", err
	}
	err = chromedp.Run(tab, until(text("#live")+` === "live" && node.node.boot.startsWith("2-")`))
	return "the drain ran at " + loads, err
}

// alarm watches the siren and the panel of a node without a network: a rule switches the
// siren on for two seconds, and a key switch arms after five.
func alarm(tab context.Context) error {
	siren, ends := text(`[data-output=siren] .number`), text(`[data-output=siren] .range`)
	err := chromedp.Run(tab, until(siren+` === "off"`), until(siren+` === "on" && `+ends+`.startsWith("for another ")`),
		until(text(`[data-output=siren] .cause`)+` === "by rule:intruder"`), until(siren+` === "off"`))
	if err != nil {
		return fmt.Errorf("the siren without a network: %w", err)
	}
	panel, left := text("#alarm .big"), text("#alarm [data-v=until]")
	err = chromedp.Run(tab, until(panel+` === "Arming" && `+left+` === "3 s"`), until(left+` === "2 s"`),
		until(panel+` === "Armed away" && `+left+` === ""`), until(panel+` === "Disarmed"`))
	if err != nil {
		return fmt.Errorf("the countdown of the panel: %w", err)
	}
	return nil
}

// keyboard reaches the skip link, the filter and the search field without a mouse.
func (p *prover) keyboard(ctx context.Context) (measured string, err error) {
	tab, end := newBrowser(ctx, p.chromium)
	defer end()
	focus := `document.activeElement.className + "#" + document.activeElement.id`
	return "", chromedp.Run(tab, tall.set(), show(p.house.url),
		chromedp.KeyEvent(kb.Tab), until(focus+` === "skip#"`),
		chromedp.KeyEvent(kb.Enter), until(focus+` === "#streams"`),
		chromedp.KeyEvent(kb.Tab), until(focus+` === "#faults"`),
		chromedp.KeyEvent(" "), until(`document.querySelectorAll("#tiles .tile:not([hidden])").length === 1`),
		chromedp.KeyEvent(" "), until(`document.querySelectorAll("#tiles .tile:not([hidden])").length === 4`),
		press("/"), until(focus+` === "#find"`),
		chromedp.KeyEvent("humid"), until(`document.querySelectorAll("#tiles .tile:not([hidden])").length === 1`),
		until(text("#shown")+` === "1 of 4"`))
}

// ranges checks that a range has the decimals that its width needs.
func (p *prover) ranges(ctx context.Context) (measured string, err error) {
	tab, end := newBrowser(ctx, p.chromium)
	defer end()
	return "", chromedp.Run(tab, show(p.house.url),
		until(`rangeText([123456.13, 123456.71, 123456.9]) === "123456.13 to 123456.9"`),
		until(`rangeText([-20.084, -12.049]) === "\u221220.1 to \u221212"`),
		until(`rangeText([990.4, 1031.6]) === "990 to 1032"`), until(`rangeText([5, 5]) === ""`))
}

// press sends a key as a keyboard does: the browser inserts its character, unless the page
// has handled the key.
func press(key string) chromedp.Action {
	return input.DispatchKeyEvent(input.KeyDown).WithKey(key).WithText(key)
}

// thousand scrolls through the page of an agent with 1,000 streams.
func (p *prover) thousand(ctx context.Context) (measured string, err error) {
	const n = 1000
	var sensors strings.Builder
	sensors.WriteString("sensors:\n")
	for i := range n {
		fmt.Fprintf(&sensors, "  s%04d: {kind: simulated, counter: {}, every: 5s}\n", i)
	}
	s, err := newSite(ctx, p.agent, p.dir, "many", sensors.String())
	if err != nil {
		return "", err
	}
	defer s.stop()
	tab, end := newBrowser(ctx, p.chromium)
	defer end()
	var frames float64
	scroll := `new Promise((done) => { // from the top to the bottom in 120 frames
	  let i = 0, start = performance.now();
	  const step = () => {
	    scrollTo(0, document.documentElement.scrollHeight * i++ / 120);
	    if (i <= 121) requestAnimationFrame(step); else done(121000 / (performance.now() - start));
	  };
	  step();
	})`
	last := text(fmt.Sprintf("[data-name=s%04d] .number", n-1))
	err = chromedp.Run(tab, show(s.url), until(`document.querySelectorAll(".tile").length === 1000`),
		until(`node.queue.delivered > 2000`),
		chromedp.Evaluate(last, new(string)),
		chromedp.Evaluate(scroll, &frames, awaited),
		chromedp.Evaluate(`scrollTo(0, document.documentElement.scrollHeight)`, nil),
		until(`/^[0-9]+$/.test(`+last+`)`))
	if err != nil {
		return "", err
	}
	rss, err := s.rssAnon()
	return fmt.Sprintf("%.0f frames a second while scrolling; RssAnon of the agent %.1f MiB", frames, mebi(rss)), err
}

func mebi(n int64) float64 { return float64(n) / (1 << 20) }

const (
	maxRSS  = 10 << 20 // bytes of RssAnon, with page and metrics on
	maxCost = 5.0      // per cent of a core, for ten pages
)

// cost opens ten pages, which are ten event streams, and scrapes the metrics.
func (p *prover) cost(ctx context.Context) (measured string, err error) {
	const pages, span = 10, 10 * time.Second
	idle, err := p.house.spent(span)
	if err != nil {
		return "", err
	}
	looking, leave := context.WithCancel(ctx)
	var viewers sync.WaitGroup
	failed := make(chan error, pages)
	for range pages {
		viewers.Go(func() { failed <- readEvents(looking, p.house.url+"events") })
	}
	busy, err := p.house.spent(span)
	for range 20 {
		if _, _, err := fetch(ctx, p.house.url+"metrics"); err != nil {
			leave()
			return "", err
		}
	}
	rss, failedRSS := p.house.rssAnon()
	leave()
	viewers.Wait()
	for range pages {
		if err := <-failed; err != nil {
			return "", err
		}
	}
	if err != nil || failedRSS != nil {
		return "", fmt.Errorf("%v, %v", err, failedRSS)
	}
	measured = fmt.Sprintf("%.1f%% of a core without, %.1f%% with ten pages; RssAnon %.1f MiB", idle, busy, mebi(rss))
	if busy-idle >= maxCost || rss > maxRSS {
		return "", fmt.Errorf("%s: at most %.0f%% and %.0f MiB", measured, maxCost, mebi(maxRSS))
	}
	return measured, nil
}

// spent is the CPU usage of the agent over a time span, in per cent of a core.
func (s *site) spent(span time.Duration) (float64, error) {
	from, err := s.processor()
	if err != nil {
		return 0, err
	}
	time.Sleep(span)
	to, err := s.processor()
	return 100 * (to - from).Seconds() / span.Seconds(), err
}

// readEvents reads events as a page does, until ctx is done. It is an error if there were
// none.
func readEvents(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	n, err := io.Copy(io.Discard, answer.Body)
	if ctx.Err() == nil || n < 5000 {
		return fmt.Errorf("the events ended after %d bytes: %w", n, err)
	}
	return nil
}
