package verifier

import "strconv"

// A Witnessed says what a proof beside the history proves: that the agent said in public
// where it stands, and that others saw it. Package witness makes one. It never changes
// the verdict, unless the caller demands it ([Report.RequireWitness]).
type Witnessed struct {
	Problem string // why it proves nothing; then nothing else is set

	Checkpoint  Hash // that the agent said it is at
	Epoch, Tick uint64
	Log         string // its name
	Index, Size uint64
	Before      uint64 // by when as many witnesses as the policy wants had seen it, seconds since 1970; 0 = it wants none
	Cosigners   []Cosigner
	Policy      Hash     // SHA-256 of the policy
	Monitor     *Monitor // nil = no word of one
}

// A Cosigner is a witness that cosigned.
type Cosigner struct {
	Name string // in the policy
	Key  string // the name of its key
	Time uint64 // of its cosignature, seconds since 1970, by its clock
}

// A Monitor is what a monitor says of a key. That it left nothing out is its own word.
type Monitor struct {
	Name   string
	Size   uint64 // of the log, when it had read it
	Time   uint64 // of its word, seconds since 1970, by its clock
	Heads  uint64 // how many head statements of the key are in the log up to there
	Latest Hash   // the checkpoint of the one with the highest tick
	Tick   uint64 // of that
	Forks  uint64 // how many fork proofs it has against the key
}

// A Succession says that the history's key succeeds another one. Package witness makes one.
type Succession struct {
	Problem string // why it proves nothing; then nothing else is set

	Of   PublicKey // whom it succeeds
	Head Hash      // the last checkpoint of that life
	Tick uint64
	Life Verdict // of that life, if it was given

	Before uint64 // by when the old key had committed to this one, as witnesses saw; 0 = it did not
	Log    string // where
}

// SetWitnessed has the report say what a proof beside the history proves.
func (r *Report) SetWitnessed(w *Witnessed) { r.witnessed = w }

// Witnessed returns what the report says of a proof beside the history, nil = nothing.
func (r *Report) Witnessed() *Witnessed { return r.witnessed }

// SetSucceeds has the report say whom the history's key succeeds.
func (r *Report) SetSucceeds(s *Succession) { r.succeeds = s }

// Succeeds returns whom the history's key succeeds, nil = nobody says.
func (r *Report) Succeeds() *Succession { return r.succeeds }

// RequireWitness makes it a problem if the head of the history is not witnessed, or is not
// the newest that a monitor knows: it is what a caller demands, as a pinned head is. byMonitor
// demands the word of a monitor too.
func (r *Report) RequireWitness(byMonitor bool) {
	r.demanded, r.byMonitor = true, byMonitor
	if r.unwitnessed(byMonitor) == "" {
		return
	}
	r.problems = append(r.problems, problem{NotWitnessed, none, none})
	r.judge()
}

// WitnessDemanded reports whether [Report.RequireWitness] was called.
func (r *Report) WitnessDemanded() bool { return r.demanded }

// unbroken reports whether the history is one whole life, whatever else was demanded.
func (r *Report) unbroken() bool {
	for _, q := range r.problems {
		if q.code != NotWitnessed {
			return false
		}
	}
	return r.verdict != Invalid
}

// unwitnessed says why the head is not one that may be relied on, "" if it is.
func (r *Report) unwitnessed(byMonitor bool) string {
	w := r.witnessed
	head, ok := r.Head()
	switch {
	case w == nil:
		return "no proof that it is in a log"
	case w.Problem != "":
		return w.Problem
	case !ok || w.Checkpoint != head:
		return "a proof for " + w.Checkpoint.CID() + ", which is another checkpoint"
	case w.Monitor != nil && w.Monitor.Forks > 0:
		return "proofs of " + w.Monitor.Name + " that the key lived twice"
	case w.Monitor != nil && w.Monitor.Latest != head:
		return "a newer head in the log, at tick " + strconv.FormatUint(w.Monitor.Tick, 10) + ": " + w.Monitor.Latest.CID()
	case w.Monitor == nil && byMonitor:
		return "no word of the monitor"
	}
	return ""
}

// Says says in one sentence what it proves.
func (w *Witnessed) Says() string {
	if w.Problem != "" {
		return "Nothing: " + w.Problem + "."
	}
	s := "The agent said that it is at " + w.Checkpoint.CID() + " after tick " + strconv.FormatUint(w.Tick, 10) + "; that is entry " + strconv.FormatUint(w.Index, 10) + " of the log " + w.Log
	if w.Before > 0 {
		s += ", and existed before " + FormatTime(w.Before)
	}
	s += "."
	if m := w.Monitor; m != nil {
		upTo := " up to entry " + strconv.FormatUint(m.Size, 10) + ", says " + m.Name
		switch {
		case m.Forks > 0:
			return s + " The key lived twice: " + m.Name + " has proofs."
		case m.Latest != w.Checkpoint:
			return s + " A newer head of this key was logged" + upTo + ": " + m.Latest.CID() + " after tick " + strconv.FormatUint(m.Tick, 10) + "."
		}
		s += " No newer head of this key was logged, and no fork of it was found," + upTo + "."
	}
	return s + " A history that was never logged is not excluded."
}

