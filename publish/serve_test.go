package publish

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"igor.dev/internal/testkit"
	"igor.dev/verifier"
	"igor.dev/verifier/published"
)

func ask(t testing.TB, h http.Handler, method, target string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t testing.TB, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestGateway asks for blocks as the tests of IPFS's gateway conformance do (trustless gateway,
// raw blocks), and as the specification has it.
func TestGateway(t *testing.T) {
	smallSegments(t, 4)
	life := testkit.NewAgent("alice").History(10, 30)
	dir := t.TempDir()
	mustPublish(t, dir, life, Options{})
	h := serveTree(t, dir)
	for i, b := range life {
		cid := cidOf(b).CID()
		path := "/ipfs/" + cid
		for _, r := range []*http.Response{ask(t, h, "GET", path+"?format=raw"), ask(t, h, "GET", path, "Accept", "application/vnd.ipld.raw"), ask(t, h, "GET", path+"?format=raw", "Accept", "text/html"), ask(t, h, "GET", path, "Accept", "text/html, application/vnd.ipld.raw;q=0.5")} {
			if r.StatusCode != 200 || body(t, r) != string(b) {
				t.Fatalf("checkpoint %d: status %d", i, r.StatusCode)
			}
			header := r.Header
			for name, want := range map[string]string{
				"Content-Type": `^application/vnd\.ipld\.raw$`, "Content-Length": fmt.Sprintf("^%d$", len(b)), "Content-Disposition": `^attachment;\s*filename=".*\.bin"$`, "X-Content-Type-Options": "^nosniff$",
				"Vary": "Accept", "Etag": `^"` + cid + `\.raw"$`, "X-Ipfs-Path": "^" + path + "$", "X-Ipfs-Roots": cid, "Access-Control-Allow-Origin": `^\*$`,
			} {
				if !regexp.MustCompile(want).MatchString(header.Get(name)) {
					t.Errorf("%s: %q, want %s", name, header.Get(name), want)
				}
			}
			directives := make(map[string]string)
			for _, d := range strings.Split(strings.ReplaceAll(header.Get("Cache-Control"), " ", ""), ",") {
				name, value, _ := strings.Cut(d, "=")
				directives[name] = value
			}
			_, public := directives["public"]
			_, immutable := directives["immutable"]
			if age, err := strconv.Atoi(directives["max-age"]); !public || !immutable || err != nil || age < 29030400 {
				t.Error(header.Get("Cache-Control"))
			}
		}
	}
	cid := cidOf(life[3]).CID()
	path := "/ipfs/" + cid
	unknown := "/ipfs/" + cidOf([]byte("nothing")).CID()
	for _, c := range []struct {
		method, target string
		header         []string
		status         int
		body           string
	}{
		{"HEAD", path + "?format=raw", nil, 200, ""},
		{"GET", path + "?format=raw", []string{"If-None-Match", `"` + cid + `.raw"`}, 304, ""},
		{"GET", path + "?format=raw", []string{"If-None-Match", `W/"` + cid + `.raw"`}, 304, ""},
		{"GET", path + "?format=raw", []string{"If-None-Match", `"x"`}, 200, string(life[3])},
		{"GET", path + "?format=raw", []string{"Range", "bytes=10-19"}, 206, string(life[3][10:20])},
		{"GET", path + "?format=raw", []string{"Range", "bytes=99999-"}, 416, "invalid range: failed to overlap\n"},
		{"GET", unknown + "?format=raw", nil, 404, "no published life here has this checkpoint\n"},
		{"HEAD", unknown + "?format=raw", nil, 404, ""},
		{"GET", unknown + "?format=raw", []string{"Cache-Control", "only-if-cached"}, 412, "no published life here has this checkpoint\n"},
		{"GET", path, nil, 400, ""},
		{"GET", path + "?format=tar", nil, 400, "there is no format=tar here: want raw or car\n"},
		{"GET", path + "?format=tar", []string{"Accept", "application/vnd.ipld.raw"}, 400, ""},
		{"GET", path + "?format=raw", []string{"Service-Worker", "script"}, 400, ""},
		{"GET", unknown + "?format=car", nil, 404, ""},
		{"HEAD", unknown + "?format=car", nil, 404, ""},
		{"GET", unknown + "?format=car", []string{"Cache-Control", "only-if-cached"}, 412, ""},
		{"GET", path, []string{"Accept", "text/html"}, 400, ""},
		{"GET", path, []string{"Accept", "*/*"}, 400, ""},
		{"GET", path, []string{"Accept", "application/vnd.ipld.dag-json"}, 400, ""},
		{"GET", path, []string{"Accept", "application/vnd.ipld.raw;q=0"}, 400, ""},
		{"GET", path + "/x?format=raw", nil, 404, ""},
		{"GET", "/ipfs/?format=raw", nil, 400, ""},
		{"GET", "/ipfs/bafkrei?format=raw", nil, 400, ""},
		{"GET", "/ipfs/" + cid[:20] + "%0a" + cid[20:] + "?format=raw", nil, 400, ""},
		{"GET", "/ipfs/x" + cid + "?format=raw", nil, 400, ""},
		{"GET", "/ipfs/" + cid + "a?format=raw", nil, 400, ""},
		// CIDs of what cannot be here: a version 0, dag-pb, BLAKE3, an identity.
		{"GET", "/ipfs/QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG?format=raw", nil, 404, ""},
		{"GET", "/ipfs/bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi?format=car", nil, 404, ""},
		{"GET", "/ipfs/bafkr4ihn4xalyfrv6zpbxvbdyd3y3zn6fy4ltktnf4uyvgtvbzpjnfa6bm?format=raw", nil, 404, ""},
		{"GET", "/ipfs/bafkqabtimvwgy3yk?format=raw", nil, 404, ""},
		{"GET", "/ipfs/bafkqaaa?format=raw", nil, 200, ""},
		{"HEAD", "/ipfs/bafkqaaa?format=raw", nil, 200, ""},
		{"POST", path + "?format=raw", nil, 405, ""},
		{"OPTIONS", path + "?format=raw", nil, 204, ""},
	} {
		r := ask(t, h, c.method, c.target, c.header...)
		if got := body(t, r); r.StatusCode != c.status || c.body != "" && got != c.body || c.method == "HEAD" && c.status == 200 && got != "" {
			t.Errorf("%s %s %q: status %d, %q", c.method, c.target, c.header, r.StatusCode, got)
		}
		if r.Header.Get("Access-Control-Allow-Origin") != "*" || r.StatusCode >= 400 && strings.Contains(r.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s %s: %v", c.method, c.target, r.Header)
		}
	}
	// The same CID in other bases: base36, base58btc.
	for _, other := range []string{rebase(t, cid, 'k'), rebase(t, cid, 'z')} {
		if r := ask(t, h, "GET", "/ipfs/"+other+"?format=raw"); r.StatusCode != 200 || body(t, r) != string(life[3]) || r.Header.Get("Etag") != `"`+other+`.raw"` {
			t.Errorf("%s: status %d, %v", other, r.StatusCode, r.Header)
		}
	}
	// Who asks by the header is told the address of the same answer, for caches.
	for _, c := range []struct{ target, accept, want string }{
		{path, "application/vnd.ipld.raw", path + "?format=raw"},
		{path + "?filename=a.bin", "application/vnd.ipld.raw", path + "?filename=a.bin&format=raw"},
		{path + "?format=raw", "application/vnd.ipld.raw", ""},
		{path + "?format=raw", "", ""},
		{path + "?format=raw", "application/vnd.ipld.car", path + "?format=raw"},
		{path, "application/vnd.ipld.car", path + "?format=car"},
		{path + "?format=car&car-dups=n", "application/vnd.ipld.car;dups=y", path + "?car-dups=n&format=car"},
	} {
		if got := ask(t, h, "GET", c.target, "Accept", c.accept).Header.Get("Content-Location"); got != c.want {
			t.Errorf("%s, Accept %q: Content-Location %q, want %q", c.target, c.accept, got, c.want)
		}
	}
	r := ask(t, h, "GET", path+"?format=raw&filename=test%D1%82%D0%B5%D1%81%D1%82%20%3D.pdf")
	if got := r.Header.Get("Content-Disposition"); got != `attachment; filename="test____ =.pdf"; filename*=UTF-8''test%D1%82%D0%B5%D1%81%D1%82%20%3D.pdf` {
		t.Error(got)
	}
	r = ask(t, h, "GET", path+"?format=raw&filename=foobar.bin")
	if got := r.Header.Get("Content-Disposition"); got != `attachment; filename="foobar.bin"` {
		t.Error(got)
	}
	r = ask(t, h, "GET", path+"?format=raw&filename=..%2F..%2Fa%22%0d%0aX:%20y%E2%80%AEz.exe")
	if got := r.Header.Get("Content-Disposition"); got != `attachment; filename=".._.._a___X_ y_z.exe"` || r.Header.Get("X") != "" {
		t.Error(got)
	}
	r = ask(t, h, "OPTIONS", path)
	if got := r.Header.Get("Access-Control-Allow-Headers"); !strings.Contains(got, "Range") || !strings.Contains(r.Header.Get("Access-Control-Allow-Methods"), "GET") {
		t.Error(got)
	}
}

// rebase writes a CID in another base.
func rebase(t *testing.T, cid string, base byte) string {
	t.Helper()
	n, alphabet := new(big.Int).SetBytes([]byte(decodeCID(cid))), map[byte]string{'k': base36, 'z': base58}[base]
	var digits []byte
	for n.Sign() > 0 {
		digit := new(big.Int)
		n.DivMod(n, big.NewInt(int64(len(alphabet))), digit)
		digits = append(digits, alphabet[digit.Int64()])
	}
	slices.Reverse(digits)
	return string(base) + string(digits)
}

// FuzzGateway asks for anything. What is given out has the hash that was asked for.
func FuzzGateway(f *testing.F) {
	life := testkit.NewAgent("alice").History(3, 30)
	dir := f.TempDir()
	mustPublish(f, dir, life, Options{})
	h := serveTree(f, dir)
	cid := cidOf(life[1]).CID()
	f.Add(cid, "format=raw", "", "")
	f.Add(cid, "format=car&entity-bytes=0:-3&dag-scope=all&car-dups=y", "text/html, application/vnd.ipld.car;version=1;q=0.3", "bytes=0-9")
	f.Add("QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG", "filename=%E2%98%83", "application/vnd.ipld.raw;q=NaN", "bytes=-1")
	f.Add("bafkqaaa", "format=car", "application/vnd.ipld.raw", "")
	f.Add("k2jmtxu8", "format=raw", "application/vnd.ipld.car;q=1e-9", "bytes=5-")
	f.Fuzz(func(t *testing.T, name, query, accept, ranges string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.Path, r.URL.RawQuery = "/ipfs/"+name, query
		r.Header.Set("Accept", accept)
		r.Header.Set("Range", ranges)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		switch answer := w.Result(); answer.StatusCode {
		case 200:
			got, header := w.Body.Bytes(), answer.Header
			block := life[1]
			if strings.HasPrefix(header.Get("Content-Type"), "application/vnd.ipld.car") {
				block = verifier.AppendCARBlock(verifier.AppendCARHeader(nil, cidOf(block)), cidOf(block), block)
			}
			if name != probe && !bytes.Equal(got, block) && !slices.ContainsFunc(life, func(b []byte) bool { return bytes.HasSuffix(got, b) && name == cidOf(b).CID() }) {
				t.Errorf("%q: %q", name, got)
			}
			for name, values := range header {
				if strings.ContainsAny(strings.Join(values, ""), "\r\n\x00") {
					t.Errorf("%s: %q", name, values)
				}
			}
		case 206, 400, 404, 412, 416:
		default:
			t.Errorf("status %d", answer.StatusCode)
		}
	})
}

// TestGatewayCAR asks for CARs as the specification has it. A checkpoint has no links, so
// every CAR has one block.
func TestGatewayCAR(t *testing.T) {
	smallSegments(t, 4)
	life := testkit.NewAgent("alice").History(10, 30)
	dir := t.TempDir()
	mustPublish(t, dir, life, Options{})
	h := serveTree(t, dir)
	b := life[3]
	cid := cidOf(b).CID()
	path := "/ipfs/" + cid
	whole := string(verifier.AppendCARBlock(verifier.AppendCARHeader(nil, cidOf(b)), cidOf(b), b))
	const kind = "application/vnd.ipld.car; version=1; order=dfs; dups="
	tags := map[string]string{}
	for _, c := range []struct {
		query, accept string
		status        int
		dups          string
	}{
		{"format=car", "", 200, "n"},
		{"", "application/vnd.ipld.car", 200, "n"},
		{"format=car", "application/vnd.ipld.raw", 200, "n"},
		{"", "application/vnd.ipld.car;version=1;order=dfs;dups=y", 200, "y"},
		{"", "application/vnd.ipld.car; order=unk; dups=n", 200, "n"},
		{"", "application/vnd.ipld.car;order=foo, application/vnd.ipld.car;order=dfs;dups=y;q=0.5", 200, "y"},
		{"", "application/vnd.ipld.raw;q=0.2, application/vnd.ipld.car;q=0.7", 200, "n"},
		{"", "application/vnd.ipld.car;order=foo", 400, ""},
		{"", "application/vnd.ipld.car;version=2", 400, ""},
		{"format=car", "application/vnd.ipld.car;version=2", 400, ""},
		{"format=car", "application/vnd.ipld.car;dups=maybe", 400, ""},
		{"format=car&car-version=2", "", 400, ""},
		{"format=car&car-order=bfs", "", 400, ""},
		{"format=car&car-version=1&car-order=dfs&car-dups=y", "application/vnd.ipld.car;dups=n", 200, "y"},
		{"format=car&dag-scope=block", "", 200, "n"},
		{"format=car&dag-scope=entity", "", 200, "n"},
		{"format=car&dag-scope=all", "", 200, "n"},
		{"format=car&dag-scope=some", "", 400, ""},
		{"format=car&entity-bytes=0:*", "", 200, "n"},
		{"format=car&entity-bytes=0:9", "", 200, "n"},
		{"format=car&entity-bytes=-5:*", "", 200, "n"},
		{"format=car&entity-bytes=3:-3", "", 200, "n"},
		{"format=car&entity-bytes=0:99999999", "", 200, "n"},
		{"format=car&entity-bytes=99999:*", "", 400, ""},
		{"format=car&entity-bytes=0:-99999", "", 400, ""},
		{"format=car&entity-bytes=9:3", "", 400, ""},
		{"format=car&entity-bytes=9", "", 400, ""},
		{"format=car&entity-bytes=a:b", "", 400, ""},
		{"format=car&entity-bytes=*:9", "", 400, ""},
		{"format=car&entity-bytes=0:99999999999999999999999999", "", 400, ""},
	} {
		r := ask(t, h, "GET", path+"?"+c.query, "Accept", c.accept)
		got := body(t, r)
		if r.StatusCode != c.status || c.status == 200 && (got != whole || r.Header.Get("Content-Type") != kind+c.dups) {
			t.Errorf("%s, Accept %q: status %d, %v, %q", c.query, c.accept, r.StatusCode, r.Header, got)
			continue
		}
		if c.status != 200 {
			continue
		}
		if r.Header.Get("Content-Disposition") != `attachment; filename="`+cid+`.car"` || r.Header.Get("X-Content-Type-Options") != "nosniff" || r.Header.Get("Cache-Control") != immutable || r.Header.Get("Content-Length") != fmt.Sprint(len(whole)) {
			t.Errorf("%s: %v", c.query, r.Header)
		}
		tag := r.Header.Get("Etag")
		if !regexp.MustCompile(`^"` + cid + `\.car[-.0-9a-z]+"$`).MatchString(tag) {
			t.Errorf("%s: Etag %s", c.query, tag)
		}
		// Another part of the graph has another tag.
		question := c.dups
		for _, p := range []string{"dag-scope=", "entity-bytes="} {
			_, value, _ := strings.Cut(c.query, p)
			question += " " + value
		}
		if of, ok := tags[tag]; ok && of != question {
			t.Errorf("%q and %q have one Etag, %s", of, question, tag)
		}
		tags[tag] = question
		if r := ask(t, h, "GET", path+"?"+c.query, "Accept", c.accept, "If-None-Match", tag); r.StatusCode != 304 || body(t, r) != "" {
			t.Errorf("%s: status %d for what did not change", c.query, r.StatusCode)
		}
		if r := ask(t, h, "HEAD", path+"?"+c.query, "Accept", c.accept); r.StatusCode != 200 || body(t, r) != "" || r.Header.Get("Etag") != tag {
			t.Errorf("%s: HEAD: status %d, %v", c.query, r.StatusCode, r.Header)
		}
	}
	if len(tags) < 9 {
		t.Error(tags)
	}
	// The probe: a CAR whose root is the CID of nothing, and in which nothing is.
	for _, c := range []struct{ method, query, accept string }{{"GET", "?format=car", ""}, {"HEAD", "?format=car", ""}, {"GET", "", "application/vnd.ipld.car"}} {
		r := ask(t, h, c.method, "/ipfs/bafkqaaa"+c.query, "Accept", c.accept)
		if got := body(t, r); r.StatusCode != 200 || c.method == "GET" && got != probeCAR {
			t.Errorf("%v: status %d, %q", c, r.StatusCode, got)
		}
	}
}

// TestServesLayout looks at the answers for a life's files.
func TestServesLayout(t *testing.T) {
	smallSegments(t, 4)
	life := testkit.NewAgent("alice").History(10, 30)
	agent := agentOf(t, life[0])
	dir := t.TempDir()
	mustPublish(t, dir, life, Options{})
	h := serveTree(t, dir)
	for key, want := range map[string]struct{ kind, cache string }{
		published.HeadKey(agent): {published.TypeHead, "no-cache"}, published.SegmentKey(agent, 1): {published.TypeCAR, immutable},
		published.TailKey(agent, cidOf(life[9])): {published.TypeCAR, immutable}, published.IndexKey(agent): {published.TypeIndex, "no-cache"},
	} {
		file, err := os.ReadFile(filepath.Join(dir, key))
		if err != nil {
			t.Fatal(err)
		}
		r := ask(t, h, "GET", "/"+key)
		if r.StatusCode != 200 || body(t, r) != string(file) || r.Header.Get("Content-Type") != want.kind || r.Header.Get("Cache-Control") != want.cache || r.Header.Get("Access-Control-Allow-Origin") != "*" || r.Header.Get("Etag") == "" || r.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %v", key, r.StatusCode, r.Header)
		}
		if r := ask(t, h, "GET", "/"+key, "If-None-Match", r.Header.Get("Etag")); r.StatusCode != 304 {
			t.Errorf("%s: %d", key, r.StatusCode)
		}
		if r := ask(t, h, "GET", "/"+key, "Range", "bytes=32-63"); r.StatusCode != 206 || body(t, r) != string(file[32:64]) {
			t.Errorf("%s: %d", key, r.StatusCode)
		}
	}
	mustPublish(t, dir, append(life, after(testkit.NewAgent("alice"), life[9], 1, 3)...), Options{})
	if r := ask(t, h, "GET", "/"+published.HeadKey(agent)); !strings.Contains(body(t, r), "checkpoints 11\n") {
		t.Error("the head is an old one")
	}
}

