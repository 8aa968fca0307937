package main

import "testing"

func TestMediansAreOfEachFigure(t *testing.T) {
	m := median([]speed{{1, 9, 5}, {3, 7, 4}, {2, 8, 6}})
	if m != (speed{2, 8, 5}) {
		t.Errorf("%+v", m)
	}
}

func TestARowHasTheFiguresOfItsClient(t *testing.T) {
	got := rows(20, compared{ours: speed{100, 2.25, 7.5}, raw: speed{50, 40, 20}, unbounded: speed{60, 41, 21}})
	want := "| 20 | holdfast | 100 | 7.5 | 2.2 |\n| 20 | the library | 50 | 20.0 | 40.0 |\n" +
		"| 20 | the library, as many in flight as it can | 60 | 21.0 | 41.0 |\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
