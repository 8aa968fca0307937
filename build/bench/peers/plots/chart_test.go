package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"slices"
	"testing"
)

func TestAnAxisEndsAtTicksAndHoldsItsValues(t *testing.T) {
	for _, c := range []struct {
		axis  axis
		ticks []float64
	}{
		{axis{logarithmic: true, min: 1000, max: 1e7}, []float64{1000, 1e4, 1e5, 1e6, 1e7}},
		{axis{logarithmic: true, min: 30, max: 3000}, []float64{10, 100, 1000, 1e4}},
		{axis{logarithmic: true, min: 5, max: 5}, []float64{1, 10}},
		{axis{min: 3, max: 7}, []float64{0, 2, 4, 6, 8, 10}},
		{axis{min: 0.2, max: 0.9}, nil},
	} {
		c.axis.from, c.axis.to = 200, 0
		a := c.axis.rounded()
		got := a.ticks()
		if c.ticks != nil && !slices.EqualFunc(got, c.ticks, almost) {
			t.Errorf("%+v has ticks %v, want %v", c.axis, got, c.ticks)
		}
		if n := len(got); n < 2 || n > 12 {
			t.Errorf("%+v has %d ticks", c.axis, n)
		}
		for _, v := range []float64{c.axis.min, c.axis.max} {
			if at := a.pixel(v); at < 0 || at > 200 {
				t.Errorf("%+v: %g is at %d", c.axis, v, at)
			}
		}
		if a.pixel(a.min) != 200 || a.pixel(a.max) != 0 {
			t.Errorf("%+v goes from %d to %d", a, a.pixel(a.min), a.pixel(a.max))
		}
	}
}

func almost(a, b float64) bool { return math.Abs(a-b) <= 1e-3*math.Abs(b) }

func TestLabelsHavePrefixes(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.5: "0.5", 10: "10", 1000: "1k", 1e7: "10M", 2.5e4: "25k"} {
		if got := label(v); got != want {
			t.Errorf("%g is %q, want %q", v, got, want)
		}
	}
}

func TestAPictureIsXML(t *testing.T) {
	var b bytes.Buffer
	draw(&b, "a < b", []panel{{title: "x & y", below: "n", series: []series{
		{"one", []point{{1, 1}, {10, 2}}}, {"two", []point{{1, 3}}}}}})
	d := xml.NewDecoder(&b)
	circles := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "circle" {
			circles++
		}
	}
	if circles != 3 {
		t.Errorf("%d points are drawn, want 3", circles)
	}
}