// Says says in one sentence what it proves.
func (s *Succession) Says() string {
	if s.Problem != "" {
		return "Nothing: " + s.Problem + "."
	}
	text := "The holders of both keys signed that this life goes on where " + s.Of.DID() + " stopped, at " + s.Head.CID() + " after tick " + strconv.FormatUint(s.Tick, 10) + "."
	switch s.Life {
	case Verified:
		text += " That life was given too, and verifies to there."
	case 0:
		text += " That life was not given."
	default:
		text += " That life was given too, and is " + s.Life.String() + "."
	}
	if s.Before == 0 {
		return text + " Nobody witnessed that the old key had chosen this one: whoever stole it could have signed the same."
	}
	return text + " The old key had chosen this one before " + FormatTime(s.Before) + ", as witnesses of " + s.Log + " saw."
}

func (r *Report) writeBeside(j *jsonWriter) {
	if w := r.witnessed; w != nil {
		j.object("witnessed")
		if w.Problem != "" {
			j.member("problem", w.Problem)
		} else {
			j.member("head", w.Checkpoint.CID())
			j.member("epoch", strconv.FormatUint(w.Epoch, 10))
			j.member("tick", strconv.FormatUint(w.Tick, 10))
			j.member("log", w.Log)
			j.member("index", strconv.FormatUint(w.Index, 10))
			j.member("size", strconv.FormatUint(w.Size, 10))
			if w.Before > 0 {
				j.member("before", FormatTime(w.Before))
			}
			j.raw(`, "cosigners": [`)
			for i, c := range w.Cosigners {
				j.raw(either(i > 0, ", {", "{"))
				j.members = false
				j.member("name", c.Name)
				j.member("key", c.Key)
				j.member("time", FormatTime(c.Time))
				j.raw("}")
			}
			j.raw("]")
			j.members = true
			j.member("policy", w.Policy.String())
			if m := w.Monitor; m != nil {
				j.raw(`, "monitor": {`)
				j.members = false
				j.member("name", m.Name)
				j.member("size", strconv.FormatUint(m.Size, 10))
				j.member("time", FormatTime(m.Time))
				j.member("heads", strconv.FormatUint(m.Heads, 10))
				j.member("latest", m.Latest.CID())
				j.member("tick", strconv.FormatUint(m.Tick, 10))
				j.member("forks", strconv.FormatUint(m.Forks, 10))
				j.raw("}")
			}
		}
		j.member("says", w.Says())
		j.raw("},\n")
	}
	if s := r.succeeds; s != nil {
		j.object("succeeds")
		if s.Problem != "" {
			j.member("problem", s.Problem)
		} else {
			j.member("did", s.Of.DID())
			j.member("head", s.Head.CID())
			j.member("tick", strconv.FormatUint(s.Tick, 10))
			if s.Life != 0 {
				j.member("life", s.Life.String())
			}
			if s.Before > 0 {
				j.member("committedBefore", FormatTime(s.Before))
				j.member("log", s.Log)
			}
		}
		j.member("says", s.Says())
		j.raw("},\n")
	}
}

// FormatTime writes seconds since 1970 as RFC 3339 has it, in UTC. Years have four
// digits: what is later is the end of the last of them.
func FormatTime(seconds uint64) string {
	const last = 253402300799
	seconds = min(seconds, last)
	days := seconds / 86400
	// The civil calendar, counted in eras of 400 years from a March on.
	z := days + 719468
	era := z / 146097
	day := z % 146097
	year := (day - day/1460 + day/36524 - day/146096) / 365
	day -= 365*year + year/4 - year/100
	month := (5*day + 2) / 153
	day = day - (153*month+2)/5 + 1
	year += era * 400
	if month += 3; month > 12 {
		month, year = month-12, year+1
	}
	b := make([]byte, 0, len("2006-01-02T15:04:05Z"))
	put := func(n uint64, digits int, after byte) {
		for div := pow10(digits - 1); div > 0; div /= 10 {
			b = append(b, byte('0'+n/div%10))
		}
		b = append(b, after)
	}
	put(year, 4, '-')
	put(month, 2, '-')
	put(day, 2, 'T')
	put(seconds/3600%24, 2, ':')
	put(seconds/60%60, 2, ':')
	put(seconds%60, 2, 'Z')
	return string(b)
}

func pow10(n int) uint64 {
	p := uint64(1)
	for range n {
		p *= 10
	}
	return p
}
