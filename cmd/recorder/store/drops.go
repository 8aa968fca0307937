package store

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
)

// A DropPeriod says that the broker dropped Count messages of full queues between Since and At
// (Unix milliseconds). They may have been for any of its clients.
type DropPeriod struct{ Since, At, Count int64 }

// explainByDrops sets Why to LostByDrop for gaps that nothing else explains, if the broker
// reported enough dropped messages at that time. Each dropped message explains one number of
// one device, so the gaps of all devices share them. Gaps that were noticed first come first.
func (s *Store) explainByDrops(ctx context.Context, v *Verification) error {
	// Skip the queries if no gap needs them.
	if !slices.ContainsFunc(v.Gaps, mayBeDropped) {
		return nil
	}
	periods, err := s.dropPeriods(ctx)
	if err != nil || len(periods) == 0 {
		return err
	}
	holes, err := s.candidates(ctx, periods)
	if err != nil {
		return err
	}
	explained := assignDrops(holes, periods)
	// Report the periods that explain gaps of this device.
	used := make([]bool, len(periods))
	for i, g := range v.Gaps {
		by, ok := explained[g]
		if !ok {
			continue
		}
		v.Gaps[i].Why = LostByDrop
		v.Unexplained -= g.Count
		for _, n := range by {
			used[n] = true
		}
	}
	for i, p := range periods {
		if used[i] {
			v.Drops = appendPeriod(v.Drops, p)
		}
	}
	return nil
}

// mayBeDropped reports whether a gap is unexplained and lies between two readings that
// arrived.
func mayBeDropped(g Gap) bool {
	return g.State == "missing" && g.Why == Unexplained && g.BeforeAt.Valid && g.AfterAt.Valid
}

// dropPeriods returns what the broker reported as dropped, in the order of its reports.
func (s *Store) dropPeriods(ctx context.Context) (all []DropPeriod, err error) {
	err = eachRow(ctx, s.read, func(rows *sql.Rows) error {
		var p DropPeriod
		err := rows.Scan(&p.Since, &p.At, &p.Count)
		all = append(all, p)
		return err
	}, "SELECT since, at, count FROM broker_drop ORDER BY at, total")
	return all, err
}

// candidates returns the unexplained gaps of all devices that overlap one of the periods, in
// the order in which they were noticed.
func (s *Store) candidates(ctx context.Context, periods []DropPeriod) (holes []Gap, err error) {
	all, err := s.Gaps(ctx, "")
	if err != nil {
		return nil, err
	}
	// The cheap check comes first: explain queries the database.
	for _, g := range all {
		if !mayBeDropped(g) || len(overlapping(g, periods)) == 0 {
			continue
		}
		why, err := s.explain(ctx, g)
		if err != nil {
			return nil, err
		}
		if why == Unexplained {
			holes = append(holes, g)
		}
	}
	// A stable sort keeps the order of Gaps for equal times, so that each call gives the same result.
	slices.SortStableFunc(holes, func(a, b Gap) int { return cmp.Compare(a.AfterAt.Int64, b.AfterAt.Int64) })
	return holes, nil
}

// overlapping returns the indexes of the periods that may count the lost messages of a gap. The
// broker sends its count through the same queue as the readings. So if a period counts a
// message, the reading before the message arrived before the end of the period, and the reading
// after it arrived after the begin.
func overlapping(g Gap, periods []DropPeriod) (found []int) {
	// Periods are ordered by At; most end before the gap.
	first, _ := slices.BinarySearchFunc(periods, g.BeforeAt.Int64, func(p DropPeriod, at int64) int {
		return cmp.Compare(p.At, at)
	})
	// Since grows with At, so the first period that begins after the gap ends the search.
	for i := first; i < len(periods) && periods[i].Since <= g.AfterAt.Int64; i++ {
		found = append(found, i)
	}
	return found
}

// assignDrops assigns dropped messages to gaps. A gap gets as many as it has numbers, if its
// overlapping periods have so many left. It returns the indexes of these periods by gap.
func assignDrops(holes []Gap, periods []DropPeriod) map[Gap][]int {
	left := make([]int64, len(periods))
	for i, p := range periods {
		left[i] = p.Count
	}
	explained := map[Gap][]int{}
	for _, g := range holes {
		// The whole gap or nothing: the rest of it would still be unexplained.
		need, by := g.Count, []int(nil)
		for _, i := range overlapping(g, periods) {
			if left[i] > 0 && need > 0 {
				need -= min(need, left[i])
				by = append(by, i)
			}
		}
		if need > 0 {
			continue
		}
		need = g.Count
		for _, i := range by {
			n := min(need, left[i])
			left[i] -= n
			need -= n
		}
		explained[g] = by
	}
	return explained
}

// appendPeriod appends a period, or merges it with the last one if the two touch.
func appendPeriod(all []DropPeriod, p DropPeriod) []DropPeriod {
	if n := len(all); n > 0 && p.Since <= all[n-1].At {
		all[n-1].At = p.At
		all[n-1].Count += p.Count
		return all
	}
	return append(all, p)
}
