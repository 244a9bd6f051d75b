package verifier

// Lie changes what the fast check of signatures says, for a test of what happens if it is wrong.
func (x *Examiner) Lie(lie func(valid []bool)) { x.signatures.Lie = lie }