const secret = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAAECAwQFBgcICQoLDA0ODw==\n-----END PRIVATE KEY-----\n"

// TestNothingElse puts secrets wherever they could lie, and asks for them in every way.
func TestNothingElse(t *testing.T) {
	smallSegments(t, 4)
	life := testkit.NewAgent("alice").History(10, 30)
	agent := agentOf(t, life[0])
	did := agent.DID()
	dir := filepath.Join(t.TempDir(), "public")
	mustPublish(t, dir, life, Options{})
	folder := "igor/" + did
	outside := filepath.Join(filepath.Dir(dir), "key")
	places := []string{"key", "journal", "igor/key", folder + "/key", folder + "/journal", folder + "/receipts", folder + "/events/0000000004.events", folder + "/head.tlog-proof", folder + "/head.monitor", folder + "/handovers", folder + "/succession", folder + "/successor.tlog-proof",
		folder + "/segments/7.car", folder + "/segments/01.car", folder + "/segments/key", folder + "/tail/" + cidOf(life[2]).CID() + ".car", "ipfs/" + cidOf([]byte(secret+"x")).CID(), "ipfs/key", ".git/config", folder + "/.env", "agent.json", "igor/did:key:x/head"}
	for _, p := range places {
		path := filepath.Join(dir, p)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(outside, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	// Links, to what is outside and inside, also to what is like what is served.
	car := filepath.Join(filepath.Dir(dir), "secret.car")
	if err := os.WriteFile(car, carOf(testkit.NewAgent("carol").History(3, 10)), 0o600); err != nil {
		t.Fatal(err)
	}
	links := map[string]string{folder + "/segments/8.car": outside, folder + "/segments/9.car": "../key", folder + "/segments/10.car": car, "ipfs/" + cidOf([]byte(secret)).CID(): outside}
	for name, to := range links {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		places = append(places, name)
	}
	h := serveTree(t, dir)
	server := httptest.NewServer(h)
	defer server.Close()
	targets := []string{"/", "/igor", "/igor/", "/ipfs/", "/" + folder, "/" + folder + "/", "/../key", "/igor/../../key", "/" + folder + "/segments/../../../key", "/" + folder + "/segments/..%2f..%2fkey", "/" + folder + "/segments/..%5c..%5ckey", "/" + folder + "//key", "/" + folder + "/./key",
		"/" + folder + "/head/../key", "/" + folder + "/%2e%2e/%2e%2e/key", "//key", "/ipfs/../key?format=raw", "/ipfs/..%2fkey?format=raw", "/" + folder + "/segments/0.car/../../key", "/" + folder + "/head%00", "/" + folder + "/segments/0.car%00.key", "/igor/" + strings.ToUpper(did) + "/head", "/" + folder + "/HEAD"}
	for _, p := range places {
		targets = append(targets, "/"+p, "/"+p+"?format=raw", "/"+p+"/")
	}
	for _, target := range targets {
		for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "POST", "PROPFIND"} {
			status, got := raw(t, server.Listener.Addr().String(), method, target)
			if strings.Contains(got, "PRIVATE") || method == "GET" && status == 200 || status == 500 {
				t.Errorf("%s %s: status %d, %q", method, target, status, got)
			}
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "key")); err != nil || string(b) != secret {
		t.Error("a request changed a file")
	}
	if r := ask(t, h, "GET", "/"+published.HeadKey(agent)); r.StatusCode != 200 {
		t.Error("and the life is not there")
	}
}

// TestFlippedSegment serves blocks of a segment that a disk changed after it was looked
// through: a block is what its name says, or it is not there.
func TestFlippedSegment(t *testing.T) {
	smallSegments(t, 4)
	life := testkit.NewAgent("alice").History(10, 30)
	dir := filepath.Join(t.TempDir(), "public")
	mustPublish(t, dir, life, Options{})
	h := serveTree(t, dir)
	target := "/ipfs/" + cidOf(life[1]).CID() + "?format=raw"
	if r := ask(t, h, "GET", target); r.StatusCode != 200 {
		t.Fatalf("status %d", r.StatusCode)
	}
	file := filepath.Join(dir, published.SegmentKey(agentOf(t, life[0]), 0))
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, life[1])
	if at < 0 {
		t.Fatal("the block is not in the segment")
	}
	b[at+len(life[1])-1] ^= 1
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
	if r := ask(t, h, "GET", target); r.StatusCode != 404 {
		t.Errorf("status %d of a block that is another one by now", r.StatusCode)
	}
}

