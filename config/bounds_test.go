package config

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// floods are files of 1 MiB that contain only errors.
func floods() map[string]string {
	const head = "mqtt: {server: mqtt://b}\nsensors:\n"
	repeat := func(one func(i int) string) string {
		var b strings.Builder
		for i := 0; b.Len() < maxFile-len(head)-2000; i++ {
			b.WriteString(one(i))
		}
		return b.String()
	}
	return map[string]string{
		"unknown keys": repeat(func(i int) string { return fmt.Sprintf("k%d: 1\n", i) }),
		"a long key":   "a: 1\n" + strings.Repeat("k", maxFile/2) + ": 1\n",
		"keys of a sensor": head + "  a: {kind: probe, " + repeat(func(i int) string {
			return fmt.Sprintf("k%d: 1, ", i)
		}) + "}\n",
		"sensors": head + repeat(func(i int) string {
			return fmt.Sprintf("  k%d: {kind: nothing, x: y}\n", i)
		}),
		"repeated keys":     repeat(func(int) string { return "a:\n" }),
		"one long key":      head + "  a: {kind: probe, " + strings.Repeat("k", maxFile/2) + ": 1}\n",
		"a long sensor":     head + "  " + strings.Repeat("k", 1000) + ": {kind: probe, x: 1}\n",
		"one long value":    head + "  a: {kind: probe, wait: " + strings.Repeat("9", maxFile/2) + "}\n",
		"one long kind":     head + "  a: {kind: " + strings.Repeat("k", maxFile/2) + "}\n",
		"one line of text":  strings.Repeat("x", maxFile/2) + "\n",
		"an open bracket":   strings.Repeat("[", maxFile/2) + "\n",
		"an open quote":     "a: '" + strings.Repeat("x", maxFile/2) + "\n",
		"a text of percent": "a: " + strings.Repeat("%", maxFile/2) + "\n",
		"dashes":            strings.Repeat("- ", maxFile/2-10) + "x: y: z\n",
		"lines of foreign":  repeat(func(int) string { return "a\u00a0: 1\n" }),
		"foreign spaces":    "a: " + strings.Repeat("\u00a0", maxFile/3) + "\n",
	}
}

func TestNumberOfErrorsIsLimited(t *testing.T) {
	for name, text := range floods() {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := read(text)
		runtime.ReadMemStats(&after)
		var all Errors
		if !errors.As(err, &all) {
			t.Errorf("%s: got %v", name, err)
			continue
		}
		if said := len(err.Error()); len(all) > maxErrors+1 || said > (maxErrors+1)*(maxErrorText+maxErrorPath+100) {
			t.Errorf("%s: %d mistakes in %d bytes", name, len(all), said)
		}
		if short := all.First(10); len(short) > 11 || len(short.Error()) > 20_000 {
			t.Errorf("%s: the first 10 are %d, in %d bytes", name, len(short), len(short.Error()))
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 200<<20 {
			t.Errorf("%s: %d MiB allocated, also what was freed soon", name, used>>20)
		}
	}
}

// A key may contain a line end; its error is one line all the same.
func TestAnErrorIsOneLine(t *testing.T) {
	_, err := read("mqtt: {server: mqtt://b}\nsensors:\n  \"a\\nf.yaml:1:1: all is well\": {kind: probe, x: 1}\n")
	var all Errors
	if !errors.As(err, &all) || strings.Count(err.Error(), "\n") != len(all)-1 {
		t.Errorf("got %v", err)
	}
}
