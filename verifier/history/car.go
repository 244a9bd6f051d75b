package history

import (
	"io"

	"igor.dev/verifier"
)

// EachBlock calls each with every block of a CAR, in order, and with what examining
// it finds. Whether the CAR is whole is known at its end: an error takes back all
// that was given. block is valid during the call.
func EachBlock(r io.Reader, each func(block []byte, f *verifier.Finding) error) error {
	var car verifier.CARReader
	chunk := make([]byte, chunkSize)
	for {
		n, readErr := r.Read(chunk)
		car.Feed(chunk[:n])
		for {
			b, ok, err := car.Next()
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			f := verifier.Examine(b.Data)
			if err := car.Check(b.Index, b.UnverifiedCID, &f); err != nil {
				return err
			}
			if err := each(b.Data, &f); err != nil {
				return err
			}
		}
		switch {
		case readErr == io.EOF:
			return car.Close()
		case readErr != nil:
			return readErr
		}
	}
}
