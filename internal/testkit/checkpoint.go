package testkit

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// Header sizes of the three versions that a reader knows.
const (
	HeaderSizeV2 = 57
	HeaderSizeV3 = 81
	HeaderSizeV4 = 209
)

// Offsets of the fields of version 0x04.
const (
	OffVersion         = 0
	OffBudget          = 1
	OffPrice           = 9
	OffTick            = 17
	OffWASMHash        = 25
	OffMajorVersion    = 57
	OffLeaseGeneration = 65
	OffLeaseExpiry     = 73
	OffPrevHash        = 81
	OffKey             = 113
	OffSignature       = 145
	OffState           = 209
)

// Fields are what a checkpoint says, apart from its version, key and signature.
type Fields struct {
	Budget          int64
	Price           int64
	Tick            uint64
	WASMHash        [32]byte
	MajorVersion    uint64
	LeaseGeneration uint64
	LeaseExpiry     int64
	PrevHash        [32]byte
	State           []byte
}

// Encode lays the fields out in a checkpoint of version 0x02, 0x03 or 0x04. The key and
// the signature are used by version 0x04 alone; a nil one is left zero.
func (f Fields) Encode(version byte, key, signature []byte) []byte {
	size := map[byte]int{2: HeaderSizeV2, 3: HeaderSizeV3, 4: HeaderSizeV4}[version]
	if size == 0 {
		panic(fmt.Sprintf("testkit: no layout for version %#02x", version))
	}
	b := make([]byte, HeaderSizeV4, HeaderSizeV4+len(f.State))
	b[OffVersion] = version
	binary.LittleEndian.PutUint64(b[OffBudget:], uint64(f.Budget))
	binary.LittleEndian.PutUint64(b[OffPrice:], uint64(f.Price))
	binary.LittleEndian.PutUint64(b[OffTick:], f.Tick)
	copy(b[OffWASMHash:], f.WASMHash[:])
	binary.LittleEndian.PutUint64(b[OffMajorVersion:], f.MajorVersion)
	binary.LittleEndian.PutUint64(b[OffLeaseGeneration:], f.LeaseGeneration)
	binary.LittleEndian.PutUint64(b[OffLeaseExpiry:], uint64(f.LeaseExpiry))
	copy(b[OffPrevHash:], f.PrevHash[:])
	copy(b[OffKey:OffSignature], key)
	copy(b[OffSignature:OffState], signature)
	return append(b[:size], f.State...)
}

// Message returns what the signature of a checkpoint of version 0x04 signs.
func Message(checkpoint []byte) []byte {
	m := append([]byte(nil), checkpoint[:OffSignature]...)
	return append(m, checkpoint[OffState:]...)
}

// Hash returns a checkpoint's content hash, which the successor's PrevHash repeats.
func Hash(checkpoint []byte) [32]byte { return sha256.Sum256(checkpoint) }

// Tick returns the tick number of a checkpoint, whatever its version.
func Tick(checkpoint []byte) uint64 { return binary.LittleEndian.Uint64(checkpoint[OffTick:]) }

// Agent is a key that signs checkpoints.
type Agent struct {
	Key     ed25519.PublicKey
	Private ed25519.PrivateKey
}

// NewAgent returns the agent of that name; the same name gives the same key everywhere.
func NewAgent(name string) *Agent {
	return AgentFromSeed(sha256.Sum256([]byte("igor/testkit/" + name)))
}

// AgentFromSeed returns the agent whose Ed25519 private key has the seed.
func AgentFromSeed(seed [32]byte) *Agent {
	private := ed25519.NewKeyFromSeed(seed[:])
	return &Agent{Key: private.Public().(ed25519.PublicKey), Private: private}
}

// DID returns the agent's identity.
func (a *Agent) DID() string { return DID(a.Key) }

// Checkpoint returns the signed checkpoint of version 0x04 with these fields.
func (a *Agent) Checkpoint(f Fields) []byte {
	b := f.Encode(4, a.Key, nil)
	copy(b[OffSignature:], ed25519.Sign(a.Private, Message(b)))
	return b
}

// After returns the signed checkpoint with these fields and the PrevHash of previous.
func (a *Agent) After(previous []byte, f Fields) []byte {
	f.PrevHash = Hash(previous)
	return a.Checkpoint(f)
}

// History returns a whole life of n checkpoints from its genesis on, each with a state of
// stateSize incompressible bytes. The same arguments give the same bytes.
func (a *Agent) History(n, stateSize int) [][]byte {
	history := make([][]byte, 0, n)
	for checkpoint := range a.Checkpoints(n, stateSize) {
		history = append(history, checkpoint)
	}
	return history
}

// Checkpoints yields what History returns, one by one.
func (a *Agent) Checkpoints(n, stateSize int) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		states := rand.NewChaCha8([32]byte(a.Key))
		f := Fields{Price: 1000, WASMHash: sha256.Sum256([]byte("wasm"))}
		for i := range n {
			f.Budget = int64(n-i) * 5000
			f.Tick = uint64(4 + 5*i)
			f.State = make([]byte, stateSize)
			states.Read(f.State)
			checkpoint := a.Checkpoint(f)
			if !yield(checkpoint) {
				return
			}
			f.PrevHash = Hash(checkpoint)
		}
	}
}

// FileName returns the name that writers give to the checkpoint's file.
func FileName(checkpoint []byte) string { return fmt.Sprintf("%010d.ckpt", Tick(checkpoint)) }

// WriteFolder writes the checkpoints into the folder, which it makes, under the names
// that FileName gives. Two checkpoints with the same tick number are an error.
func WriteFolder(dir string, checkpoints ...[]byte) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	for _, c := range checkpoints {
		f, err := os.OpenFile(filepath.Join(dir, FileName(c)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if err != nil {
			return err
		}
		_, err = f.Write(c)
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return err
		}
	}
	return nil
}
