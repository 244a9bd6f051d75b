package verifier

// A Code is the stable name of a kind of problem.
type Code uint8

// The problem codes. Each says what is wrong with the supplied files, but for
// MissingGenesis, Gap, HeadNotFound and NotWitnessed, which say what was not supplied.
const (
	_ Code = iota
	Empty
	Truncated
	UnsupportedVersion
	UnsignedVersion
	WeakKey
	BadSignature
	NegativeBudget
	NegativePrice
	IdentityMismatch
	Fork
	TickOrder
	MissingGenesis
	Gap
	HeadNotFound
	NotWitnessed
	numCodes
)

var codeNames = [numCodes]string{
	Empty:              "empty",
	Truncated:          "truncated",
	UnsupportedVersion: "unsupported-version",
	UnsignedVersion:    "unsigned-version",
	WeakKey:            "weak-key",
	BadSignature:       "bad-signature",
	NegativeBudget:     "negative-budget",
	NegativePrice:      "negative-price",
	IdentityMismatch:   "identity-mismatch",
	Fork:               "fork",
	TickOrder:          "tick-order",
	MissingGenesis:     "missing-genesis",
	Gap:                "gap",
	HeadNotFound:       "head-not-found",
	NotWitnessed:       "not-witnessed",
}

// String returns the code as it stands in a report, such as "bad-signature".
func (c Code) String() string {
	if c >= numCodes {
		return ""
	}
	return codeNames[c]
}

// Incomplete reports whether the problem is that something was not supplied,
// rather than that something supplied is wrong.
func (c Code) Incomplete() bool {
	return c == MissingGenesis || c == Gap || c == HeadNotFound || c == NotWitnessed
}
