package clock

// A Timeline is the boots of the kernel, in order, as far as readings of them
// may still wait.
type Timeline []KernelBoot

// A KernelBoot is one boot of the kernel.
type KernelBoot struct {
	Kernel string `json:"kernel"`          // the start of the kernel's own name for it
	Began  int64  `json:"began,omitempty"` // ms since 1970 by a clock that could be trusted; 0: not known
	Last   int64  `json:"last,omitempty"`  // ms of uptime of the last moment that is known of it
}

// maxBoots bounds a timeline: a boot of which readings still wait is among the
// last, unless the power fails every few minutes for hours.
const maxBoots = 64

const minutes = 5 * 60 * 1000 // ms: bounds this close make a time good to minutes

// anchor says when the last boot of the kernel began.
func (t Timeline) anchor(began int64) { t[len(t)-1].Began = began }

// with is the timeline with the present boot at its end. What it knows of it
// counts where the present knows nothing.
func (t Timeline) with(present KernelBoot) Timeline {
	var all Timeline
	for _, b := range t {
		if b.Kernel != present.Kernel {
			all = append(all, b)
			continue
		}
		if present.Began == 0 {
			present.Began = b.Began
		}
	}
	all = append(all, present)
	return all[max(0, len(all)-maxBoots):]
}

// Observe notes a moment that readings on disk tell of.
func (t Timeline) Observe(at Stamp) {
	for i := range t {
		if t[i].Kernel == at.Kernel {
			t[i].Last = max(t[i].Last, at.Uptime.Milliseconds())
		}
	}
}

// Resolve is [Timekeeper.Resolve], by what the timeline knows.
func (t Timeline) Resolve(at Stamp) Stamp {
	i := len(t) - 1
	for i >= 0 && t[i].Kernel != at.Kernel {
		i--
	}
	if at.Clock == Synced || at.Kernel == "" || i < 0 {
		return at
	}
	up := at.Uptime.Milliseconds()
	if t[i].Began != 0 {
		at.Unix, at.Clock = t[i].Began+up, Estimated
		return at
	}
	earliest, latest := t.bounds(i)
	began := at.Unix - up // as the wall clock had it
	if latest != 0 {
		began = min(began, latest)
	}
	if began < earliest {
		began = earliest
	}
	at.Unix = began + up
	if earliest != 0 && latest != 0 && latest-earliest <= minutes {
		at.Clock = Estimated
	}
	return at
}

// bounds are the earliest and the latest time at which boot i can have begun: after
// the boots before it, and early enough for it and the boots after it. 0: not
// bounded.
func (t Timeline) bounds(i int) (earliest, latest int64) {
	lived := int64(0)
	for j := i - 1; j >= 0; j-- {
		lived += t[j].Last
		if t[j].Began != 0 {
			earliest = t[j].Began + lived
			break
		}
	}
	lived = t[i].Last
	for j := i + 1; j < len(t); j++ {
		if t[j].Began != 0 {
			latest = t[j].Began - lived
			break
		}
		lived += t[j].Last
	}
	return earliest, latest
}
