//go:build !unix

package runtime

func systemFiles() int { return 0 }
