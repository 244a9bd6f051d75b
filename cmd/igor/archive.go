package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	encryption "filippo.io/age"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"igor.dev/archive"
	"igor.dev/archive/targets"
	"igor.dev/internal/verifycli"
	"igor.dev/runtime"
	"igor.dev/verifier"
	"igor.dev/verifier/history"
)

// archiveFlags say where lives are archived, and what of them.
type archiveFlags struct {
	targets    []string
	every      runtime.Every
	parts      string
	recipients []string
	key        string
}

// partWords are what --archive-parts may have.
var partWords = []struct {
	word  string
	parts []archive.Part
}{
	{"program", []archive.Part{archive.Program}},
	{"manifest", []archive.Part{archive.Manifest}},
	{"effects", []archive.Part{archive.Journal}},
	{"receipts", []archive.Part{archive.Receipts, archive.Onchain}},
	{"events", []archive.Part{archive.Events}},
}

func (f *archiveFlags) declare(flags *pflag.FlagSet) {
	f.every = runtime.Every{Time: archive.DefaultRule.Age}
	flags.StringArrayVar(&f.targets, "archive", nil, "`TARGET` to archive lives to, in the background: a folder, s3://BUCKET or arweave+https://BUNDLER; give it several times for several (default: nowhere; docs/archiving.md says what becomes public)")
	flags.Var((*everyFlag)(&f.every), "archive-every", "`N|TIME`: archive after so many checkpoints, or when the oldest has waited so long")
	flags.StringVar(&f.parts, "archive-parts", "program,manifest,effects,receipts", "`LIST` of what is archived beside the checkpoints: program, manifest, effects, receipts, events, or none")
	flags.StringArrayVar(&f.recipients, "archive-recipient", nil, "`AGE` key that alone can read what is archived (age1…, or ssh-…); give it several times for several (default: everybody can)")
	flags.StringVar(&f.key, "archive-key", "", "`FILE` of the key that signs what is uploaded, made if it is absent (default: igor/archive.key in the user's configuration folder)")
}

// archiver makes an archiver of what was given, nil if nothing is to be archived.
func (f *archiveFlags) archiver(flags *pflag.FlagSet, config archive.Config) (*archive.Archiver, error) {
	if len(f.targets) == 0 {
		for _, name := range []string{"archive-every", "archive-parts", "archive-recipient", "archive-key"} {
			if flags.Changed(name) {
				return nil, fmt.Errorf("--%s needs --archive TARGET", name)
			}
		}
		return nil, nil
	}
	config.Rule = archive.DefaultRule
	if f.every.Ticks > 0 {
		config.Rule.Checkpoints, config.Rule.Age = int(min(f.every.Ticks, uint64(config.Rule.Checkpoints))), 0
	} else {
		config.Rule.Age = f.every.Time
	}
	var err error
	if config.Parts, err = parseParts(f.parts); err != nil {
		return nil, err
	}
	for _, r := range f.recipients {
		all, err := encryption.ParseRecipients(strings.NewReader(r))
		if err != nil || len(all) != 1 {
			return nil, &hinted{fmt.Errorf("--archive-recipient %s is no age recipient", r), "age-keygen makes a pair: the line after \"public key:\" is the recipient"}
		}
		config.Recipients = append(config.Recipients, all[0])
	}
	for _, name := range f.targets {
		if targets.Signs(name) && config.Key == nil {
			if config.Key, err = archiveKey(f.key); err != nil {
				return nil, failed(err)
			}
		}
		t, err := targets.Open(name, config.Key)
		if err != nil {
			return nil, failed(fmt.Errorf("--archive %s: %w", name, err))
		}
		config.Targets = append(config.Targets, t)
	}
	return archive.New(config)
}

func parseParts(list string) (parts []archive.Part, err error) {
	if list == "none" {
		return nil, nil
	}
	for word := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(partWords, func(p struct {
			word  string
			parts []archive.Part
		}) bool {
			return p.word == strings.TrimSpace(word)
		})
		if i < 0 {
			return nil, fmt.Errorf("--archive-parts: there is no part %q: want some of program, manifest, effects, receipts, events, or none", word)
		}
		parts = append(parts, partWords[i].parts...)
	}
	return parts, nil
}

