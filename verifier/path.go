package verifier

import "iter"

// Path returns the content hashes of the checkpoints, each followed by its
// successor, or false if they are not one path: only a history that is
// Verified, or Incomplete at its ends alone, can be written as a CAR.
// See docs/spec/car.md, "Writing".
func (r *Report) Path() (hashes iter.Seq[Hash], ok bool) {
	if r.verdict != Verified && r.verdict != Incomplete || r.pile.n == 0 {
		return nil, false
	}
	// Nothing supplied is wrong, so the checkpoints are paths, of which each
	// begins with the genesis or with a missing predecessor.
	begins := 0
	if r.genesis != none {
		begins++
	}
	for _, q := range r.problems {
		if q.code == MissingGenesis || q.code == Gap {
			begins++
		}
	}
	if begins != 1 {
		return nil, false
	}
	// Along a path the ticks increase, so the order of the report is the path's.
	return func(yield func(Hash) bool) {
		for _, i := range r.order {
			if !yield(r.pile.at(i).contentHash) {
				return
			}
		}
	}, true
}
