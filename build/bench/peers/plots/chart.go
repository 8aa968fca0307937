package main

import (
	"fmt"
	"io"
	"math"
	"strconv"

	svg "github.com/ajstarks/svgo"
)

// Sizes of a picture, in pixels of the SVG.
const (
	panelWidth  = 320
	panelHeight = 270
	left        = 58 // left margin, for the labels of the vertical axis
	right       = 16
	top         = 34
	bottom      = 46
)

// style has colours that colour-blind people can distinguish, for light and for dark pages.
// A picture in a page cannot use the page's own style.
const style = `text { font: 12px sans-serif; fill: #333 } .title { font-weight: bold; font-size: 13px }
.grid { stroke: #ddd; fill: none } .axis { stroke: #888; fill: none } .paper { fill: #fff }
.s0 { stroke: #0072b2; fill: #0072b2 } .s1 { stroke: #d55e00; fill: #d55e00 } .line { fill: none; stroke-width: 2 }
text.s0, text.s1 { stroke: none }
@media (prefers-color-scheme: dark) {
text { fill: #ccc } .grid { stroke: #333 } .axis { stroke: #777 } .paper { fill: #111 }
.s0 { stroke: #56b4e9; fill: #56b4e9 } .s1 { stroke: #e69f00; fill: #e69f00 } .line { fill: none } }`

// A panel is one plot. Its horizontal axis is logarithmic.
type panel struct {
	title, below string // titles of the plot and of the horizontal axis
	logarithmic  bool   // the vertical axis is logarithmic too; otherwise it starts at 0
	series       []series
}

// A series is one line. Its points are sorted.
type series struct {
	name   string
	points []point
}

type point struct{ x, y float64 }

// draw writes panels side by side.
func draw(w io.Writer, about string, panels []panel) {
	s := svg.New(w)
	s.Start(panelWidth*len(panels), panelHeight, `role="img"`)
	s.Title(about)
	s.Style("text/css", style)
	s.Rect(0, 0, panelWidth*len(panels), panelHeight, `class="paper"`)
	for i, p := range panels {
		s.Translate(i*panelWidth, 0)
		p.draw(s)
		s.Gend()
	}
	s.End()
}

func (p panel) draw(s *svg.SVG) {
	s.Text(left, 20, p.title, `class="title"`)
	h, v := p.axes()
	for _, at := range v.ticks() {
		y := v.pixel(at)
		s.Line(left, y, panelWidth-right, y, `class="grid"`)
		s.Text(left-6, y+4, label(at), `text-anchor="end"`)
	}
	for _, at := range h.ticks() {
		x := h.pixel(at)
		s.Line(x, top, x, panelHeight-bottom, `class="grid"`)
		s.Text(x, panelHeight-bottom+17, label(at), `text-anchor="middle"`)
	}
	s.Line(left, panelHeight-bottom, panelWidth-right, panelHeight-bottom, `class="axis"`)
	s.Text((left+panelWidth-right)/2, panelHeight-8, p.below, `text-anchor="middle"`)
	for i, line := range p.series {
		class := fmt.Sprintf(`class="s%d line"`, i)
		var xs, ys []int
		for _, at := range line.points {
			xs, ys = append(xs, h.pixel(at.x)), append(ys, v.pixel(at.y))
		}
		s.Polyline(xs, ys, class)
		for k := range xs {
			s.Circle(xs[k], ys[k], 3, fmt.Sprintf(`class="s%d"`, i))
		}
		if len(p.series) > 1 {
			s.Text(left+10, top+18+16*i, line.name, fmt.Sprintf(`class="s%d"`, i))
		}
	}
}

// axes are the two axes, which include all points.
func (p panel) axes() (h, v axis) {
	h = axis{logarithmic: true, min: math.Inf(1), from: left, to: panelWidth - right}
	v = axis{logarithmic: p.logarithmic, min: math.Inf(1), from: panelHeight - bottom, to: top}
	for _, line := range p.series {
		for _, at := range line.points {
			h.min, h.max = min(h.min, at.x), max(h.max, at.x)
			v.min, v.max = min(v.min, at.y), max(v.max, at.y)
		}
	}
	if p.logarithmic && len(p.series) > 1 {
		v.max *= 5 // room for the names of the lines
	}
	return h.rounded(), v.rounded()
}

// An axis maps values to pixels.
type axis struct {
	logarithmic bool
	min, max    float64
	step        float64 // between the ticks of a linear axis
	from, to    int
}

// rounded extends an axis to ticks: to powers of ten, or to 0 and a multiple of the step. A
// linear axis gets space for the names of the lines above its highest point.
func (a axis) rounded() axis {
	if a.logarithmic {
		a.min = math.Pow(10, math.Floor(math.Log10(a.min)+1e-9))
		a.max = max(math.Pow(10, math.Ceil(math.Log10(a.max)-1e-9)), 10*a.min)
		return a
	}
	high := 1.3 * a.max
	a.min, a.step = 0, stepTo(high)
	a.max = math.Ceil(high/a.step) * a.step
	return a
}

// stepTo is 1, 2 or 5 times a power of ten, such that four to ten steps reach the maximum.
func stepTo(maximum float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(maximum/4)))
	switch digit := maximum / 4 / power; {
	case digit >= 5:
		return 5 * power
	case digit >= 2:
		return 2 * power
	}
	return power
}

func (a axis) ticks() (at []float64) {
	if a.logarithmic {
		for v := a.min; v <= a.max*1.01; v *= 10 {
			at = append(at, v)
		}
		return at
	}
	for i := 0; float64(i)*a.step <= a.max*1.001; i++ {
		at = append(at, float64(i)*a.step)
	}
	return at
}

func (a axis) pixel(value float64) int {
	share := (value - a.min) / (a.max - a.min)
	if a.logarithmic {
		share = math.Log(value/a.min) / math.Log(a.max/a.min)
	}
	return a.from + int(math.Round(share*float64(a.to-a.from)))
}

// label is a number with an SI prefix.
func label(v float64) string {
	suffix := ""
	for _, prefix := range []string{"k", "M", "G"} {
		if v < 999.5 {
			break
		}
		v, suffix = v/1000, prefix
	}
	return strconv.FormatFloat(v, 'g', 3, 64) + suffix
}
