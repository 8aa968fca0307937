package main

import (
	"fmt"
	"testing"
)

func TestMediansAreOfEachFigure(t *testing.T) {
	m := median([]speed{{1, 9, 5}, {3, 7, 4}, {2, 8, 6}})
	if m != (speed{2, 8, 5}) {
		t.Errorf("%+v", m)
	}
}

func TestARowHasTheFiguresOfItsClient(t *testing.T) {
	var medians []speed
	var want string
	for i, c := range clients {
		medians = append(medians, speed{float64(100 + i), 2.25, 7.5})
		want += fmt.Sprintf("| 20 | %s | %d | 7.5 | 2.2 |\n", c.name, 100+i)
	}
	if got := rows(20, medians); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestMQTT5IsComparedWithTheBetterOne(t *testing.T) {
	for _, c := range []struct{ v311, v5, library, want float64 }{{100, 90, 50, 0.9}, {50, 90, 100, 0.9}} {
		got := against([]speed{{rate: c.v311}, {rate: c.v5}, {rate: 1000}, {rate: 1000}, {rate: c.library}})
		if got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
