package main

import (
	"strings"
	"testing"
)

func TestThePicturesHaveTheFiguresOfTheTable(t *testing.T) {
	growth, err := decode[amount]([]byte(`{"waiting":1000,"figure":2,"unit":"MiB","note":"x"}
{"waiting":1000,"figure":1048576,"unit":"B"}
{"waiting":1000,"figure":3.5,"unit":"ms"}
`))
	if err != nil {
		t.Fatal(err)
	}
	loads, err := decode[load]([]byte(`{"streams":1,"core":0.01,"memory":2097152,"at_rest":10}
{"streams":10,"core":0.02,"memory":4194304,"at_rest":20}`))
	if err != nil {
		t.Fatal(err)
	}
	for i := range loads {
		loads[i].rate = 10
	}
	text := growthSection(growth) + streamsSection(loads, times{})
	for _, want := range []string{"| 1000 | 2.0 | 1.00 | 3.5 |", "| 1 | 10 | 1.00 | 2.0 | 10.0 |",
		"| 10 | 10 | 2.00 | 4.0 | 20.0 |"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	panels := streamsPanels(loads)
	many, single := panels[0].series[0].points, panels[0].series[1].points
	if len(many) != 1 || many[0] != (point{10, 2}) || len(single) != 1 || single[0] != (point{10, 1}) {
		t.Errorf("%v and %v", many, single)
	}
	if p := growthPanels(growth)[1].series[0].points; len(p) != 1 || p[0] != (point{1000, 1}) {
		t.Errorf("%+v", p)
	}
	if _, err := decode[load]([]byte(`{"streams":`)); err == nil {
		t.Error("half an object is read")
	}
}
