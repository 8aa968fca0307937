package store

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
)

// A DropPeriod is a time, in Unix milliseconds, in which the broker has dropped Count
// messages of full queues. They are those of all its clients.
type DropPeriod struct{ Since, At, Count int64 }

// explainByDrops gives holes that nothing else explains the cause LostByDrop, as far as the
// broker says that it has dropped messages at that time. Each dropped message explains one
// number, of one device: so the holes of all devices share them, those first that were
// noticed first.
func (s *Store) explainByDrops(ctx context.Context, v *Verification) error {
	// Where the broker has dropped nothing, or does not say, no more is read.
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
	// What explains a hole of this device is reported with the result.
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

// mayBeDropped reports whether a gap is one that nothing else explains, between two readings
// of one connection.
func mayBeDropped(g Gap) bool {
	return g.State == "missing" && g.Why == Unexplained && g.BeforeAt.Valid && g.AfterAt.Valid
}

// dropPeriods returns what the broker has dropped, in the order in which it said so.
func (s *Store) dropPeriods(ctx context.Context) (all []DropPeriod, err error) {
	err = eachRow(ctx, s.read, func(rows *sql.Rows) error {
		var p DropPeriod
		err := rows.Scan(&p.Since, &p.At, &p.Count)
		all = append(all, p)
		return err
	}, "SELECT since, at, count FROM broker_drop ORDER BY at, total")
	return all, err
}

// droppable returns the holes of all devices that nothing explains but perhaps one of the
// periods, in the order in which they were noticed.
func (s *Store) candidates(ctx context.Context, periods []DropPeriod) (holes []Gap, err error) {
	all, err := s.Gaps(ctx, "")
	if err != nil {
		return nil, err
	}
	// The cheap question comes first: explain asks the database.
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
	// The order of Gaps decides between holes of one moment, so that each call says the same.
	slices.SortStableFunc(holes, func(a, b Gap) int { return cmp.Compare(a.AfterAt.Int64, b.AfterAt.Int64) })
	return holes, nil
}

// meets returns the indexes of the periods in which a hole may have been made. The broker puts
// its count into the same queue as readings. So if a period counts a message, the reading
// before it arrived before the period's end, and the reading behind it after the begin.
func overlapping(g Gap, periods []DropPeriod) (found []int) {
	// Periods are in the order of At; most end before the hole.
	first, _ := slices.BinarySearchFunc(periods, g.BeforeAt.Int64, func(p DropPeriod, at int64) int {
		return cmp.Compare(p.At, at)
	})
	// Since grows with At, so the first one that begins behind the hole ends the search.
	for i := first; i < len(periods) && periods[i].Since <= g.AfterAt.Int64; i++ {
		found = append(found, i)
	}
	return found
}

// allot gives each hole as many dropped messages as it has numbers, if there are so many
// left in the periods that it meets. It returns the indexes of the periods by hole.
func assignDrops(holes []Gap, periods []DropPeriod) map[Gap][]int {
	left := make([]int64, len(periods))
	for i, p := range periods {
		left[i] = p.Count
	}
	explained := map[Gap][]int{}
	for _, g := range holes {
		// All of a hole or nothing: a part of it would still be unexplained.
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

// appendPeriod appends a period, or joins it with the last one if that ends where it begins.
func appendPeriod(all []DropPeriod, p DropPeriod) []DropPeriod {
	if n := len(all); n > 0 && p.Since <= all[n-1].At {
		all[n-1].At = p.At
		all[n-1].Count += p.Count
		return all
	}
	return append(all, p)
}
