package sdktest_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"igor.dev/effects"
	"igor.dev/sdk"
	"igor.dev/sdk/sdktest"
)

// TestSame checks that every world is the same.
func TestSame(t *testing.T) {
	observe := func() (time.Time, time.Time, [64]byte) {
		sdktest.New(t)
		var b [64]byte
		first := sdk.Now()
		if err := sdk.Rand(b[:]); err != nil {
			t.Fatal(err)
		}
		return first, sdk.Now(), b
	}
	a1, a2, ab := observe()
	b1, b2, bb := observe()
	if a1 != b1 || a2 != b2 || ab != bb || !a2.After(a1) || a1.Year() != 2022 {
		t.Errorf("got %v %v %x and %v %v %x", a1, a2, ab, b1, b2, bb)
	}
}

func TestLogAndMoney(t *testing.T) {
	w := sdktest.New(t)
	w.Budget, w.Price = 5, 7
	sdk.Log("one")
	sdk.Log("")
	sdk.Log(strings.Repeat("x", sdk.MaxLog+1))
	if w.Log() != "one\n"+strings.Repeat("x", sdk.MaxLog) {
		t.Errorf("got %.20q", w.Lines)
	}
	if sdk.Balance() != 5 || sdk.Price() != 7 {
		t.Errorf("got %d, %d", sdk.Balance(), sdk.Price())
	}
}

func TestHTTP(t *testing.T) {
	w := sdktest.New(t)
	if _, err := sdk.Get("https://a.example/"); !errors.Is(err, sdk.ErrFailed) {
		t.Errorf("without a web: got error %v", err)
	}
	var seen string
	w.Web = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen = r.Method + " " + r.Host + r.URL.Path + " " + r.Header.Get("X-A") + " " + string(body)
		switch r.URL.Path {
		case "/long":
			w.Write(bytes.Repeat([]byte("x"), 1<<20))
		case "/longer":
			w.Write(make([]byte, 1<<20+1))
		case "/die":
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(http.StatusTeapot)
	})
	got, err := sdk.Do(sdk.Request{Method: "PUT", URL: "https://a.example/b", Header: []string{"X-A: b", "X-C: d"}, Body: []byte("body")})
	if err != nil || got.Status != http.StatusTeapot || len(got.Body) != 0 || seen != "PUT a.example/b b body" {
		t.Errorf("got %+v, %v after %q", got, err, seen)
	}
	before := w.Requests
	if got, err := sdk.Get("https://a.example/long"); err != nil || len(got.Body) != 1<<20 || w.Requests != before+2 {
		t.Errorf("a long answer: got %d bytes, %v after %d requests", len(got.Body), err, w.Requests-before)
	}
	before = w.Requests
	if got, err := sdk.Do(sdk.Request{Method: "POST", URL: "https://a.example/long"}); err != nil || len(got.Body) != 1<<20 || w.Requests != before+1 {
		t.Errorf("a long answer to a side effect: got %d bytes, %v after %d requests", len(got.Body), err, w.Requests-before)
	}
	for _, tt := range []struct {
		r    sdk.Request
		want error
		may  bool
	}{
		{sdk.Request{URL: "https://a.example/longer"}, sdk.ErrTooLarge, true},
		{sdk.Request{URL: "https://a.example/long", Room: 10}, sdk.ErrTooLarge, true},
		{sdk.Request{URL: "https://a.example/die"}, sdk.ErrFailed, true},
		{sdk.Request{URL: "a.example"}, sdk.ErrProcessing, false},
		{sdk.Request{URL: "https://a.example/", Header: []string{"X"}}, sdk.ErrProcessing, false},
		{sdk.Request{URL: "https://a.example/", Body: make([]byte, 1<<20+1)}, sdk.ErrTooLong, false},
	} {
		if _, err := sdk.Do(tt.r); !errors.Is(err, tt.want) || sdk.MayHaveHappened(err) != tt.may {
			t.Errorf("%.40s: got error %v, may have happened %v", tt.r.URL, err, sdk.MayHaveHappened(err))
		}
	}
	for _, cause := range []error{sdk.ErrTimeout, sdk.ErrUnresolved, sdk.ErrNotAllowed} {
		before := w.Requests
		w.Deny = func(call, target string) error { return cause }
		if _, err := sdk.Get("https://a.example/"); !errors.Is(err, cause) || w.Requests != before {
			t.Errorf("denied with %v: got error %v after %d requests", cause, err, w.Requests-before)
		}
		w.Deny, w.Lose = nil, w.Deny
		if _, err := sdk.Get("https://a.example/"); !errors.Is(err, cause) || w.Requests != before+1 {
			t.Errorf("lost with %v: got error %v after %d requests", cause, err, w.Requests-before)
		}
		w.Lose = nil
	}
}

