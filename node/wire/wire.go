// Package wire has the messages that nodes send each other to move an agent: JSON objects
// with their length before them, and hash-chained blocks. See docs/spec/handover-protocol.md.
package wire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"igor.dev/verifier"
)

// Limits of what is read.
const (
	MaxMessage  = 64 << 10 // bytes of a message
	MaxPage     = 500      // files in one message
	MaxFiles    = 4 << 20  // of one agent
	MaxFileSize = 64 << 30 // bytes
	MaxFileName = 256

	MaxDeletions = 200 // in one message
)

var le = binary.LittleEndian

// Write writes a message.
func Write(w io.Writer, message any) error {
	b, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if len(b) > MaxMessage {
		return fmt.Errorf("a message of %d bytes, and it may have %d", len(b), MaxMessage)
	}
	_, err = w.Write(append(le.AppendUint32(make([]byte, 0, 4+len(b)), uint32(len(b))), b...))
	return err
}

// Read reads a message. It reads nothing behind it. Keys that this version does not have are
// left unread: they are a newer node's, for whom it makes no difference.
func Read(r io.Reader, message any) error {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return err
	}
	n := le.Uint32(size[:])
	if n == 0 || n > MaxMessage {
		return fmt.Errorf("a message of %d bytes, and it may have %d", n, MaxMessage)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return unexpected(err)
	}
	if err := json.Unmarshal(b, message); err != nil {
		return fmt.Errorf("a message that is none: %w", err)
	}
	return nil
}

// Do returns what a message asks to be done.
func Do(message []byte) string {
	var m struct {
		Do string `json:"do"`
	}
	if json.Unmarshal(message, &m) != nil {
		return ""
	}
	return m.Do
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// A Reason says why a hand-over did not come about.
type Reason string

// The reasons.
const (
	NoCapacity   Reason = "no-capacity"         // the target has no room, or drains
	Policy       Reason = "policy"              // a node or the agent's manifest does not allow it
	Price        Reason = "price"               // the offer is not good any more, or too dear
	Version      Reason = "version"             // a capability or a schedule is missing
	Unverified   Reason = "verification-failed" // what was sent does not verify or replay
	Divergence   Reason = "divergence"          // the target knows another future of the agent
	Transport    Reason = "transport"           // the other node was not reached, or fell silent
	Unsupported  Reason = "unsupported"         // the source cannot give this agent away
	SourceFailed Reason = "source"              // something failed here
	Incomplete   Reason = "incomplete"          // not all of the agent's history is at the source yet
)

// Again reports whether the same target may say something else later.
func (r Reason) Again() bool {
	return r == NoCapacity || r == Transport || r == Price || r == Incomplete
}

// reasons are those that this version knows.
var reasons = []Reason{NoCapacity, Policy, Price, Version, Unverified, Divergence, Transport, Unsupported, SourceFailed}

// Known reports whether this version knows the reason. Another node may say anything.
func (r Reason) Known() bool { return slices.Contains(reasons, r) }

// A Refusal is why a hand-over did not come about, as an error.
type Refusal struct {
	Reason Reason
	Detail string
}

func (e *Refusal) Error() string { return string(e.Reason) + ": " + e.Detail }

// Refuse makes a refusal.
func Refuse(r Reason, format string, args ...any) *Refusal {
	return &Refusal{r, fmt.Sprintf(format, args...)}
}

// A Propose is the source's first message.
type Propose struct {
	Do      string `json:"do"` // propose
	Agent   string `json:"agent"`
	Genesis string `json:"genesis"`        // hex
	Head    string `json:"head"`           // hex; the agent lives on
	Number  uint64 `json:"number"`         // of the hand-over
	Offer   []byte `json:"offer"`          // the target's, on which the source goes
	Bytes   int64  `json:"bytes"`          // about how many there are to take
	Name    string `json:"name"`           // what the agent's folder is called
	Home    string `json:"home,omitempty"` // the agent's home, "" = its folder
}

// A Final is the source's second one: the agent stands still.
type Final struct {
	Do      string `json:"do"`   // final
	Head    string `json:"head"` // hex, all of them
	Journal string `json:"journal"`
	Log     string `json:"log"`
	Paid    string `json:"paid"`
	Major   uint64 `json:"major"`
	Record  []byte `json:"record"` // the message that the target signs

	// Sequence is that of the append in the agent's home that will make the target the
	// owner; 0 = the home is the folder.
	Sequence uint64 `json:"sequence,omitempty"`
}

// A Committed is the source's last one. It says only that the target may ask.
type Committed struct {
	Do string `json:"do"` // committed
}

// An Answer is what a target says.
type Answer struct {
	State     string `json:"state"` // working, ready, signed, arrived, refused
	Reason    Reason `json:"reason,omitempty"`
	Detail    string `json:"detail,omitempty"`
	Signature []byte `json:"signature,omitempty"`
}

// The states of a target.
const (
	Working = "working" // it is not done yet, and lives
	Ready   = "ready"   // it has what there was, and verified it
	Signed  = "signed"  // it has all, and countersigned
	Arrived = "arrived" // the agent lives there
	Refused = "refused"
)

// An Ask is what a target asks of the source.
type Ask struct {
	Do     string `json:"do"` // files, get, folders, head, commit, deleted
	Agent  string `json:"agent"`
	Number uint64 `json:"number,omitempty"` // of the hand-over: commit
	Record string `json:"record,omitempty"` // SHA-256 of what was signed, in hex: commit
	Folder string `json:"folder,omitempty"` // one of [Folders]: files, get
	Files  []Have `json:"files,omitempty"`  // get
}

// Folders are the folders that a node has with something of an agent, beside the one in
// which it lives or lived last.
type Folders struct {
	Folders []string `json:"folders"`
}

// MaxFolders is how many of them are named.
const MaxFolders = 100

// A Head is how far an agent has come that is about to be handed over.
type Head struct {
	Head string `json:"head"` // hex; durable
}

// A Have is how much of a file there is already.
type Have struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
	Hash string `json:"hash,omitempty"` // SHA-256 of so much, in hex
}

