package runtime

// tellFindings takes notice of what the tick that ended was told.
func (l *life) tellFindings() {}
