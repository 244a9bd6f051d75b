package wallet_test

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"igor.dev/x402/evm"
	"igor.dev/x402/wallet"
	"igor.dev/x402/x402test"
)

func generate(t *testing.T) *wallet.Key {
	t.Helper()
	k, err := wallet.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestFile(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	other, _ := age.GenerateX25519Identity()
	phrase := func(s string) func() (string, error) { return func() (string, error) { return s, nil } }
	never := func() (string, error) { t.Error("asked for a passphrase"); return "", errors.New("no") }
	for _, c := range []struct {
		name       string
		lock       wallet.Lock
		open, shut wallet.Unlock
	}{
		{"plain", wallet.Lock{}, wallet.Unlock{Passphrase: never}, wallet.Unlock{}},
		{"passphrase", wallet.Lock{Passphrase: "correct horse"}, wallet.Unlock{Passphrase: phrase("correct horse"), Identities: []age.Identity{other}}, wallet.Unlock{Passphrase: phrase("wrong horse")}},
		{"identity", wallet.Lock{Recipients: []age.Recipient{id.Recipient()}}, wallet.Unlock{Passphrase: never, Identities: []age.Identity{other, id}}, wallet.Unlock{Identities: []age.Identity{other}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, file := generate(t), filepath.Join(t.TempDir(), "wallet")
			if err := k.Save(file, c.lock); err != nil {
				t.Fatal(err)
			}
			var exists *wallet.ExistsError
			if err := generate(t).Save(file, wallet.Lock{}); !errors.As(err, &exists) {
				t.Errorf("saved over it: %v", err)
			}
			if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("mode %v, %v", info.Mode(), err)
			}
			back, err := wallet.Open(file, c.open)
			if err != nil || back.Address() != k.Address() {
				t.Fatalf("got %v, %v; want %v", back, err, k)
			}
			if c.name == "plain" {
				if err := os.Chmod(file, 0o640); err != nil {
					t.Fatal(err)
				}
				if _, err := wallet.Open(file, c.open); err == nil || !strings.Contains(err.Error(), "chmod 600") {
					t.Errorf("a file that others can read: %v", err)
				}
				return
			}
			for _, u := range []wallet.Unlock{c.shut, {}} {
				if _, err := wallet.Open(file, u); !errors.Is(err, wallet.ErrLocked) && err == nil {
					t.Error("opened with nothing that opens it")
				}
			}
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for i := len(b) / 2; i < len(b)-40; i += 7 { // flips and cuts are errors
				bad := append([]byte(nil), b...)
				bad[i] ^= 1
				os.WriteFile(file, bad, 0o600)
				if back, err := wallet.Open(file, wallet.Unlock{Identities: c.open.Identities}); c.name == "identity" && err == nil {
					t.Errorf("byte %d changed, and it opens as %v", i, back)
				}
			}
			if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), ".wallet-*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	secret := strings.Repeat("ab", 31)
	for name, content := range map[string]string{
		"empty": "", "short": secret, "long": secret + "abcd", "other": secret + "zz", "zero": strings.Repeat("00", 32),
		"over": strings.Repeat("ff", 32), "big": strings.Repeat("ab", 1<<20), "no age": "-----BEGIN AGE ENCRYPTED FILE-----\n" + secret,
	} {
		file := filepath.Join(dir, name)
		os.WriteFile(file, []byte(content), 0o600)
		if k, err := wallet.Open(file, wallet.Unlock{}); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v, %v", name, k, err)
		}
	}
	if _, err := wallet.Open(dir, wallet.Unlock{}); err == nil {
		t.Error("opened a folder")
	}
}

// TestNothingLeaks prints a wallet in every way that there is.
func TestNothingLeaks(t *testing.T) {
	file := filepath.Join(t.TempDir(), "wallet")
	secret := strings.Repeat("1234567890abcdef", 4)
	os.WriteFile(file, []byte(secret+"\n"), 0o600)
	k, err := wallet.Open(file, wallet.Unlock{})
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := hex.DecodeString(secret)
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%p"} {
		fmt.Fprintf(&out, verb+"\n", k)
		fmt.Fprintf(&out, verb+"\n", *k)
		fmt.Fprintf(&out, verb+"\n", struct{ W wallet.Wallet }{k})
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("a wallet", "wallet", k, "in", struct{ W *wallet.Key }{k})
	slog.New(slog.NewJSONHandler(&out, nil)).Info("a wallet", "wallet", k, "in", struct{ W *wallet.Key }{k})
	json.NewEncoder(&out).Encode(k)
	said := strings.ToLower(out.String())
	for _, form := range []string{secret, string(raw), fmt.Sprint(raw), "12 34 56", "18 52 86", "18, 52, 86", "0x12, 0x34"} {
		if strings.Contains(said, form) {
			t.Errorf("the key is in what is printed, as %q", form)
		}
	}
	if !strings.Contains(said, strings.ToLower(k.Address().String())) {
		t.Error("nothing was printed")
	}
}

func TestBinding(t *testing.T) {
	public, private, _ := ed25519.GenerateKey(nil)
	k := generate(t)
	b := &wallet.SignedBinding{Binding: wallet.Binding{Agent: [32]byte(public), Node: [32]byte{1}, Wallet: k.Address(), Time: time.Unix(1800000000, 0).UTC()}}
	var err error
	if b.ByWallet, err = k.Bind(t.Context(), &b.Binding); err != nil {
		t.Fatal(err)
	}
	copy(b.ByAgent[:], ed25519.Sign(private, b.Message()))
	src := b.Append(nil)
	if back, err := wallet.ParseBinding(src); err != nil || *back != *b {
		t.Fatalf("got %+v, %v", back, err)
	}
	for i := range len(src) * 8 {
		bad := append([]byte(nil), src...)
		bad[i/8] ^= 1 << (i % 8)
		if _, err := wallet.ParseBinding(bad); err == nil {
			t.Fatalf("bit %d does not count", i)
		}
	}
	for n := range src {
		if _, err := wallet.ParseBinding(src[:n]); err == nil {
			t.Fatalf("%d bytes are enough", n)
		}
	}
	elsewhere := b.Binding
	elsewhere.Wallet[0]++
	if _, err := k.Bind(t.Context(), &elsewhere); err == nil {
		t.Error("a wallet spoke for another")
	}
}

// TestRemote lets another process's wallet (here another goroutine's) pay on a real chain.
func TestRemote(t *testing.T) {
	c := x402test.NewChain(t)
	k := generate(t)
	c.Mint(k.Address(), 5000)
	socket := filepath.Join(t.TempDir(), "signer.sock")
	l, err := wallet.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := wallet.Listen(socket); err == nil {
		t.Error("a second signer took the socket")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go wallet.Serve(ctx, l, k, func(_ *evm.Domain, a *evm.Authorization) error {
		if a.Value > 3000 {
			return errors.New("that is too much")
		}
		return nil
	})
	r, err := wallet.Dial(t.Context(), socket)
	if err != nil || r.Address() != k.Address() {
		t.Fatalf("got %v, %v", r, err)
	}
	domain := c.Domain()
	a := evm.Authorization{From: r.Address(), To: evm.Address{19: 5}, Value: 3000, ValidBefore: 1 << 40, Nonce: evm.Hash{1}}
	s, err := r.Authorize(t.Context(), &domain, &a)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Settle(&a, s); err != nil {
		t.Error(err)
	}
	a.Value, a.Nonce = 3001, evm.Hash{2}
	if _, err := r.Authorize(t.Context(), &domain, &a); err == nil || !strings.Contains(err.Error(), "too much") {
		t.Errorf("got %v", err)
	}
	if _, err := r.Cancel(t.Context(), &domain, evm.Hash{3}); err != nil {
		t.Error(err)
	}
	b := &wallet.Binding{Wallet: r.Address(), Time: time.Unix(1800000000, 0)}
	if _, err := r.Bind(t.Context(), b); err != nil {
		t.Error(err)
	}
}

// TestHostileSigner is answered with what it did not ask for.
func TestHostileSigner(t *testing.T) {
	k, thief := generate(t), generate(t)
	var line string
	socket := filepath.Join(t.TempDir(), "signer.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Read(make([]byte, 4096))
			c.Write([]byte(line))
			c.Close()
		}
	}()
	line = `{"address": "` + k.Address().String() + `"}` + "\n"
	r, err := wallet.Dial(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	domain := evm.Domain{Name: "USD Coin", Version: "2", Chain: 1}
	a := evm.Authorization{From: k.Address(), To: evm.Address{1}, Value: 1}
	more := a
	more.Value++
	theirs := a
	theirs.From = thief.Address()
	stolen, _ := thief.Authorize(t.Context(), &domain, &theirs)
	wrong, _ := k.Authorize(t.Context(), &domain, &more)
	for _, s := range []string{"", "\n", "{}\n", "no\n", strings.Repeat("x", 1<<20), fmt.Sprintf(`{"signature":"0x%x"}`+"\n", stolen[:]), fmt.Sprintf(`{"signature":"0x%x"}`+"\n", wrong[:])} {
		line = s
		if got, err := r.Authorize(t.Context(), &domain, &a); err == nil {
			t.Errorf("%.60q gave %x", s, got)
		}
	}
}

func FuzzBinding(f *testing.F) {
	f.Add([]byte("igor/wallet/v1\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := wallet.ParseBinding(b); err == nil {
			t.Skip("a forgery, or one of ours")
		}
	})
}
