package publish

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"igor.dev/verifier"
	"igor.dev/verifier/published"
)

// A Tree serves a folder in which lives are published: what [Publish] or an archive wrote. It
// serves the files of the layout, if they are what their names say, and nothing else that lies
// there.
type Tree struct {
	root *os.Root

	mu    sync.Mutex
	lives map[verifier.PublicKey]*blocks
}

// OpenTree opens a folder in which lives are published.
func OpenTree(dir string) (*Tree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &Tree{root: root, lives: make(map[verifier.PublicKey]*blocks)}, nil
}

// Close closes the folder.
func (t *Tree) Close() error { return t.root.Close() }

// Agents returns the agents whose lives are published there.
func (t *Tree) Agents() ([]verifier.PublicKey, error) {
	entries, err := fs.ReadDir(t.root.FS(), "igor")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var agents []verifier.PublicKey
	for _, e := range entries {
		if key, err := verifier.ParseDID(e.Name()); err == nil && e.IsDir() {
			if _, err := t.Head(key); err == nil {
				agents = append(agents, key)
			}
		}
	}
	return agents, err
}

// Head returns where a life stands.
func (t *Tree) Head(agent verifier.PublicKey) (*published.Head, error) {
	b, err := readSmall(t.root, published.HeadKey(agent), published.MaxHead)
	if err != nil {
		return nil, err
	}
	h, err := published.ParseHead(b)
	if err == nil && h.Agent != agent {
		err = errors.New("it names another agent")
	}
	return h, err
}

// A Server serves the lives of some trees: of each life, the one that went furthest.
type Server struct{ Trees []*Tree }

// An immutable answer may be kept for ever, by anybody.
const immutable = "public, max-age=31536000, immutable"

// ServeHTTP answers GET and HEAD for the paths of the layout.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Access-Control-Allow-Origin", "*")
	header.Set("Access-Control-Expose-Headers", "Content-Length, Content-Range, ETag, X-Ipfs-Path, X-Ipfs-Roots")
	header.Set("Cross-Origin-Resource-Policy", "cross-origin")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	header.Set("Referrer-Policy", "no-referrer")
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodOptions:
		header.Set("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
		header.Set("Access-Control-Allow-Headers", "Accept, Cache-Control, If-Match, If-None-Match, If-Range, Range")
		header.Set("Access-Control-Max-Age", "86400")
		w.WriteHeader(http.StatusNoContent)
		return
	default:
		header.Set("Allow", "GET, HEAD, OPTIONS")
		refuse(w, http.StatusMethodNotAllowed, "only GET and HEAD are answered")
		return
	}
	switch parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/"), "/"); {
	case parts[0] == "ipfs" && len(parts) == 2:
		s.block(w, r, parts[1])
	case parts[0] == "igor" && len(parts) >= 3:
		agent, err := verifier.ParseDID(parts[1])
		if err != nil {
			refuse(w, http.StatusBadRequest, err.Error())
			return
		}
		s.life(w, r, agent, strings.Join(parts[2:], "/"))
	default:
		refuse(w, http.StatusNotFound, "there is nothing here: lives are at /igor/DID/head, checkpoints at /ipfs/CID")
	}
}

func refuse(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	fmt.Fprintln(w, text)
}

// life answers for a file of a life.
func (s *Server) life(w http.ResponseWriter, r *http.Request, agent verifier.PublicKey, name string) {
	tree, head := s.find(agent)
	if tree == nil {
		refuse(w, http.StatusNotFound, "no life of this agent is published here")
		return
	}
	key := published.Folder(agent) + "/" + name
	header := w.Header()
	cache, kind := "no-cache", published.TypeHead
	var check func(start []byte, size int64) bool
	switch {
	case key == published.HeadKey(agent):
		text := head.Append(nil)
		header.Set("Cache-Control", cache)
		header.Set("Content-Type", kind)
		header.Set("Etag", etag(text))
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(text))
		return
	case besideLimit(name) > 0:
		content, err := readSmall(tree.root, key, besideLimit(name))
		if err != nil || !isBeside(name, content) {
			refuse(w, http.StatusNotFound, "it is not published here")
			return
		}
		header.Set("Cache-Control", cache)
		header.Set("Content-Type", published.TypeIndex)
		header.Set("Etag", etag(content))
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
		return
	case key == published.IndexKey(agent):
		kind = published.TypeIndex
		check = func(start []byte, size int64) bool {
			// Nothing but an index begins with the hash of a genesis; here its size has to do.
			return size%int64(published.HashSize) == 0 && size >= int64(head.Checkpoints)*int64(published.HashSize)
		}
	default:
		if !isCAR(agent, key) {
			refuse(w, http.StatusNotFound, "there is nothing here")
			return
		}
		cache, kind = immutable, published.TypeCAR
		header.Set("Content-Disposition", `attachment; filename="`+strings.ReplaceAll(strings.TrimPrefix(name, "segments/"), "/", "-")+`"`)
		check = func(start []byte, size int64) bool {
			return verifier.KindOfBytes(start) == verifier.KindCAR && size <= published.MaxSegment
		}
	}
	f, err := openRegular(tree.root, key)
	if err != nil {
		header.Del("Content-Disposition")
		refuse(w, http.StatusNotFound, "it is not published here")
		return
	}
	defer f.Close()
	start := make([]byte, verifier.KindStart)
	n, err := f.ReadAt(start, 0)
	info, statErr := f.Stat()
	if err != nil && err != io.EOF || statErr != nil {
		refuse(w, http.StatusInternalServerError, "it cannot be read")
		return
	}
	if !check(start[:n], info.Size()) {
		header.Del("Content-Disposition")
		refuse(w, http.StatusNotFound, "what lies here is not what its name says, and is not served")
		return
	}
	header.Set("Cache-Control", cache)
	header.Set("Content-Type", kind)
	header.Set("Etag", fmt.Sprintf(`"%x-%x"`, info.Size(), info.ModTime().UnixNano()))
	http.ServeContent(w, r, "", time.Time{}, f)
}

