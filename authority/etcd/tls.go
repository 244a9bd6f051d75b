package etcd

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"igor.dev/verifier"
)

// Each member's own key vouches for its peer certificate, whose key is made at each start.
// What the others need to check that is the member's DID alone: a root certificate is a
// name and a key, and nobody looks at its signature. So a list of members is all that has
// to be carried about.

type certificates struct{ cert, key, roots string }

func forever(t *x509.Certificate) *x509.Certificate {
	t.SerialNumber = big.NewInt(time.Now().UnixNano())
	t.NotBefore, t.NotAfter = time.Unix(0, 0), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) // whatever the clock says
	return t
}

// fileTrusted has the DIDs of those whom a member lets in: the members that it knew when it
// was started, and those of before, as long as they are not removed. A majority of them has
// to agree to the removal, so they have to be heard.
const fileTrusted = "trusted"

func readTrusted(dir string) (all []verifier.PublicKey, err error) {
	b, err := os.ReadFile(filepath.Join(dir, fileTrusted))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for did := range strings.FieldsSeq(string(b)) {
		k, err := verifier.ParseDID(did)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, fileTrusted), err)
		}
		all = append(all, k)
	}
	return all, err
}

func writeTrusted(dir string, all []verifier.PublicKey) error {
	var b strings.Builder
	for _, k := range all {
		fmt.Fprintln(&b, k.DID())
	}
	return os.WriteFile(filepath.Join(dir, fileTrusted), []byte(b.String()), 0o600)
}

// rootOf is a member as an authority for its own certificates.
func rootOf(k verifier.PublicKey) *x509.Certificate {
	id := k[:20]
	return forever(&x509.Certificate{Subject: pkix.Name{CommonName: nameOf(k)}, SubjectKeyId: id, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, MaxPathLenZero: true})
}

func writeCertificates(dir string, key ed25519.PrivateKey, address string, trusted []verifier.PublicKey) (c certificates, err error) {
	c = certificates{filepath.Join(dir, "peer.crt"), filepath.Join(dir, "peer.key"), filepath.Join(dir, "members.crt")}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return c, err
	}
	var roots bytes.Buffer
	for _, k := range trusted {
		root := rootOf(k)
		// The key in it is the member's. The signature, which nobody checks, is ours.
		der, err := x509.CreateCertificate(rand.Reader, root, root, ed25519.PublicKey(k[:]), key)
		if err != nil {
			return c, err
		}
		if err := pem.Encode(&roots, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
			return c, err
		}
	}
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return c, err
	}
	self := verifier.PublicKey(key.Public().(ed25519.PublicKey))
	leaf := forever(&x509.Certificate{Subject: pkix.Name{CommonName: "igor peer"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}})
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return c, err
	}
	if ip := net.ParseIP(host); ip != nil {
		leaf.IPAddresses = []net.IP{ip}
	} else {
		leaf.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, rootOf(self), own.Public(), key)
	if err != nil {
		return c, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		return c, err
	}
	for name, content := range map[string][]byte{
		c.cert:  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		c.key:   pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		c.roots: roots.Bytes(),
	} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			return c, err
		}
	}
	return c, nil
}
