package fleet

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"testing"
	"testing/synctest"
	"time"

	"igor.dev/authority/protocol"
	"igor.dev/verifier"
)

// silent are members whose answers come until they do not, while what they are asked does.
type silent struct {
	dead   verifier.PublicKey // a member that answers nothing from the beginning
	cut    bool
	renews int // since then
}

func (s *silent) Do(ctx context.Context, m Member, request []byte) ([]byte, error) {
	r, err := protocol.ParseRequest(request)
	if err != nil {
		return nil, err
	}
	if s.cut && r.Kind == protocol.Renew {
		s.renews++
	}
	if s.cut || m.Key == s.dead {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	a := protocol.Answer{Status: protocol.Done, Lease: r.TTL}
	if r.Kind == protocol.Read {
		a = protocol.Answer{Status: protocol.None}
	}
	return a.Append(nil, r.Kind), nil
}

// TestUnheard renews a lease at members of which one is dead, and whose answers then come no
// more: the lease is renewed once without an answer, and not by each of them.
func TestUnheard(t *testing.T) {
	for _, lease := range []time.Duration{4 * time.Second, 30 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			var members []Member
			for i := range byte(3) {
				k := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{i}, 32))
				members = append(members, Member{verifier.PublicKey(k.Public().(ed25519.PublicKey)), "member:1"})
			}
			for i := range members { // whichever is asked first
				via := &silent{dead: members[i].Key}
				c, err := New(Config{Members: members, Via: via, Lease: lease, Grace: lease / 10})
				if err != nil {
					t.Fatal(err)
				}
				c.first = i
				c.KeepLease()
				time.Sleep(5 * lease)
				if err := c.Held(); err != nil {
					t.Errorf("lease %v, member %d is dead: %v", lease, i, err)
				}
				via.cut = true
				time.Sleep(5 * lease)
				if via.renews != 1 {
					t.Errorf("lease %v, member %d is dead: renewed %d times without an answer", lease, i, via.renews)
				}
				if c.Held() == nil {
					t.Errorf("lease %v: it is held though nobody answers", lease)
				}
				c.Close() // nobody hears that the lease is given back
			}
		})
	}
}