func etag(b []byte) string {
	sum := sha256.Sum256(b)
	return fmt.Sprintf(`"%x"`, sum[:16])
}

// isCAR reports whether a key is that of a segment or a tail.
func isCAR(agent verifier.PublicKey, key string) bool {
	name, ok := strings.CutSuffix(path.Base(key), ".car")
	if !ok {
		return false
	}
	if n, err := strconv.ParseUint(name, 10, 32); err == nil && key == published.SegmentKey(agent, n) {
		return true
	}
	h, err := verifier.ParseCID(name)
	return err == nil && key == published.TailKey(agent, h)
}

// find returns where a life went furthest.
func (s *Server) find(agent verifier.PublicKey) (tree *Tree, head *published.Head) {
	for _, t := range s.Trees {
		if h, err := t.Head(agent); err == nil && (head == nil || h.Tick > head.Tick) {
			tree, head = t, h
		}
	}
	return tree, head
}

// checkpoint returns a checkpoint, or nil.
func (s *Server) checkpoint(h verifier.Hash) []byte {
	for _, t := range s.Trees {
		if b, err := readSmall(t.root, published.BlockKey(h), verifier.MaxCheckpointSize); err == nil && sha256.Sum256(b) == h {
			return b
		}
	}
	for _, t := range s.Trees {
		if b := t.block(h); b != nil {
			return b
		}
	}
	return nil
}

// block looks for a checkpoint in the segments.
func (t *Tree) block(h verifier.Hash) []byte {
	agents, err := t.Agents()
	if err != nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, agent := range agents {
		head, err := t.Head(agent)
		if err != nil {
			continue
		}
		b := t.lives[agent]
		if b == nil {
			b = &blocks{at: make(map[uint64][]place)}
			t.lives[agent] = b
		}
		if b.head != head.Checkpoint {
			b.read(t.root, head)
		}
		if found := b.find(t.root, agent, h); found != nil {
			return found
		}
	}
	return nil
}

// blocks knows where the checkpoints of a life are in its segments and its tail.
type blocks struct {
	head     verifier.Hash // as of which
	segments uint64        // that were read
	at       map[uint64][]place
	tail     map[uint64][]place
}

// A place is where a checkpoint is: of a tail, the segment has no number.
type place struct{ segment, offset, size uint32 }

// read reads what came since: the segments are as they were.
func (b *blocks) read(root *os.Root, head *published.Head) {
	for ; b.segments < head.Segments; b.segments++ {
		if scan(root, published.SegmentKey(head.Agent, b.segments), uint32(b.segments), b.at) != nil {
			return
		}
	}
	b.tail = make(map[uint64][]place)
	if head.Tail > 0 && scan(root, published.TailKey(head.Agent, head.Checkpoint), 0, b.tail) != nil {
		return
	}
	b.head = head.Checkpoint
}

// find returns a checkpoint, if its bytes are those that its hash says.
func (b *blocks) find(root *os.Root, agent verifier.PublicKey, h verifier.Hash) []byte {
	prefix := binary.BigEndian.Uint64(h[:])
	for i, places := range [][]place{b.at[prefix], b.tail[prefix]} {
		for _, p := range places {
			key := published.SegmentKey(agent, uint64(p.segment))
			if i == 1 {
				key = published.TailKey(agent, b.head)
			}
			f, err := openRegular(root, key)
			if err != nil {
				continue
			}
			block := make([]byte, p.size)
			_, err = f.ReadAt(block, int64(p.offset))
			f.Close()
			if err == nil && sha256.Sum256(block) == h {
				return block
			}
		}
	}
	return nil
}

// scan notes where the blocks of a segment are, and reads no more of it than where each begins.
func scan(root *os.Root, key string, number uint32, at map[uint64][]place) error {
	f, err := openRegular(root, key)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() > published.MaxSegment {
		return errors.New("too large for a segment")
	}
	const cid = 4 + len(verifier.Hash{})
	type found struct {
		prefix uint64
		place
	}
	var all []found
	start := make([]byte, binary.MaxVarintLen32+cid)
	for offset, first := int64(0), true; offset < info.Size(); first = false {
		n, err := f.ReadAt(start, offset)
		if err != nil && err != io.EOF {
			return err
		}
		length, size := binary.Uvarint(start[:n])
		end := offset + int64(size) + int64(length)
		if size <= 0 || length > published.MaxSegment || end > info.Size() {
			return errors.New("not a segment")
		}
		if !first {
			if length < uint64(cid) || n < size+cid {
				return errors.New("not a segment")
			}
			prefix := binary.BigEndian.Uint64(start[size+4:])
			all = append(all, found{prefix, place{number, uint32(offset) + uint32(size+cid), uint32(length) - uint32(cid)}})
		}
		offset = end
	}
	for _, f := range all {
		at[f.prefix] = append(at[f.prefix], f.place)
	}
	return nil
}