func TestStore(t *testing.T) {
	w := sdktest.New(t)
	if _, err := sdk.Load("a"); !errors.Is(err, sdk.ErrNotFound) {
		t.Errorf("got error %v", err)
	}
	for _, size := range []int{0, 1, 16 << 10, 16<<10 + 1, sdk.MaxValue} {
		value := bytes.Repeat([]byte("v"), size)
		if err := sdk.Store("a", value); err != nil {
			t.Fatal(err)
		}
		if got, err := sdk.Load("a"); err != nil || !bytes.Equal(got, value) {
			t.Errorf("%d bytes: got %d, %v", size, len(got), err)
		}
	}
	if err := sdk.Store("a", make([]byte, sdk.MaxValue+1)); !errors.Is(err, sdk.ErrTooLong) {
		t.Errorf("got error %v", err)
	}
	if _, err := sdk.Load(strings.Repeat("k", sdk.MaxKey+1)); !errors.Is(err, sdk.ErrTooLong) {
		t.Errorf("got error %v", err)
	}
	if err := errors.Join(sdk.Delete("a")); err != nil || len(w.KV) != 0 {
		t.Errorf("got error %v and %d entries", err, len(w.KV))
	}
	if err := sdk.Delete("a"); !errors.Is(err, sdk.ErrNotFound) {
		t.Errorf("got error %v", err)
	}
	var err error
	for i := 0; err == nil && i < 20; i++ {
		err = sdk.Store(string(rune('a'+i)), make([]byte, sdk.MaxValue))
	}
	if !errors.Is(err, sdk.ErrFull) || len(w.KV) != 15 {
		t.Errorf("got error %v with %d values", err, len(w.KV))
	}
}

// TestEffects pays under each way in which a payment can end.
func TestEffects(t *testing.T) {
	w := sdktest.New(t)
	w.Budget = 100
	var log sdk.EffectLog
	pay := func(amount int64) func() error {
		return func() error {
			_, err := sdk.Pay(amount, "bob", "memo")
			return err
		}
	}
	state := func(id string) effects.State {
		i, _ := log.Get(id)
		return i.State
	}
	if err := log.Act("good", nil, pay(10)); err != nil || state("good") != effects.Confirmed {
		t.Errorf("got error %v, %v", err, state("good"))
	}
	if err := log.Act("good", nil, pay(10)); !errors.Is(err, effects.ErrDuplicate) {
		t.Errorf("twice: got error %v", err)
	}
	if err := log.Act("poor", nil, pay(1000)); !errors.Is(err, sdk.ErrFailed) || state("poor") != effects.Compensated {
		t.Errorf("got error %v, %v", err, state("poor"))
	}
	w.Deny = func(call, recipient string) error {
		if call != "wallet_pay" || recipient != "bob" {
			t.Errorf("got %s to %s", call, recipient)
		}
		return sdk.ErrOverCap
	}
	if err := log.Act("capped", nil, pay(10)); !errors.Is(err, sdk.ErrOverCap) || state("capped") != effects.Compensated {
		t.Errorf("got error %v, %v", err, state("capped"))
	}
	w.Deny, w.Lose = nil, func(string, string) error { return sdk.ErrUnresolved }
	if err := log.Act("lost", []byte("data"), pay(10)); !errors.Is(err, sdk.ErrUnresolved) || state("lost") != effects.Unresolved {
		t.Errorf("got error %v, %v", err, state("lost"))
	}
	if open := log.Open(); len(open) != 1 || open[0].ID != "lost" {
		t.Errorf("open are %v", open)
	}
	if len(w.Paid) != 2 || w.Budget != 80 || sdk.Receipts() != 2 {
		t.Errorf("paid %v, %d left", w.Paid, w.Budget)
	}
	if r, err := sdk.Receipt(1); err != nil || string(r) != "payment 1" {
		t.Errorf("got %q, %v", r, err)
	}
	if _, err := sdk.Receipt(2); !errors.Is(err, sdk.ErrFailed) {
		t.Errorf("got error %v", err)
	}
	e := sdk.NewEncoder(1)
	e.Value(&log)
	var again sdk.EffectLog
	d := sdk.NewDecoder(e.Data(), 1)
	d.Value(&again)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if open := again.Open(); len(open) != 1 || open[0].State != effects.Unresolved || string(open[0].Data) != "data" {
		t.Errorf("loaded, open are %v", open)
	}
}

