// Package verifier checks the histories of Igor's agents: whether checkpoints
// are one unbroken life, signed by one key.
//
// It is two pure functions. [Examine] looks at one checkpoint's bytes and gives a
// small [Finding]; that is the expensive part, and runs anywhere, in parallel.
// [Link] takes a [Pile] of findings, in any order, and gives one [Report]:
//
//	verified     one path from a genesis to a head, and nothing else
//	incomplete   nothing supplied is wrong, but it is not a whole life
//	invalid      something supplied is wrong
//
// The formats and rules are those of docs/spec: checkpoint.md ([Parse],
// [Checkpoint.Append], [PublicKey.DID], [Hash.CID]), lineage.md ([Link],
// [Report.WriteJSON]) and car.md ([CARReader], [AppendCARHeader]).
//
// The package reads no file, asks no clock and holds no private key. It imports
// only the standard library and nothing that uses package fmt, reflect or
// encoding/json by itself, since it also runs in the browser. Package history
// beside it verifies folders and CARs of any size on all cores.
package verifier