// Files is a page of files.
type Files struct {
	Files []File `json:"files"`
	More  bool   `json:"more"`
	Name  string `json:"name,omitempty"` // what the agent's folder is called
}

// A File is one that goes along with an agent.
type File struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

// A Sending comes before a file's bytes, of which it has Size - From.
type Sending struct {
	Name string `json:"name"`
	From int64  `json:"from"`
	Size int64  `json:"size"`
}

// A Commit is what the source says of a hand-over.
type Commit struct {
	State string `json:"state"` // moved, here, asking, unknown
	Moved []byte `json:"moved,omitempty"`
}

// Deleted is what is known of who deleted an agent's key: docs/spec/key-deletion.md.
type Deleted struct {
	Deletions [][]byte `json:"deletions"`
}

// What has become of a hand-over.
const (
	Gone   = "moved"   // it counts
	Here   = "here"    // it did not come about, and will not
	Asking = "asking"  // it is under way
	NoSuch = "unknown" // nothing is known of the agent, or nothing is said to whoever asks
)

// A BlocksAsk asks for a history, the newest block first.
type BlocksAsk struct {
	Agent verifier.PublicKey
	Head  verifier.Hash // the first block
	Until verifier.Hash // is not sent any more; zero = the genesis is the last one
	Max   uint64        // bytes; the first block comes all the same
}

const blocksContext = "igor/history/1\x00"

// BlocksAskSize is how many bytes a request for blocks has.
const BlocksAskSize = len(blocksContext) + 3*32 + 8

// Append appends the request's bytes.
func (a *BlocksAsk) Append(dst []byte) []byte {
	dst = append(dst, blocksContext...)
	dst = append(dst, a.Agent[:]...)
	dst = append(dst, a.Head[:]...)
	dst = append(dst, a.Until[:]...)
	return le.AppendUint64(dst, a.Max)
}

