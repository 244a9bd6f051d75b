package witness

import "igor.dev/verifier"

// ForkFormat names the JSON format of what became of a fork proof.
const ForkFormat = "igor-fork-report/1"

// AppendForkJSON appends what a fork proof proves as JSON, or why it proves nothing: f is
// nil then. See docs/spec/forkproof.md, "Report".
func AppendForkJSON(dst []byte, f *Fork, problem error) []byte {
	w := jsonWriter(dst)
	w.add("{\n  \"format\": ", ForkFormat, ",\n  \"proven\": ")
	if f == nil {
		w.add("false,\n  \"problem\": ", problem.Error(), ",\n  \"proves\": ", "Nothing: this file does not show that a key lived twice.", "\n}\n")
		return w
	}
	w.add("true,\n  \"did\": ", f.Agent.DID(), ",\n  \"kind\": ", f.Kind.String(), ",\n  \"sides\": [")
	between := ""
	for i := range f.Sides {
		s := &f.Sides[i]
		w.add(between+"\n    {\"checkpoint\": ", s.Checkpoint.CID(), ", \"epoch\": ", decimal(s.Epoch), ", \"tick\": ", decimal(s.Tick))
		if s.Log != "" {
			w.add(", \"claimedLog\": ", s.Log)
		}
		if got := s.Witnessed; got != nil {
			w.add(", \"witnessed\": {\"log\": ", got.Log, ", \"index\": ", decimal(got.Index))
			if got.Before > 0 {
				w.add(", \"before\": ", verifier.FormatTime(got.Before))
			}
			w.add("}")
		}
		w.add("}")
		between = ","
	}
	w.add("\n  ],\n  \"proves\": ", f.Proves(), ",\n  \"doesNotProve\": ", f.DoesNotProve(), "\n}\n")
	return w
}

// A jsonWriter appends JSON.
type jsonWriter []byte

// add appends text as it is, a string of JSON, text again, and so on.
func (w *jsonWriter) add(parts ...string) {
	for i, s := range parts {
		if i&1 == 0 {
			*w = append(*w, s...)
		} else {
			*w = verifier.AppendJSONString(*w, s)
		}
	}
}
