package node

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"igor.dev/node/price"
	"igor.dev/runtime"
)

// TestNomad has an agent move by itself, from a node to one that is cheaper: of the agents
// in this repository the one that lives where it is cheap and near.
func TestNomad(t *testing.T) {
	customer := httptest.NewServer(http.NotFoundHandler())
	defer customer.Close()
	u, err := url.Parse(customer.URL)
	if err != nil {
		t.Fatal(err)
	}
	wasm := filepath.Join(t.TempDir(), "nomad.wasm")
	build := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags=-s -X main.server="+customer.URL, "-o", wasm, "./nomad")
	build.Dir = filepath.Join("..", "agents")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	program, err := os.ReadFile(wasm)
	if err != nil {
		t.Fatal(err)
	}
	plain := map[string]any{"version": 1}
	man, err := json.Marshal(map[string]any{
		"capabilities": map[string]any{"clock": plain, "log": plain, "pricing": plain, "node": plain,
			"http": map[string]any{"version": 1, "options": map[string]any{"allowed_hosts": []string{u.Host}}}},
		"migration_policy": map[string]any{"enabled": true, "allowed_nodes": []string{did(1), did(2)}, "max_moves_per_day": 5},
	})
	if err != nil {
		t.Fatal(err)
	}
	dear, cheap := newNode(t, 2, nil), newNode(t, 1, func(c *Config) { c.Price = 500 })
	meet(t, dear, cheap)
	agent := dear.bearWith("nomad", program, man)
	cheap.awaitTicks("nomad", 5)
	p := cheap.placeOf("nomad")
	if v := p.View(); v.ID != cheap.public || v.Moving != runtime.Moved || !v.Drain.IsZero() {
		t.Errorf("there it sees %+v", v)
	}
	for began := time.Now(); len(cheap.viewOf("nomad").Offers) == 0; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			t.Fatal("it sees no offer of the node that it came from")
		}
		cheap.askOffers("nomad")
	}
	offers := cheap.viewOf("nomad").Offers
	if o, err := price.Parse(offers[0].Signed); err != nil || o.Node != dear.public || o.Price != 2000 || len(offers) != 1 {
		t.Errorf("there it sees %d offers, the first %+v, %v", len(offers), o, err)
	}
	dear.Drain(time.Hour)
	cheap.askOffers("nomad")
	if offers := cheap.viewOf("nomad").Offers; len(offers) != 0 {
		t.Errorf("a node that drains is offered: %d", len(offers))
	}
	dear.stop()
	cheap.stop()
	oneLife(t, filepath.Join(cheap.dir, "agents", "nomad"), agent, 1)
}