// archiveKey reads the archive's key, or makes it.
func archiveKey(file string) (key []byte, err error) {
	if file == "" {
		config, err := os.UserConfigDir()
		if err != nil {
			return nil, errors.New("--archive-key FILE is missing: the user has no configuration folder")
		}
		file = filepath.Join(config, "igor", "archive.key")
	}
	return runtime.ArchiveKey(file)
}

func archiveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "archive",
		Short: "See how far lives are archived, and verify archives",
		Example: `  igor archive status watcher
  igor archive verify watcher`,
		Args: cobra.ArbitraryArgs,
		RunE: noCommand,
	}
	cmd.AddCommand(archiveStatusCommand(), archiveVerifyCommand())
	return cmd
}

func archiveStatusCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status FOLDER",
		Short: "Say how far an agent is archived",
		Long: `Status says for each target how far the agent in FOLDER is archived there, and what
is behind. Final is what was read back from the target and hashed. It asks no target;
igor archive verify does.`,
		Example: `  igor archive status watcher`,
		Args:    operands("FOLDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := runtime.OverviewOf(cmd.Context(), args[0]); err != nil {
				return failed(err)
			}
			all, err := runtime.ArchiveStatus(cmd.Context(), args[0])
			if err != nil {
				return failed(err)
			}
			if asJSON {
				if all == nil {
					all = []archive.Status{}
				}
				return failed(writeJSON(cmd.OutOrStdout(), all))
			}
			return failed(writeArchives(cmd.OutOrStdout(), all, time.Now()))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write it as JSON")
	return cmd
}

func writeArchives(w io.Writer, all []archive.Status, now time.Time) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "not archived: igor resume FOLDER --archive TARGET")
		return err
	}
	for i := range all {
		s := &all[i]
		rows := []string{"target", s.Target, "final", finalText(s), "behind", behindText(s)}
		if s.Spent > 0 {
			rows = append(rows, "spent", fmt.Sprint(s.Spent)+" of the target's smallest unit")
		}
		if s.Error != "" {
			rows = append(rows, "error", s.Error+", for "+age(s.Since, now))
		}
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := writeRows(w, rows...); err != nil {
			return err
		}
	}
	return nil
}

func finalText(s *archive.Status) string {
	if s.Segments == 0 {
		return "nothing yet"
	}
	return fmt.Sprintf("to tick %d, in %s", s.Tick, verifycli.Plural(s.Segments, "segment"))
}

func behindText(s *archive.Status) string {
	if s.Behind == 0 {
		return "nothing"
	}
	return fmt.Sprintf("%s, %s", verifycli.Plural(s.Behind, "checkpoint"), byteSize(s.BytesBehind))
}

// archiveText says how far a life is archived, in one line.
func archiveText(s *archive.Status) string {
	text := fmt.Sprintf("%s: final %s", s.Target, finalText(s))
	if s.Behind > 0 {
		text += "; behind " + behindText(s)
	}
	if s.Error != "" {
		text += "; failing" + sinceText(s.Since) + ": " + s.Error
	}
	return text
}

// witnessText says how far the heads of a run are logged, in one line.
func witnessText(w *runtime.WitnessStatus) string {
	var text string
	switch {
	case !w.Time.IsZero():
		text = fmt.Sprintf("logged to tick %d, %s ago", w.Tick, age(w.Time, time.Now()))
	case w.Tick > 0:
		text = fmt.Sprintf("logged to tick %d, by a run before this one", w.Tick)
	default:
		text = "nothing logged yet"
	}
	if w.Behind > 0 {
		text += fmt.Sprintf("; behind %d ticks", w.Behind)
	}
	if waits := !w.Since.IsZero(); waits && (w.Error != "" || time.Since(w.Since) > headLate) {
		text += ", waiting" + sinceText(w.Since)
	}
	if w.Error != "" {
		text += ": " + w.Error
	}
	return text
}

// headLate is how long a head may wait for a log that says nothing of an error, because too few
// witnesses cosign.
const headLate = 5 * time.Minute

func sinceText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " for " + age(t, time.Now())
}

// sourceFlags say from which archives something is read.
type sourceFlags struct {
	from       []string
	identities []string
	timeout    time.Duration
}

func (f *sourceFlags) declare(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.from, "from", nil, "`TARGET` to read from: a folder, s3://BUCKET, arweave+https://BUNDLER, or https://HOST that serves one; give it several times for several")
	flags.StringArrayVar(&f.identities, "identity", nil, "`FILE` of age identities, for archives that are encrypted")
	flags.DurationVar(&f.timeout, "timeout", 24*time.Hour, "give up after this `TIME`")
}

