package pay

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"

	"igor.dev/verifier/receipt"
)

// MaxAnswer is how long an answer may be, in bytes. A longer one is none.
const MaxAnswer = 64 << 10

// A Status is what an endpoint says of a payment.
type Status string

// The statuses, each with the HTTP statuses that it comes with.
const (
	Settled Status = "settled" // 200
	Refused Status = "refused" // 402, 403, 422
	Unknown Status = "unknown" // 404
)

var statuses = map[Status][]int{
	Settled: {http.StatusOK},
	Refused: {http.StatusPaymentRequired, http.StatusForbidden, http.StatusUnprocessableEntity},
	Unknown: {http.StatusNotFound},
}

// An Answer is the JSON that an endpoint answers with.
type Answer struct {
	Status Status `json:"status"`
	Nonce  string `json:"nonce"` // lower-case hexadecimal
	Amount int64  `json:"amountMicrocents,string,omitempty"`
}

// Write answers with a, and the HTTP status that belongs to it.
func (a Answer) Write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(statuses[a.Status][0])
	json.NewEncoder(w).Encode(a)
}

// ParseAnswer returns what an endpoint says of a payment. Its nonce has to be there,
// and the amount if the endpoint claims to have the payment, for whatever else
// answers at an address (a captive portal, a proxy, a page for every path) knows
// neither.
func ParseAnswer(code int, contentType string, body io.Reader, p *receipt.Payment) (Status, error) {
	if kind, _, err := mime.ParseMediaType(contentType); err != nil || kind != "application/json" {
		return "", fmt.Errorf("its Content-Type is %q, not application/json", contentType)
	}
	b, err := io.ReadAll(io.LimitReader(body, MaxAnswer+1))
	if err != nil {
		return "", err
	}
	if len(b) > MaxAnswer {
		return "", fmt.Errorf("it is over %d bytes", MaxAnswer)
	}
	var a Answer
	if err := json.Unmarshal(b, &a); err != nil {
		return "", err
	}
	switch nonce := hex.EncodeToString(p.Nonce[:]); {
	case statuses[a.Status] == nil:
		return "", fmt.Errorf("the status in it is %.20q, and not settled, refused or unknown", a.Status)
	case !slices.Contains(statuses[a.Status], code):
		return "", fmt.Errorf("it says %s with HTTP status %d", a.Status, code)
	case a.Nonce != nonce:
		return "", errors.New("the nonce in it is not that of the payment")
	case a.Status != Unknown && a.Amount != p.Amount:
		return "", fmt.Errorf("the amount in it is %d microcents, and %d were to be paid", a.Amount, p.Amount)
	}
	return a.Status, nil
}
