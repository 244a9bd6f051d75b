package publish

import (
	"bytes"
	"cmp"
	"encoding/base32"
	"errors"
	"fmt"
	"math/big"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"igor.dev/verifier"
	"igor.dev/verifier/published"
)

// A trustless gateway of IPFS (specs.ipfs.tech/http-gateways/trustless-gateway), which has
// checkpoints: blocks without links. So a CAR has one of them, whatever part of the graph
// below it is asked for.

// probe is the CID of nothing, by which a client finds out that this is a gateway, and
// probeCAR is the CAR of it: a header alone, for a block that is in its CID is in no CAR.
const (
	probe    = "bafkqaaa"
	probeCAR = "\x19\xa2eroots\x81\xd8\x2a\x45\x00\x01\x55\x00\x00gversion\x01"
)

// typeCAR is a CAR of any version, as clients ask for it.
const typeCAR = "application/vnd.ipld.car"

// block answers for one checkpoint.
func (s *Server) block(w http.ResponseWriter, r *http.Request, name string) {
	if r.Header.Get("Service-Worker") != "" {
		refuse(w, http.StatusBadRequest, "nothing here is a service worker")
		return
	}
	query := r.URL.Query()
	want, err := negotiate(query, r.Header.Values("Accept"))
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	var b []byte
	if name != probe {
		h, ours, err := parseCID(name)
		if err != nil {
			refuse(w, http.StatusBadRequest, err.Error())
			return
		}
		if ours {
			b = s.checkpoint(h)
		}
		if b == nil {
			code := http.StatusNotFound
			if strings.Contains(r.Header.Get("Cache-Control"), "only-if-cached") {
				code = http.StatusPreconditionFailed
			}
			refuse(w, code, "no published life here has this checkpoint")
			return
		}
		if want.beyond(int64(len(b))) {
			refuse(w, http.StatusBadRequest, fmt.Sprintf("entity-bytes is outside of the block, which has %d bytes", len(b)))
			return
		}
		if want.car {
			b = verifier.AppendCARBlock(verifier.AppendCARHeader(nil, h), h, b)
		}
	} else if want.car {
		b = []byte(probeCAR)
	}
	header := w.Header()
	header.Set("Content-Type", want.kind())
	header.Set("Content-Disposition", disposition(cmp.Or(query.Get("filename"), name+want.ext())))
	header.Set("Etag", `"`+name+want.etag()+`"`)
	header.Set("Cache-Control", immutable)
	header.Set("Vary", "Accept")
	header.Set("X-Ipfs-Path", "/ipfs/"+name)
	header.Set("X-Ipfs-Roots", name)
	if want.accepted {
		// Caches know the answer by this name.
		query.Set("format", want.format())
		header.Set("Content-Location", r.URL.EscapedPath()+"?"+query.Encode())
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

// A wanted answer is a raw block or a CAR.
type wanted struct {
	car      bool
	dups     string // "y" or "n"
	scope    string // the dag-scope, "" = not given
	from, to string // of entity-bytes, "" = not given
	accepted bool   // the header said something that the address does not
}

func (w wanted) format() string {
	if w.car {
		return "car"
	}
	return "raw"
}

func (w wanted) ext() string {
	if w.car {
		return ".car"
	}
	return ".bin"
}

func (w wanted) kind() string {
	if w.car {
		return published.TypeCAR + "; order=dfs; dups=" + w.dups
	}
	return published.TypeRaw
}

// etag is what an entity tag says beside the CID: answers to other questions have others,
// although their bytes may be the same.
func (w wanted) etag() string {
	if !w.car {
		return ".raw"
	}
	s := ".car." + w.dups
	if w.scope != "" {
		s += "." + w.scope
	}
	if w.from != "" {
		s += "." + w.from + "-" + strings.ReplaceAll(w.to, "*", "end")
	}
	return s
}

// beyond reports whether entity-bytes has nothing of a block of so many bytes.
func (w wanted) beyond(size int64) bool {
	if w.from == "" {
		return false
	}
	at := func(s string, end int64) int64 {
		n, err := strconv.ParseInt(s, 10, 64)
		switch {
		case s == "*":
			return end
		case err != nil:
			return end // larger than any
		case n < 0:
			return size + n
		}
		return n
	}
	from, to := at(w.from, size), at(w.to, size-1)
	return size > 0 && (from >= size || to < 0 || to < from)
}

// negotiate says what is asked for. The parameters of the address go before the header.
func negotiate(query url.Values, accept []string) (w wanted, err error) {
	parameters := map[string]string{}
	kind := ""
	switch query.Get("format") {
	case "":
	case "raw":
		kind = published.TypeRaw
	case "car":
		kind = typeCAR
	default:
		return w, fmt.Errorf("there is no format=%.20s here: want raw or car", query.Get("format"))
	}
	asked, best := "", 0.0
	var refused error
	for _, header := range accept {
		for one := range strings.SplitSeq(header, ",") {
			k, p, err := mime.ParseMediaType(strings.TrimSpace(one))
			if err != nil || k != published.TypeRaw && k != typeCAR {
				continue
			}
			q := 1.0
			if p["q"] != "" {
				if q, err = strconv.ParseFloat(p["q"], 64); err != nil || q > 1 {
					continue
				}
			}
			if k == typeCAR {
				if err := carParameters(p); err != nil {
					refused = err // unless another variant is asked for, too
					continue
				}
			}
			if q > best {
				asked, best, parameters = k, q, p
			}
		}
	}
	if asked == "" && refused != nil && kind != published.TypeRaw {
		return w, refused
	}
	if w.accepted = asked != "" && asked != kind; kind == "" {
		kind = asked
	}
	switch kind {
	case "":
		return w, errors.New("only raw blocks and CARs are served: ask with Accept: application/vnd.ipld.raw, or with ?format=raw")
	case published.TypeRaw:
		return w, nil
	}
	if asked != typeCAR {
		parameters = map[string]string{}
	}
	for _, name := range []string{"version", "order", "dups"} {
		if v := query.Get("car-" + name); v != "" {
			w.accepted = w.accepted || parameters[name] != "" && parameters[name] != v
			parameters[name] = v
		}
	}
	if err := carParameters(parameters); err != nil {
		return w, err
	}
	w.car, w.dups, w.scope = true, cmp.Or(parameters["dups"], "n"), query.Get("dag-scope")
	switch w.scope {
	case "", "block", "entity", "all":
	default:
		return w, fmt.Errorf("there is no dag-scope=%.20s: want block, entity or all", w.scope)
	}
	if s := query.Get("entity-bytes"); s != "" {
		var ok bool
		if w.from, w.to, ok = strings.Cut(s, ":"); !ok || !isOffset(w.from) || w.to != "*" && !isOffset(w.to) {
			return w, fmt.Errorf("entity-bytes=%.40s is no range: want FROM:TO, and * for the end", s)
		}
	}
	return w, nil
}

func isOffset(s string) bool {
	digits := strings.TrimPrefix(s, "-")
	return digits != "" && len(digits) < 20 && strings.Trim(digits, "0123456789") == ""
}

// carParameters refuses what CARs here are not. One block is in every order.
func carParameters(p map[string]string) error {
	for name, have := range map[string]string{"version": "1", "order": "dfs unk", "dups": "y n"} {
		if v := p[name]; v != "" && !strings.Contains(" "+have+" ", " "+v+" ") {
			return fmt.Errorf("there are no CARs with %s=%.20s here: want %s", name, v, strings.ReplaceAll(have, " ", " or "))
		}
	}
	return nil
}

// parseCID reads a CID in the bases that are used in addresses, and says whether it can be
// that of a checkpoint: CIDv1, raw, SHA-256.
func parseCID(s string) (h verifier.Hash, ours bool, err error) {
	if h, err = verifier.ParseCID(s); err == nil {
		return h, true, nil
	}
	const v1, v0 = "\x01\x55\x12\x20", "\x12\x20"
	raw := decodeCID(s)
	switch rest, ok := strings.CutPrefix(raw, v1); {
	case ok && len(rest) == len(h):
		return verifier.Hash([]byte(rest)), true, nil
	case len(raw) > 3 && raw[0] == v1[0], len(raw) == len(v0)+len(h) && strings.HasPrefix(raw, v0):
		return h, false, nil
	}
	return h, false, errors.New("this is no CID: want 59 characters that begin with bafkrei")
}

// Alphabets of CIDs.
const (
	base36 = "0123456789abcdefghijklmnopqrstuvwxyz"
	base58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
)

// decodeCID returns the bytes of a CID, "" = it is none.
func decodeCID(s string) string {
	if len(s) < 2 || len(s) > 128 {
		return ""
	}
	alphabet, digits := base58, s[1:]
	switch s[0] {
	case 'b':
		text, err := lower32.DecodeString(digits)
		if err != nil || lower32.EncodeToString(text) != digits {
			return ""
		}
		return string(text)
	case 'k':
		alphabet = base36
	case 'Q': // CIDv0 has no letter for its base
		digits = s
	case 'z':
	default:
		return ""
	}
	n, zeros := new(big.Int), 0
	for i := range len(digits) {
		v := strings.IndexByte(alphabet, digits[i])
		if v < 0 {
			return ""
		}
		if v == 0 && n.Sign() == 0 {
			zeros++
		}
		n.Add(n.Mul(n, big.NewInt(int64(len(alphabet)))), big.NewInt(int64(v)))
	}
	return strings.Repeat("\x00", zeros) + string(n.Bytes())
}

var lower32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// disposition has a file's name without what a header or a file system takes for something
// else: in ASCII, and where that is not all of it, as it is too.
func disposition(file string) string {
	safe := func(r rune) rune {
		if !unicode.IsPrint(r) || strings.ContainsRune(`"\/:*?<>|%`, r) {
			return '_'
		}
		return r
	}
	file = strings.Map(safe, file)
	if all := []rune(file); len(all) > 200 {
		file = string(all[:200])
	}
	plain := strings.Map(func(r rune) rune {
		if r > '~' {
			return '_'
		}
		return r
	}, file)
	s := `attachment; filename="` + plain + `"`
	if plain != file {
		s += "; filename*=UTF-8''" + strings.ReplaceAll(url.QueryEscape(file), "+", "%20")
	}
	return s
}