func openSources(names []string) (all []archive.Target, err error) {
	for _, name := range names {
		t, err := targets.Find(name)
		if err != nil {
			return nil, failed(fmt.Errorf("--from %s: %w", name, err))
		}
		all = append(all, t)
	}
	return all, nil
}

func (f *sourceFlags) readIdentities() (all []encryption.Identity, err error) {
	for _, name := range f.identities {
		file, err := os.Open(name)
		if err != nil {
			return nil, failed(err)
		}
		some, err := encryption.ParseIdentities(file)
		file.Close()
		if err != nil {
			return nil, failed(fmt.Errorf("%s has no age identities", name)) // what is wrong could say too much
		}
		all = append(all, some...)
	}
	return all, nil
}

func archiveVerifyCommand() *cobra.Command {
	var f sourceFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify FOLDER|DID",
		Short: "Fetch what archives have of a life, and verify it",
		Long: `Verify fetches all that each archive has of a life, holds every byte against a hash or
a signature, and verifies the history. With FOLDER, the archives are those that the
agent in it was archived to, unless --from names others, and what is final has to be
there. The exit code is 0 if all of them are verified and have it, else 65.`,
		Example: `  igor archive verify watcher
  igor archive verify did:key:z6Mk… --from https://lives.example`,
		Args: operands("FOLDER|DID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
			defer cancel()
			identities, err := f.readIdentities()
			if err != nil {
				return err
			}
			var final archive.FinalState
			agent, err := verifier.ParseDID(args[0])
			if err != nil {
				o, overviewErr := runtime.OverviewOf(ctx, args[0])
				if overviewErr != nil {
					return failed(overviewErr)
				}
				if agent, err = verifier.ParseDID(o.DID); err != nil {
					return failed(fmt.Errorf("%s has no checkpoint that can be read", args[0]))
				}
				if final, err = archive.FinalOf(args[0]); err != nil {
					return failed(err)
				}
				if len(f.from) == 0 {
					if f.from, err = archive.TargetAddresses(args[0]); err != nil {
						return failed(err)
					}
				}
			}
			if len(f.from) == 0 {
				return &hinted{errors.New("the agent was archived nowhere yet, as far as its folder says"), "--from TARGET names an archive; igor resume FOLDER --archive TARGET archives it"}
			}
			sources, err := openSources(f.from)
			if err != nil {
				return err
			}
			var all []verifiedArchive
			good, sealed := true, false
			for _, t := range sources {
				v := verifyArchive(ctx, t, agent, identities, final)
				good = good && v.Verdict == verifier.Verified.String() && v.Problem == ""
				sealed = sealed || v.Problem == archive.ErrSealed.Error()
				all = append(all, v)
			}
			if asJSON {
				err = writeJSON(cmd.OutOrStdout(), all)
			} else {
				err = writeVerified(cmd.OutOrStdout(), agent, all)
			}
			if err == nil && !good {
				next := "what is behind is sent while the agent lives with --archive; an archive that lacks what was final has lost it: name another one"
				if sealed {
					next = "--identity FILE has the age identity that belongs to its --archive-recipient"
				}
				err = &hinted{&damageFound{"not every archive has the life whole"}, next}
			}
			return failed(err)
		},
	}
	f.declare(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "write it as JSON")
	return cmd
}

// A verifiedArchive is what an archive has of a life.
type verifiedArchive struct {
	Target      string   `json:"target"`
	Verdict     string   `json:"verdict,omitempty"`
	Encrypted   bool     `json:"encrypted,omitempty"`
	Segments    int      `json:"segments"`
	Checkpoints int      `json:"checkpoints"`
	Tick        uint64   `json:"tick,string"`
	Head        string   `json:"head,omitempty"`
	Parts       []string `json:"parts"`
	GoesOn      bool     `json:"canGoOn"` // an agent can be made of it that goes on from the head
	Problem     string   `json:"problem,omitempty"`
}