type counter struct{ n uint64 }

func (c *counter) Init()      {}
func (c *counter) Tick() bool { c.n++; return false }
func (c *counter) Marshal() []byte {
	e := sdk.NewEncoder(1)
	e.Uint64(c.n)
	return e.Data()
}
func (c *counter) Unmarshal(b []byte) error {
	sdk.Log("back")
	if _, err := sdk.Get("https://a.example/"); !errors.Is(err, sdk.ErrNotAllowed) {
		return fmt.Errorf("the network: %v", err)
	}
	if _, err := sdk.Pay(1, "bob", ""); !errors.Is(err, sdk.ErrNotAllowed) {
		return fmt.Errorf("a payment: %v", err)
	}
	d := sdk.NewDecoder(b, 1)
	c.n = d.Uint64()
	return d.Close()
}

func TestRestart(t *testing.T) {
	w := sdktest.New(t)
	c := &counter{}
	for range 3 {
		c.Tick()
		c = sdktest.Restart(t, c, &counter{})
	}
	if c.n != 3 || len(w.Lines) != 3 || w.Requests != 0 || len(w.Paid) != 0 {
		t.Errorf("got %d after %q", c.n, w.Lines)
	}
	sdk.Log("heard")
	if len(w.Lines) != 4 {
		t.Error("the world is gone after a restart")
	}
}

// TestStatus checks what a status says of a side effect.
func TestStatus(t *testing.T) {
	w := sdktest.New(t)
	status := 0
	w.Web = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
	for _, tt := range []struct {
		status int
		want   string // of a POST
		may    bool
	}{
		{200, "", false},
		{204, "", false},
		{303, "http_request: status 303: unresolved: it may have happened", true},
		{400, "http_request: status 400: refused or malformed", false},
		{408, "http_request: status 408: unresolved: it may have happened", true},
		{409, "http_request: status 409: refused or malformed", false},
		{500, "http_request: status 500: unresolved: it may have happened", true},
		{503, "http_request: status 503: unresolved: it may have happened", true},
	} {
		status = tt.status
		answer, err := sdk.Do(sdk.Request{Method: "POST", URL: "https://a.example/"})
		if err != nil {
			t.Fatal(err)
		}
		got := answer.Err()
		if got == nil && tt.want != "" || got != nil && got.Error() != tt.want || sdk.MayHaveHappened(got) != tt.may {
			t.Errorf("%d: got %v, may have happened %v", status, got, sdk.MayHaveHappened(got))
		}
	}
	status = 500
	answer, err := sdk.Get("https://a.example/")
	if err != nil || answer.Err() == nil || answer.Err().Error() != "http_request: status 500: failed" {
		t.Errorf("got %v, %v of a GET", answer.Err(), err)
	}
}

func TestNode(t *testing.T) {
	w := sdktest.New(t)
	_, id := sdk.NodeID()
	_, peers := sdk.Peers()
	_, offer := sdk.PeerOffer(0)
	_, status := sdk.MigrateStatus()
	_, drain := sdk.DrainDeadline()
	for _, err := range []error{id, peers, offer, status, drain, sdk.Migrate("did:key:z6Mk")} {
		if !errors.Is(err, sdk.ErrNotOnNode) || !strings.HasSuffix(err.Error(), ": not on a node") {
			t.Errorf("without a node: got error %v", err)
		}
	}

	w.Node = &sdktest.Node{ID: "did:key:" + strings.Repeat("z", 200), Offers: [][]byte{[]byte("offer")}, Drain: w.Time}
	if id, err := sdk.NodeID(); err != nil || id != w.Node.ID {
		t.Errorf("got %q, %v", id, err)
	}
	if n, err := sdk.Peers(); err != nil || n != 1 {
		t.Errorf("got %d, %v", n, err)
	}
	if offer, err := sdk.PeerOffer(0); err != nil || string(offer) != "offer" {
		t.Errorf("got %q, %v", offer, err)
	}
	if d, err := sdk.DrainDeadline(); err != nil || !d.Equal(w.Time) {
		t.Errorf("got %v, %v", d, err)
	}
	if err := sdk.Migrate("did:key:there"); err != nil || w.Node.Wish != "did:key:there" {
		t.Errorf("got %q, %v", w.Node.Wish, err)
	}
	if s, err := sdk.MigrateStatus(); err != nil || s != sdk.Asked {
		t.Errorf("got %v, %v", s, err)
	}
	w.Deny = func(call, _ string) error { return sdk.ErrNotAllowed }
	if err := sdk.Migrate("did:key:other"); !errors.Is(err, sdk.ErrNotAllowed) || w.Node.Wish == "did:key:other" {
		t.Errorf("got error %v", err)
	}
}

