package arweave

import "testing"

// FuzzAnswer reads what a gateway answers to a query.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"data": {"transactions": {"pageInfo": {"hasNextPage": true}, "edges": [{"cursor": "a", "node": {"id": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "owner": {"address": "x"}, "tags": [{"name": "Name", "value": "head"}], "data": {"size": "12"}}}]}}}`))
	f.Add([]byte(`{"errors": [{"message": "no"}]}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, b []byte) {
		items, next, err := parseAnswer(b)
		if err != nil && (len(items) > 0 || next != "") {
			t.Error("something beside an error")
		}
		if len(items) > page {
			t.Error(len(items), "items")
		}
	})
}
