package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// drawn is true when every tile has its text.
const drawn = `[...document.querySelectorAll(".tile .number")].every((e) => e.textContent !== "")`

// pictures shows each scene in each view, checks it with axe-core, and stores a picture.
func (p *prover) pictures(ctx context.Context) (measured string, err error) {
	axe, err := os.ReadFile(p.axe)
	if err != nil {
		return "", err
	}
	tab, end := newBrowser(ctx, p.chromium)
	defer end()
	checks := 0
	for _, name := range slices.Sorted(maps.Keys(scenes)) {
		url, err := serveScene(ctx, &scene{change: scenes[name], streams: house()})
		if err != nil {
			return "", err
		}
		for _, v := range views {
			png, rules, err := p.picture(tab, url, v, string(axe))
			if err != nil {
				return "", fmt.Errorf("%s, %s: %w", name, v.name, err)
			}
			checks += rules
			if p.folder == "" {
				continue
			}
			if err := os.WriteFile(filepath.Join(p.folder, name+"-"+v.name+".png"), png, 0o644); err != nil {
				return "", err
			}
		}
	}
	return fmt.Sprintf("%d rules of axe-core passed in %d pictures", checks, len(scenes)*len(views)), nil
}

// picture shows one view, and returns how many rules of axe-core passed.
func (p *prover) picture(tab context.Context, url string, v view, axe string) (png []byte, rules int, err error) {
	var width, height int64
	err = chromedp.Run(tab, v.set(), show(url),
		chromedp.Evaluate(`document.documentElement.scrollWidth`, &width),
		chromedp.Evaluate(`document.documentElement.scrollHeight`, &height))
	if err != nil {
		return nil, 0, err
	}
	if width > v.width {
		return nil, 0, fmt.Errorf("the page is %d pixels wide, the screen %d: it scrolls sideways", width, v.width)
	}
	v.height = height + 200 // the page draws only what is visible
	err = chromedp.Run(tab, v.set(), until(drawn), chromedp.Screenshot("body", &png, chromedp.ByQuery))
	if err != nil {
		return nil, 0, err
	}
	rules, err = accessible(tab, axe)
	return png, rules, err
}

// awaited makes the browser wait for the promise of an expression.
func awaited(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }

// A finding is a violation that axe-core reports.
type finding struct {
	ID, Impact, Help string
	Nodes            []struct{ HTML string }
}

// accessible checks the page with axe-core. Any violation is an error.
func accessible(tab context.Context, axe string) (passed int, err error) {
	var text string
	ask := `axe.run(document).then((r) => JSON.stringify({violations: r.violations, passes: r.passes.length}))`
	err = chromedp.Run(tab, chromedp.Evaluate(axe, nil), chromedp.Evaluate(ask, &text, awaited))
	if err != nil {
		return 0, err
	}
	var found struct {
		Violations []finding
		Passes     int
	}
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		return 0, err
	}
	if len(found.Violations) > 0 {
		return 0, fmt.Errorf("axe-core finds %+v", found.Violations)
	}
	return found.Passes, nil
}