func verifyArchive(ctx context.Context, t archive.Target, agent verifier.PublicKey, identities []encryption.Identity, final archive.FinalState) verifiedArchive {
	v := verifiedArchive{Target: t.Name(), Parts: []string{}}
	tmp, err := os.MkdirTemp("", "igor-archive-*")
	if err != nil {
		v.Problem = plain(err).Error()
		return v
	}
	defer os.RemoveAll(tmp)
	seen := false
	fetch := archive.Fetch{Targets: []archive.Target{t}, Agent: agent, Identities: identities, Segment: func(c archive.Cut, b []byte) error {
		v.Segments++
		v.Checkpoints += c.Checkpoints
		v.Tick, v.Head, v.Encrypted = c.Last, c.Root.CID(), v.Encrypted || c.SealedSize > 0
		seen = seen || c.Root == final.Head
		return os.WriteFile(filepath.Join(tmp, fmt.Sprintf("%d.car", c.N)), b, 0o600)
	}}
	found, err := fetch.Life(ctx)
	if errors.Is(err, archive.ErrNotFound) && v.Segments == 0 {
		v.Problem = "it has nothing of this life"
		return v
	}
	if err != nil {
		v.Problem = plain(err).Error()
	}
	if v.Segments > 0 {
		source, sourceErr := history.Path(tmp)
		if sourceErr == nil {
			check := history.Verification{Pins: verifier.Pins{DID: &agent}}
			var report *verifier.Report
			if report, sourceErr = check.Run(ctx, source); sourceErr == nil {
				v.Verdict = report.Verdict().String()
			}
		}
		if sourceErr != nil && v.Problem == "" {
			v.Problem = plain(sourceErr).Error()
		}
	}
	if found == nil {
		return v
	}
	v.GoesOn = found.Whole() && !found.Statement.Parts[archive.Program].IsZero() && !found.Statement.Parts[archive.Manifest].IsZero()
	for p := archive.Program; p <= archive.Retirement; p++ {
		if found.Parts[p] != nil {
			v.Parts = append(v.Parts, p.String())
		}
	}
	switch {
	case len(found.Lacks) > 0:
		v.Problem = plain(found.Lacks[0]).Error()
	case final.Segments > 0 && !seen:
		v.Problem = fmt.Sprintf("the checkpoint %s of tick %d was final, and is not there", final.Head.CID(), final.Tick)
	}
	return v
}

func writeVerified(w io.Writer, agent verifier.PublicKey, all []verifiedArchive) error {
	if err := writeRows(w, "agent", agent.DID()); err != nil {
		return err
	}
	for i := range all {
		v := &all[i]
		rows := []string{"target", v.Target}
		if v.Verdict != "" {
			rows = append(rows, "verdict", v.Verdict)
		}
		if v.Segments > 0 {
			rows = append(rows, "history", fmt.Sprintf("%s in %s, to tick %d", verifycli.Plural(v.Checkpoints, "checkpoint"), verifycli.Plural(v.Segments, "segment"), v.Tick), "head", v.Head)
		}
		if len(v.Parts) > 0 {
			rows = append(rows, "beside", strings.Join(v.Parts, ", "))
		}
		if v.Segments > 0 {
			goesOn := "it does not have all that the agent needs to go on from its head"
			if v.GoesOn {
				goesOn = "igor recover can make an agent of it that goes on from its head"
			}
			rows = append(rows, "recovery", goesOn)
		}
		if v.Problem != "" {
			rows = append(rows, "problem", v.Problem)
		}
		fmt.Fprintln(w)
		if err := writeRows(w, rows...); err != nil {
			return err
		}
	}
	return nil
}

