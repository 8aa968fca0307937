package clock

// A Timeline is the list of the kernel's boots, oldest first, from which readings may still
// be in the queue.
type Timeline []KernelBoot

// A KernelBoot is one boot of the kernel.
type KernelBoot struct {
	Kernel string `json:"kernel"`          // the first characters of the kernel's boot id
	Began  int64  `json:"began,omitempty"` // when it began, in ms since 1970 by a trusted clock; 0: not known
	Last   int64  `json:"last,omitempty"`  // the highest known uptime of the boot, in ms
}

// maxBoots is the maximum length of a timeline. Readings of older boots are in the queue only
// if the power fails every few minutes for hours.
const maxBoots = 64

const minutes = 5 * 60 * 1000 // ms: if the bounds of a time are this close, it counts as Estimated

// anchor sets when the last boot of the kernel began, in ms since 1970.
func (t Timeline) anchor(began int64) { t[len(t)-1].Began = began }

// with returns the timeline with the present boot at its end. If the timeline has this boot
// already, its Began is used where the present one is not known.
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

// Observe updates Last of the boot from the stamp of a reading on disk.
func (t Timeline) Observe(at Stamp) {
	for i := range t {
		if t[i].Kernel == at.Kernel {
			t[i].Last = max(t[i].Last, at.Uptime.Milliseconds())
		}
	}
}

// Resolve is [Timekeeper.Resolve] with the boots of this timeline.
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
	began := at.Unix - up // by the wall clock, which is not trusted
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

// bounds returns the earliest and the latest time at which boot i can have begun, in ms since
// 1970: after the boots before it, and early enough for its own uptime and that of the boots
// after it. 0: no bound is known.
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
