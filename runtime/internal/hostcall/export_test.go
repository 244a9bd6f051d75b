package hostcall

// Functions are the hostcalls and their types.
func Functions() map[string]string {
	all := make(map[string]string)
	for _, f := range functions {
		all[f.name] = Signature(f.params, f.results)
	}
	return all
}
