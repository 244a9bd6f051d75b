//go:build js && wasm

package main

import (
	"strconv"

	"igor.dev/verifier"
)

// inspect says what one checkpoint claims and what examining it finds.
// Input: its bytes. Result: JSON, of which site/verify/inspect.ts has the type.
//
//go:wasmexport inspect
func inspect() int32 {
	f := examiner.Examine(input)
	output = append(output[:0], `{"size":`...)
	output = strconv.AppendInt(output, int64(f.Size), 10)
	member("cid", f.ContentHash.CID())
	member("contentHash", f.ContentHash.String())
	if f.Parsed() && f.Version == verifier.Version4 {
		member("did", f.AgentPubKey.DID())
		if !f.PrevHash.IsZero() {
			member("previous", f.PrevHash.CID())
		}
	}
	member("kind", f.Kind.String())
	member("looksLike", f.Kind.What())
	member("signature", signature(&f))
	output = append(output, `,"problems":[`...)
	separator := ""
	for c := verifier.Empty; c <= verifier.NegativePrice; c++ {
		if f.Has(c) {
			output = append(output, separator...)
			quote(c.String())
			separator = ","
		}
	}
	output = append(output, `],"fields":[`...)
	separator = ""
	for _, field := range verifier.Fields(input) {
		output = append(append(output, separator...), `{"name":`...)
		quote(field.Name)
		output = append(output, `,"offset":`...)
		output = strconv.AppendInt(output, int64(field.Offset), 10)
		output = append(output, `,"size":`...)
		output = strconv.AppendInt(output, int64(field.Size), 10)
		member("type", field.Type)
		member("note", field.Note)
		if value, ok := value(&f, field); ok {
			member("value", value)
		}
		output = append(output, '}')
		separator = ","
	}
	output = append(output, "]}"...)
	return done()
}

// kind says what an input is. Input: its name, of which the size is given, then its
// first 512 bytes, or all if there are fewer, or none to go by the name alone.
// Result: five lines, the kind as a report has it, its use, what it is, what to do about
// it, which is empty for what is read, and what it is looked at for beside a history.
//
//go:wasmexport kind
func kind(nameSize uint32) int32 {
	in := reader{rest: input}
	name := in.take(nameSize)
	if in.bad {
		return fail(errInput)
	}
	k := verifier.KindOf(string(name), in.rest)
	output = append(output[:0], k.String()+"\n"+k.Use().String()+"\n"+k.What()+"\n"+k.Next()+"\n"+verifier.RoleOf(string(name), in.rest).String()...)
	return done()
}

func signature(f *verifier.Finding) string {
	switch {
	case !f.Parsed() || f.Version != verifier.Version4:
		return "none"
	case f.Authentic():
		return "valid"
	}
	return "invalid"
}

// value returns a field's value in decimal or, if it is a hash or a key, in hex.
// A signature and a state are for the caller to show.
func value(f *verifier.Finding, field verifier.Field) (string, bool) {
	switch field.Name {
	case "version":
		return strconv.Itoa(int(f.Version)), true
	case "budget":
		return strconv.FormatInt(f.Budget, 10), true
	case "pricePerSecond":
		return strconv.FormatInt(f.PricePerSecond, 10), true
	case "tickNumber":
		return strconv.FormatUint(f.TickNumber, 10), true
	case "wasmHash":
		return f.WASMHash.String(), true
	case "majorVersion":
		return strconv.FormatUint(f.MajorVersion, 10), true
	case "leaseGeneration":
		return strconv.FormatUint(f.LeaseGeneration, 10), true
	case "leaseExpiry":
		return strconv.FormatInt(f.LeaseExpiry, 10), true
	case "prevHash":
		return f.PrevHash.String(), true
	case "agentPubKey":
		return f.AgentPubKey.String(), true
	}
	return "", false
}

func member(name, value string) {
	output = append(output, ',')
	quote(name)
	output = append(output, ':')
	quote(value)
}

// quote appends a string that needs no escaping: those of package verifier are
// printable, and have neither quotation marks nor backslashes.
func quote(s string) {
	output = append(append(append(output, '"'), s...), '"')
}
