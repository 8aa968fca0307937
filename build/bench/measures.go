package main

import "context"

// A measure prints some lines.
type measure struct {
	name, about string
	run         func(*bench, context.Context) ([]line, error)
}

const realTime = "real-time"

// Rates at which a backlog was put, in readings a second. The highest one is as many as the
// queue keeps in memory between two commits.
const (
	steady = 100
	hasty  = 1500
)

var measures = []measure{
	{"link-well", "10 readings/s, each acknowledged at once", (*bench).linkWell},
	{"outage-3", "3 readings/s, none acknowledged", (*bench).outage3},
	{"outage-3-deep", "the same behind a large backlog", (*bench).outage3Deep},
	{"outage-100", "100 readings/s, none acknowledged", (*bench).outage100},
	{"alarms", "an alarm every 2 s, acknowledged at once", (*bench).alarms},
	{"drain", "a backlog is read and acknowledged", (*bench).drain},
	{"at-rest", "pages in use for a backlog", (*bench).atRest},
	{"put", "Put behind a small and a large backlog", (*bench).put},
	{"read", "a backlog is read as fast as it comes", (*bench).read},
	{"open", "Open of a large backlog", (*bench).open},
	{"memory", "a process with a large backlog and with none", (*bench).memory},
	{"growth", "memory, bytes on disk and Open, behind a thousand to ten million", (*bench).growth},
	{realTime, "outage-3 for 60 s of real and of simulated time", (*bench).realTime},
}
