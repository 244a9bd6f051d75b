package sdktest_test

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"igor.dev/effects"
	"igor.dev/sdk"
	"igor.dev/sdk/sdktest"
)

const orders = "https://orders.example.com/"

type buyer struct{ log sdk.EffectLog }

func (a *buyer) order(data []byte) {
	err := a.log.Act("order-7", data, func() error {
		answer, err := sdk.Do(sdk.Request{Method: "POST", URL: orders, Body: data})
		if err != nil {
			return err
		}
		return answer.Err() // 4xx: it did not happen; 5xx: it may have
	})
	if sdk.MayHaveHappened(err) {
		// Nobody knows. It stays in a.log.Open() until the agent has asked, in a
		// later tick, and calls Confirm or Compensate.
		sdk.Log("order-7 may have happened: " + err.Error())
	}
}

// TestAgentsPage runs the code of docs/agents.md.
func TestAgentsPage(t *testing.T) {
	for status, want := range map[int]effects.State{201: effects.Confirmed, 409: effects.Compensated, 503: effects.Unresolved} {
		w := sdktest.New(t)
		w.Web = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		a := &buyer{}
		a.order([]byte("two"))
		var got effects.State
		for i := range a.log.All() {
			got = i.State
		}
		if open := len(a.log.Open()); got != want || (open == 1) != (want == effects.Unresolved) || (len(w.Lines) == 1) != (want == effects.Unresolved) {
			t.Errorf("status %d: %v, %d open, want %v; it said %q", status, got, open, want, w.Lines)
		}
	}

	page, err := os.ReadFile("../../docs/agents.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("docs_test.go")
	if err != nil {
		t.Fatal(err)
	}
	shown := strings.Split(string(page), "```go\n")[1:]
	if len(shown) != 1 {
		t.Fatalf("the page shows %d pieces of code, want 1", len(shown))
	}
	code, _, _ := strings.Cut(shown[0], "```")
	if indented := "\t" + strings.ReplaceAll(strings.TrimSpace(code), "\n", "\n\t"); !strings.Contains(string(source), indented) {
		t.Errorf("the page shows other code than this test runs:\n%s", code)
	}
}