// ReadBlocksAsk reads a request for blocks.
func ReadBlocksAsk(r io.Reader) (a BlocksAsk, err error) {
	var b [BlocksAskSize]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return a, unexpected(err)
	}
	rest := b[len(blocksContext):]
	if string(b[:len(blocksContext)]) != blocksContext {
		return a, errors.New("not a request for a history")
	}
	rest = rest[copy(a.Agent[:], rest):]
	rest = rest[copy(a.Head[:], rest):]
	rest = rest[copy(a.Until[:], rest):]
	a.Max = le.Uint64(rest)
	if a.Head.IsZero() || a.Head == a.Until {
		return a, errors.New("a request for no block")
	}
	return a, nil
}

// The answers to a request for blocks, one byte.
const (
	BlocksFollow  = 0
	BlocksRefused = 1 // also where there are none: who may not know does not learn that
)

// WriteBlock writes a block of an answer. One without bytes ends it.
func WriteBlock(w io.Writer, block []byte) error {
	if _, err := w.Write(le.AppendUint32(nil, uint32(len(block)))); err != nil {
		return err
	}
	_, err := w.Write(block)
	return err
}

// A LieError says that a block is not the one that was asked for.
type LieError struct {
	Block int // from 0, the newest
	What  string
}

func (e *LieError) Error() string { return fmt.Sprintf("block %d of the history: %s", e.Block, e.What) }

// ReadBlocks reads the answer to a request, in which nothing is believed: each block has
// the hash that was known before it came, the first one by the request, the others by the
// block before. It keeps one block in memory. each is given the blocks; next is the hash
// of the one that has to be asked for to go on, zero if Until or the genesis was reached.
func ReadBlocks(r io.Reader, a BlocksAsk, each func(block []byte, f *verifier.Finding) error) (next verifier.Hash, err error) {
	var state [1]byte
	if _, err := io.ReadFull(r, state[:]); err != nil {
		return a.Head, unexpected(err)
	}
	if state[0] != BlocksFollow {
		return a.Head, Refuse(Policy, "the other node does not give this history")
	}
	var x verifier.Examiner
	var buf []byte
	next = a.Head
	tick, taken := uint64(0), uint64(0)
	for n := 0; ; n++ {
		var size [4]byte
		if _, err := io.ReadFull(r, size[:]); err != nil {
			return next, unexpected(err)
		}
		length := le.Uint32(size[:])
		switch {
		case length == 0 && n == 0:
			return next, &LieError{n, "there is none"}
		case length == 0:
			return next, nil
		case length > verifier.MaxCheckpointSize || length < verifier.HeaderSize:
			return next, &LieError{n, fmt.Sprintf("it has %d bytes", length)}
		case next.IsZero() || next == a.Until:
			return next, &LieError{n, "it was not asked for"}
		case n > 0 && taken+uint64(length) > a.Max:
			return next, &LieError{n, "it is more than was asked for"}
		}
		// It grows with what came, not with what was said to come.
		if buf, err = readGrowing(r, buf[:0], int(length)); err != nil {
			return next, unexpected(err)
		}
		taken += uint64(length)
		f := x.Examine(buf)
		switch {
		case f.ContentHash != next:
			return next, &LieError{n, fmt.Sprintf("it is %s, and the one before it names %s", f.ContentHash.CID(), next.CID())}
		case !f.Authentic() || f.AgentPubKey != a.Agent:
			return next, &LieError{n, "the agent's key did not sign it"}
		case n > 0 && f.TickNumber >= tick:
			return next, &LieError{n, "its tick is not smaller"}
		}
		tick = f.TickNumber
		if err := each(buf, &f); err != nil {
			return next, err
		}
		next = f.PrevHash
		if next == a.Until {
			next = verifier.Hash{}
		}
	}
}

func readGrowing(r io.Reader, buf []byte, n int) ([]byte, error) {
	const step = 1 << 20
	for len(buf) < n {
		at, more := len(buf), min(step, n-len(buf))
		if cap(buf)-at < more {
			buf = append(buf, make([]byte, more)...)[:at]
		}
		buf = buf[:at+more]
		if _, err := io.ReadFull(r, buf[at:]); err != nil {
			return nil, err
		}
	}
	return buf, nil
}