func recoverCommand() *cobra.Command {
	var f sourceFlags
	var keyFile, storeName, head, wasm, manifest, nodeKey string
	var acceptOldCopy, takeOver, asJSON bool
	cmd := &cobra.Command{
		Use:   "recover DID [FOLDER]",
		Short: "Make an agent's folder anew, of archives",
		Long: `Recover makes the folder of an agent whose folder is lost, of what archives have of its
life and of the agent's key: program, history, side effects and payments. Every byte is
held against a hash or a signature. igor resume goes on from there.

An archive can be behind the life. To go on from an older checkpoint would be a second
future of the agent, in public, and could do again what it did. Somebody has to say
where the life ended: its store (--store), or you (--head).

If nothing else of the life is left, --accept-old-copy goes on from what there is.`,
		Example: `  igor recover did:key:z6Mk… watcher --from /mnt/lives --key k --head bafkrei…
  igor recover did:key:z6Mk… watcher --from s3://lives --key k --store backup
  igor resume watcher`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 {
				return nil
			}
			return operands("DID")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			agent, err := verifier.ParseDID(args[0])
			if err != nil {
				return &hinted{fmt.Errorf("%s is no DID of an agent: %w", args[0], err), "igor status shows it, such as did:key:z6Mk…"}
			}
			folder := strings.TrimPrefix(agent.DID(), "did:key:")
			if len(args) == 2 {
				folder = args[1]
			}
			switch {
			case len(f.from) == 0:
				return errors.New("--from TARGET is missing: where the agent was archived to")
			case keyFile == "":
				return errors.New("--key FILE is missing: the agent's own key, a copy of the file key of its folder")
			case head != "" && (storeName != "" || acceptOldCopy):
				return errors.New("--head says where the life ended, and so does --store; --accept-old-copy says that nobody knows: give one of them")
			case takeOver && storeName == "":
				return errors.New("--take-over needs --store STORE")
			}
			c := runtime.RecoverConfig{Agent: agent, AcceptOldCopy: acceptOldCopy}
			if head != "" {
				if c.Head, err = verifier.ParseCID(head); err != nil {
					return fmt.Errorf("--head %s: %w", head, err)
				}
			}
			if c.Targets, err = openSources(f.from); err != nil {
				return err
			}
			if c.Identities, err = f.readIdentities(); err != nil {
				return err
			}
			if c.Key, err = runtime.ReadKey(keyFile); err != nil {
				return failed(err)
			}
			if wasm != "" {
				if c.WASM, err = readLimited(wasm, runtime.MaxWASM); err != nil {
					return failed(err)
				}
			}
			if manifest != "" {
				if c.Manifest, err = readLimited(manifest, runtime.MaxManifest); err != nil {
					return failed(err)
				}
			}
			if storeName != "" {
				if c.Node, err = userNodeKey(nodeKey); err == nil && c.Node == nil {
					err = errors.New("--node-key FILE is missing: the user has no configuration folder")
				}
				if err != nil {
					return failed(err)
				}
				finder := asNode(c.Node)
				defer finder.Close()
				if c.Home, err = finder.Find(storeName); err != nil {
					return failed(err)
				}
				c.Home.TakeOver = takeOver
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
			defer cancel()
			r, err := runtime.Recover(ctx, folder, c)
			if err != nil {
				return failed(err)
			}
			if asJSON {
				return failed(writeJSON(cmd.OutOrStdout(), struct {
					DID         string   `json:"did"`
					Tick        uint64   `json:"tick,string"`
					Head        string   `json:"head"`
					Checkpoints int      `json:"checkpoints"`
					Whole       bool     `json:"wholeHistory"`
					Lost        []string `json:"lost,omitempty"`
					Folder      string   `json:"folder"`
				}{r.DID, r.Tick, r.Head.CID(), r.Checkpoints, r.Whole, r.Lost, folder}))
			}
			rows := []string{"recovered", r.DID, "tick", fmt.Sprint(r.Tick), "head", r.Head.CID(),
				"history", fmt.Sprintf("%s in %s", verifycli.Plural(r.Checkpoints, "checkpoint"), verifycli.Plural(r.Segments, "segment"))}
			for _, lost := range r.Lost {
				rows = append(rows, "lost", lost)
			}
			return failed(writeRows(cmd.OutOrStdout(), append(rows, "folder", folder, "next", "igor resume "+folder)...))
		},
	}
	f.declare(cmd.Flags())
	flags := cmd.Flags()
	flags.StringVar(&keyFile, "key", "", "`FILE` of the agent's key, of which its folder had one")
	flags.StringVar(&storeName, "store", "", "`STORE` that decides who lives the agent: it says where the life goes on")
	flags.StringVar(&head, "head", "", "`CID` of the newest checkpoint that the agent ever made")
	flags.BoolVar(&acceptOldCopy, "accept-old-copy", false, "go on from what the archives have, although nobody says that it is the end: all that the agent lived since is lost, what it did outside may be done again, and its life is a fork wherever the other part is known")
	flags.BoolVar(&takeOver, "take-over", false, "with --store: go on with an agent that another node owns, which is gone for good")
	flags.StringVar(&wasm, "wasm", "", "`FILE` of the program, if the archives do not have it")
	flags.StringVar(&manifest, "manifest", "", "`FILE` of the manifest, if the archives do not have it")
	flags.StringVar(&nodeKey, "node-key", "", "`FILE` of this node's key, with --store (default: igor/node.key in the user's configuration folder)")
	flags.BoolVar(&asJSON, "json", false, "write what was made as JSON")
	return cmd
}