// raw asks with a target as it is: clients clean it.
func raw(t testing.TB, address, method, target string) (status int, all string) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", method, target)
	r, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		return 0, ""
	}
	defer r.Body.Close()
	b, _ := io.ReadAll(r.Body)
	var header bytes.Buffer
	r.Header.Write(&header)
	return r.StatusCode, header.String() + string(b)
}

// TestBeside publishes, serves and fetches what lies with a life, if it is what its name says.
func TestBeside(t *testing.T) {
	life := testkit.NewAgent("alice").History(3, 30)
	agent := agentOf(t, life[0])
	proof := []byte("c2sp.org/tlog-proof@v1\nextra x\nindex 0\n")
	from := t.TempDir()
	if err := os.WriteFile(filepath.Join(from, "head.tlog-proof"), proof, 0o666); err != nil {
		t.Fatal(err)
	}
	beside, err := Beside(from)
	if err != nil || len(beside) != 1 {
		t.Fatal(beside, err)
	}
	dir := t.TempDir()
	mustPublish(t, dir, life, Options{Beside: beside})
	url := listen(t, serveTree(t, dir))
	var out bytes.Buffer
	got, err := Fetch(t.Context(), &Request{Address: Address{Agent: &agent, From: []string{url}}, Beside: true}, &out)
	if err != nil || len(got.Beside) != 1 || !bytes.Equal(got.Beside["head.tlog-proof"], proof) {
		t.Error(got, err)
	}
	if err := os.WriteFile(filepath.Join(from, "succession"), []byte(secret), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Beside(from); err == nil {
		t.Error("a key is published as a succession")
	}
	if _, err := Publish(t.Context(), dir, lifeOf(life), Options{Beside: map[string][]byte{"key": []byte(secret)}}); err == nil {
		t.Error("a key is published")
	}
}

func FuzzServe(f *testing.F) {
	life := testkit.NewAgent("alice").History(10, 30)
	dir := f.TempDir()
	if _, err := Publish(f.Context(), dir, lifeOf(life), Options{}); err != nil {
		f.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "key"), []byte(secret), 0o600); err != nil {
		f.Fatal(err)
	}
	h := serveTree(f, dir)
	agent := agentOf(f, life[0])
	for _, s := range []string{published.HeadKey(agent), published.TailKey(agent, cidOf(life[9])), published.BlockKey(cidOf(life[1])) + "?format=raw", "key"} {
		f.Add("/" + s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		r, err := http.NewRequest("GET", "http://x/", nil)
		if err != nil {
			return
		}
		r.URL.Path = path
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if strings.Contains(w.Body.String(), "PRIVATE") || w.Code >= 500 {
			t.Fatal(w.Code)
		}
	})
}