// TestPaidRequests has requests that are paid, and whose answers do not come. What is
// paid for happened, and is never taken for undone; what was never paid did not happen.
func TestPaidRequests(t *testing.T) {
	for _, c := range []struct {
		cause error
		text  string
		may   bool
		state effects.State
	}{
		{sdk.ErrNotDelivered, "http_request: paid, not delivered", true, effects.Confirmed},
		{sdk.ErrNotSettled, "http_request: payment not settled", false, effects.Compensated},
		{sdk.ErrUnresolved, "http_request: unresolved: it may have happened", true, effects.Unresolved},
	} {
		for _, method := range []string{"GET", "POST"} {
			w := sdktest.New(t)
			w.Web = http.NotFoundHandler()
			w.Lose = func(_, _ string) error { return c.cause }
			var log sdk.EffectLog
			get := func() error {
				_, err := sdk.Do(sdk.Request{Method: method, URL: "https://a.example/"})
				return err
			}
			err := log.Act("a", nil, get)
			if !errors.Is(err, c.cause) || sdk.MayHaveHappened(err) != c.may || err.Error() != c.text {
				t.Errorf("%s: got error %v", method, err)
			}
			if i, ok := log.Get("a"); !ok || i.State != c.state {
				t.Errorf("%s, %v: the intent is %v", method, c.cause, i.State)
			}
			if len(w.Effects) != 1 {
				t.Fatalf("%s, %v: the world has %d effects", method, c.cause, len(w.Effects))
			}
		}
	}
}

// TestPaidGetIsKnownAgain has a tick fail that paid for a GET. The act that makes the
// same request gets its answer, and pays nothing.
func TestPaidGetIsKnownAgain(t *testing.T) {
	w := sdktest.New(t)
	w.Web = http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.Write([]byte("data")) })
	get := func() error {
		_, err := sdk.Get("https://a.example/")
		return err
	}
	w.Lose = func(_, _ string) error { return sdk.ErrUnresolved }
	get() // in a tick that failed
	w.Lose = nil
	for _, told := range []sdk.Outcome{sdk.OutcomeUnresolved, sdk.OutcomeEnded} {
		a := &logged{}
		w.Tell(t, a, told, 0)
		a = sdktest.Restart(t, a, &logged{})
		before := w.Requests
		if err := a.log.Act("a", nil, get); !errors.Is(err, sdk.ErrUnresolved) || w.Requests != before {
			t.Errorf("told %d: %v, and %d requests", told, err, w.Requests-before)
		}
		if told == sdk.OutcomeUnresolved {
			w.Tell(t, a, sdk.OutcomeConfirmed, 0)
			if open := a.log.Open(); len(open) != 0 {
				t.Errorf("still open: %v", open)
			}
		}
		if err := a.log.Act("b", nil, get); err != nil || w.Requests != before+1 {
			t.Errorf("told %d: %v, and %d requests", told, err, w.Requests-before)
		}
	}
}

// logged is an agent that has an effect log and nothing else.
type logged struct{ log sdk.EffectLog }

func (*logged) Init()                            {}
func (*logged) Tick() bool                       { return false }
func (*logged) Observe(sdk.Finding, string) bool { return true }

func (l *logged) Marshal() []byte {
	e := sdk.NewEncoder(1)
	e.Value(&l.log)
	return e.Data()
}

func (l *logged) Unmarshal(b []byte) error {
	d := sdk.NewDecoder(b, 1)
	d.Value(&l.log)
	return d.Close()
}
