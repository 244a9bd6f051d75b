package sandbox

import (
	_ "unsafe" // for go:linkname

	"igor.dev/runtime/internal/fuel"
)

// Where the engine has no compiler it interprets, and its interpreter ends a call
// at 2,000 frames, which no option raises: less than the schedule allows, so that
// an agent would fail on that machine alone. Its own stack is Go's, which grows.
//
//go:linkname interpreterFrames github.com/tetratelabs/wazero/internal/engine/interpreter.callStackCeiling
var interpreterFrames int

func init() { interpreterFrames = fuel.MaxDepth } // each frame weighs more than 1
