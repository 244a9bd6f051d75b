// Package policy has the content security policies of the site's files, for the
// pages themselves and for the servers that send them.
package policy

// What a page is allowed is all that it needs: run the site's own scripts,
// compile the verifier, and show an image that was made in the page. No text is ever
// taken for HTML or for a script's address, but by the two policies that start its own workers.
const common = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; " +
	"font-src 'self'; img-src 'self' blob:; manifest-src 'self'; base-uri 'none'; form-action 'none'; " +
	"require-trusted-types-for 'script'; trusted-types igor-site igor-verify; "

// LoadPage is the only page that may ask other servers. Its script narrows that
// down to the one address that the visitor's link names, before anything else runs.
const LoadPage = "load.html"

// embedPage has a badge that reads the visitor's own history, which is in the page's memory.
const embedPage = "embed.html"

// For returns the policy of a file, by its path in the site.
func For(path string) string {
	switch path {
	case LoadPage:
		return common + "connect-src 'self' https: http:"
	case embedPage:
		return common + "connect-src 'self' blob:"
	}
	return common + "connect-src 'self'"
}

// Header returns the policy for an answer's header, where it can also say who
// may put the page into a frame, which is nobody.
func Header(path string) string { return For(path) + "; frame-ancestors 'none'" }
