package witness

import (
	"strconv"

	"igor.dev/verifier"
)

// ForkFormat names the JSON format of what became of a fork proof.
const ForkFormat = "igor-fork-report/1"

const provesNothing = "Nothing: this file does not show that a key lived twice."

// AppendForkJSON appends what a fork proof proves as JSON, or why it proves nothing: f is
// nil then. See docs/spec/forkproof.md, "Report".
func AppendForkJSON(dst []byte, f *Fork, problem error) []byte {
	field := func(name, value string) {
		dst = append(dst, ",\n  \""+name+"\": "...)
		dst = verifier.AppendJSONString(dst, value)
	}
	dst = append(dst, "{\n  \"format\": \""+ForkFormat+"\",\n  \"proven\": "...)
	if f == nil {
		dst = append(dst, "false"...)
		field("problem", problem.Error())
		field("proves", provesNothing)
		return append(dst, "\n}\n"...)
	}
	dst = append(dst, "true"...)
	field("did", f.Agent.DID())
	field("kind", f.Kind.String())
	dst = append(dst, ",\n  \"sides\": ["...)
	for i := range f.Sides {
		s := &f.Sides[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, "\n    {\"checkpoint\": \""+s.Checkpoint.CID()+"\", \"epoch\": \""+strconv.FormatUint(s.Epoch, 10)+"\", \"tick\": \""+strconv.FormatUint(s.Tick, 10)+"\""...)
		if s.Log != "" {
			dst = append(dst, ", \"claimedLog\": "...)
			dst = verifier.AppendJSONString(dst, s.Log)
		}
		if got := f.Witnessed[i]; got != nil {
			dst = append(dst, ", \"witnessed\": {\"log\": "...)
			dst = verifier.AppendJSONString(dst, got.Log)
			dst = append(dst, ", \"index\": \""+strconv.FormatUint(got.Index, 10)+"\""...)
			if got.Before > 0 {
				dst = append(dst, ", \"before\": \""+verifier.FormatTime(got.Before)+"\""...)
			}
			dst = append(dst, '}')
		}
		dst = append(dst, '}')
	}
	dst = append(dst, "\n  ]"...)
	field("proves", f.Proves())
	field("doesNotProve", f.DoesNotProve())
	return append(dst, "\n}\n"...)
}
