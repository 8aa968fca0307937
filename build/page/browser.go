package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/page"
	"github.com/holdfast-iot/holdfast/config"
)

// patience limits every wait for the page. It is long because a loaded machine is slow.
const patience = 2 * time.Minute

// A view is a screen and a colour scheme.
type view struct {
	name          string
	width, height int64
	scale         float64
	mobile        bool
	scheme        string
}

var views = []view{
	{"desktop-light", 1280, 900, 1, false, "light"},
	{"desktop-dark", 1280, 900, 1, false, "dark"},
	{"phone-light", 390, 844, 2, true, "light"},
	{"phone-dark", 390, 844, 2, true, "dark"},
}

func (v view) set() chromedp.Action {
	size := []chromedp.EmulateViewportOption{chromedp.EmulateScale(v.scale)}
	if v.mobile {
		size = append(size, chromedp.EmulateMobile)
	}
	scheme := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: v.scheme}}
	return chromedp.Tasks{chromedp.EmulateViewport(v.width, v.height, size...),
		emulation.SetEmulatedMedia().WithFeatures(scheme)}
}

// tall is high enough for all of a small node: the page draws only what is visible.
var tall = view{"tall", 1280, 2000, 1, false, "light"}

// newBrowser starts a headless Chromium; stop ends it.
func newBrowser(ctx context.Context, path string) (tab context.Context, stop func()) {
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox)
	allocator, endAllocator := chromedp.NewExecAllocator(ctx, options...)
	quiet := func(string, ...any) {} // the library logs events that it does not know
	tab, endTab := chromedp.NewContext(allocator, chromedp.WithErrorf(quiet))
	return tab, func() { endTab(); endAllocator() }
}

// serveScene serves a simulated node at a free port of loopback, and returns its URL.
func serveScene(ctx context.Context, s *scene) (url string, err error) {
	listening := make(chan string, 1)
	opt := &config.Status{Listen: "127.0.0.1:0", Listening: func(url string) { listening <- url }}
	go page.Serve(ctx, opt, s, slog.New(slog.DiscardHandler))
	select {
	case url = <-listening:
		return url, nil
	case <-time.After(patience):
		return "", fmt.Errorf("the page does not listen")
	}
}

// show opens a URL and waits until the page gets events.
func show(url string) chromedp.Action {
	return chromedp.Tasks{chromedp.Navigate(url), until(`document.getElementById("live").textContent === "live"`)}
}

// until waits until a JavaScript condition is true, but not longer than patience.
func until(condition string) chromedp.Action {
	return chromedp.ActionFunc(func(ctx context.Context) error {
		for end := time.Now().Add(patience); ; {
			var good bool
			if err := chromedp.Evaluate(condition, &good).Do(ctx); err != nil {
				return fmt.Errorf("%s: %w", condition, err)
			}
			if good {
				return nil
			}
			if time.Now().After(end) {
				var text string
				chromedp.Evaluate(`document.body.innerText`, &text).Do(ctx)
				return fmt.Errorf("not true in %v: %s; the page says:\n%.800s", patience, condition, text)
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
}
