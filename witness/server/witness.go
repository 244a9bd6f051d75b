package server

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"crypto/sha256"
	"encoding/hex"

	"filippo.io/torchwood"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A WitnessConfig says how to witness logs.
type WitnessConfig struct {
	Dir    string // what was cosigned last, a file a log
	Key    *Key
	Logs   []string // the keys of logs that are cosigned
	Logger *slog.Logger
}

// A Witness cosigns what a log says of itself, if nothing was taken back since it last
// did (c2sp.org/tlog-witness).
type Witness struct {
	config WitnessConfig
	signer note.Signer
	logs   map[string]note.Verifiers // by their names

	refused *prometheus.CounterVec

	mu  sync.Mutex // one checkpoint at a time, from the look at the old one until the new one is kept
	mux http.ServeMux
}

// OpenWitness opens a witness.
func OpenWitness(c WitnessConfig) (*Witness, error) {
	w := &Witness{config: c, logs: map[string]note.Verifiers{}, refused: prometheus.NewCounterVec(
		prometheus.CounterOpts{Name: "igor_log_witness_refused_total", Help: "requests that were not cosigned, by what was wrong: request, log, signature, or history, where the log took something back"}, []string{"reason"})}
	var err error
	if w.signer, err = c.Key.signer(); err != nil {
		return nil, err
	}
	byName := map[string][]note.Verifier{}
	for _, key := range c.Logs {
		v, err := note.NewVerifier(key)
		if err != nil {
			return nil, fmt.Errorf("the key %q: %w: %w", key, ErrKey, err)
		}
		byName[v.Name()] = append(byName[v.Name()], v)
	}
	for name, all := range byName {
		w.logs[name] = note.VerifierList(all...)
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, err
	}
	w.mux.HandleFunc("POST /add-checkpoint", w.addCheckpoint)
	return w, nil
}

func (w *Witness) ServeHTTP(rw http.ResponseWriter, r *http.Request) { w.mux.ServeHTTP(rw, r) }

// A refusal is why nothing is cosigned.
type refusal struct {
	status int
	text   string
	size   int64 // of a conflict: what is known
}

func (r *refusal) Error() string { return r.text }

func (w *Witness) addCheckpoint(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, 64<<10))
	if err != nil {
		http.Error(rw, "longer than a checkpoint is", http.StatusRequestEntityTooLarge)
		return
	}
	lines, err := w.cosign(string(body))
	var no *refusal
	switch {
	case errors.As(err, &no) && no.status == http.StatusConflict:
		rw.Header().Set("Content-Type", "text/x.tlog.size")
		rw.WriteHeader(no.status)
		fmt.Fprintf(rw, "%d\n", no.size)
	case errors.As(err, &no):
		reason := map[int]string{http.StatusNotFound: "log", http.StatusForbidden: "signature", http.StatusUnprocessableEntity: "history"}[no.status]
		w.refused.WithLabelValues(cmp.Or(reason, "request")).Inc()
		w.config.Logger.Warn("not cosigned", "reason", no.text)
		http.Error(rw, no.text, no.status)
	case err != nil:
		w.config.Logger.Error("not cosigned", "error", err)
		http.Error(rw, "the witness cannot keep what it cosigns", http.StatusInternalServerError)
	default:
		io.WriteString(rw, lines)
	}
}

// cosign returns the witness's signature lines for a request.
func (w *Witness) cosign(body string) (string, error) {
	bad := &refusal{status: http.StatusBadRequest, text: "not a request of c2sp.org/tlog-witness"}
	head, signed, ok := strings.Cut(body, "\n\n")
	lines := strings.Split(head, "\n")
	old, isOld := strings.CutPrefix(lines[0], "old ")
	oldSize, err := strconv.ParseInt(old, 10, 64)
	if !ok || !isOld || err != nil || oldSize < 0 || len(lines) > 64 {
		return "", bad
	}
	proof := make(tlog.TreeProof, len(lines)-1)
	for i, line := range lines[1:] {
		if proof[i], err = tlog.ParseHash(line); err != nil {
			return "", bad
		}
	}
	origin, _, _ := strings.Cut(signed, "\n")
	keys, ok := w.logs[origin]
	if !ok {
		return "", &refusal{status: http.StatusNotFound, text: "a log that is not known here: " + strconv.Quote(origin)}
	}
	n, err := note.Open([]byte(signed), keys)
	if err != nil {
		return "", &refusal{status: http.StatusForbidden, text: "the log's signature is missing or wrong"}
	}
	c, err := torchwood.ParseCheckpoint(n.Text)
	if err != nil || c.Origin != origin {
		return "", bad
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	known, err := w.read(origin)
	switch {
	case err != nil:
		return "", err
	case oldSize > c.N:
		return "", bad
	case known.N != oldSize:
		return "", &refusal{http.StatusConflict, "another size is known", known.N}
	case known.N > 0:
		if err := tlog.CheckTree(proof, c.N, c.Hash, known.N, known.Hash); err != nil {
			return "", &refusal{status: http.StatusUnprocessableEntity, text: "the log took something back: its tree of " + strconv.FormatInt(c.N, 10) + " entries does not have that of " + strconv.FormatInt(known.N, 10) + " in it"}
		}
	case len(proof) > 0:
		return "", bad
	}
	// What was cosigned is kept before anybody has the cosignature.
	if err := writeWhole(w.file(origin), []byte(c.String()), 0o600, true); err != nil {
		return "", err
	}
	cosigned, err := note.Sign(&note.Note{Text: n.Text}, w.signer)
	if err != nil {
		return "", err
	}
	return string(cosigned[len(n.Text)+1:]), nil
}

// read returns what was last cosigned of a log, nothing if there is none.
func (w *Witness) read(origin string) (c torchwood.Checkpoint, err error) {
	b, err := os.ReadFile(w.file(origin))
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err == nil {
		c, err = torchwood.ParseCheckpoint(string(b))
	}
	if err == nil && c.Origin != origin {
		err = errors.New("of another log")
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", w.file(origin), err)
	}
	return c, err
}

func (w *Witness) file(origin string) string {
	name := sha256.Sum256([]byte(origin))
	return filepath.Join(w.config.Dir, hex.EncodeToString(name[:]))
}
