package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"igor.dev/internal/verifycli"
	"igor.dev/publish"
	"igor.dev/runtime"
	"igor.dev/site/embedded"
)

func serveCommand() *cobra.Command {
	var listen string
	var withSite, asJSON bool
	var every time.Duration
	cmd := &cobra.Command{
		Use:   "serve PATH…",
		Short: "Serve lives to whoever wants to verify them",
		Long: `Serve lets others fetch and verify lives by HTTP. A PATH is a folder that igor
publish or an archive wrote to, an agent's folder, or a folder of agents' folders.
The history of an agent that lives is served as it grows.

Served are checkpoints, the states in them among it, and what was said of a life in
public: nothing else. Keys, journals and event logs never leave the machine.`,
		Example: `  igor serve heartbeat
  igor serve /srv/agents --listen 0.0.0.0:8322 --site`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("PATH is missing")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if every < time.Second {
				return errors.New("--every: want 1s or more")
			}
			s := &lifeServer{stderr: verifycli.SafeLog(cmd.ErrOrStderr(), true)}
			defer s.close()
			if err := s.open(cmd.Context(), args); err != nil {
				return failed(err)
			}
			var site http.Handler
			if withSite {
				var err error
				if site, err = embedded.Handler(); err != nil {
					return failed(&hinted{err, "build it in a clone: make"})
				}
			}
			l, err := net.Listen("tcp", listen)
			if err != nil {
				return failed(&hinted{err, "choose another address with --listen, or port 0 for any"})
			}
			if err := s.announce(cmd, "http://"+l.Addr().String()+"/", withSite, asJSON); err != nil {
				l.Close()
				return failed(err)
			}
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			var follow sync.WaitGroup
			follow.Go(func() { s.follow(ctx, every) })
			err = serve(ctx, limitConnections(l), patient(s.handler(site)))
			cancel()
			follow.Wait()
			return failed(err)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8322", "the `ADDRESS` to serve at")
	cmd.Flags().BoolVar(&withSite, "site", false, "serve the verification site there too")
	cmd.Flags().DurationVar(&every, "every", 5*time.Second, "look for new checkpoints of agents' folders after this `TIME`")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write where it is as JSON")
	return cmd
}

// A lifeServer serves published lives, and publishes those of agents' folders for itself, in
// a folder that goes when it ends.
type lifeServer struct {
	server publish.Server
	agents []string // folders
	own    string
	stderr interface{ Write([]byte) (int, error) }
	said   map[string]string // what was last said of a folder
}

func (s *lifeServer) close() {
	for _, t := range s.server.Trees {
		t.Close()
	}
	if s.own != "" {
		os.RemoveAll(s.own)
	}
}

// open opens what is to be served.
func (s *lifeServer) open(ctx context.Context, paths []string) error {
	for _, path := range paths {
		info, err := os.Stat(path)
		if err == nil && !info.IsDir() {
			err = &hinted{fmt.Errorf("%s is not a folder", path), "give a folder with lives: an agent's, or one that igor publish wrote to"}
		}
		if err != nil {
			return err
		}
		tree, err := publish.OpenTree(path)
		if err != nil {
			return err
		}
		if all, err := tree.Agents(); err == nil && len(all) > 0 {
			s.server.Trees = append(s.server.Trees, tree)
			continue
		}
		tree.Close()
		folders, err := foldersIn(path)
		if err != nil {
			return err
		}
		if len(folders) == 0 {
			return &hinted{fmt.Errorf("%s: no life in it", path), "give an agent's folder, a folder of such, or one that igor publish wrote to"}
		}
		s.agents = append(s.agents, folders...)
	}
	if len(s.agents) == 0 {
		return nil
	}
	var err error
	if s.own, err = os.MkdirTemp("", "igor-serve-*"); err != nil {
		return err
	}
	s.said = make(map[string]string)
	failures := s.publish(ctx)
	if len(s.agents) == 1 && len(failures) == 1 {
		return failures[0]
	}
	tree, err := publish.OpenTree(s.own)
	if err != nil {
		return err
	}
	s.server.Trees = append(s.server.Trees, tree)
	return ctx.Err()
}

// foldersIn returns an agent's folder, or those that are in a folder.
func foldersIn(path string) ([]string, error) {
	if runtime.IsAgentFolder(path) {
		return []string{path}, nil
	}
	names, err := runtime.AgentFolders(path)
	var folders []string
	for _, name := range names {
		folders = append(folders, filepath.Join(path, name))
	}
	return folders, err
}

// publish publishes what the agents' folders have. One that cannot be published now is served
// as it was.
func (s *lifeServer) publish(ctx context.Context) (failures []error) {
	for _, dir := range s.agents {
		if ctx.Err() != nil {
			return append(failures, ctx.Err())
		}
		_, err := publishFolder(ctx, dir, s.own, false)
		said := ""
		if err != nil {
			failures = append(failures, err)
			said = plain(err).Error()
		}
		if said != s.said[dir] && said != "" && len(s.agents) > 1 {
			fmt.Fprintf(s.stderr, "igor: %s: not served as it is now: %s\n", dir, said)
		}
		s.said[dir] = said
	}
	return failures
}

// follow publishes what comes, until ctx ends.
func (s *lifeServer) follow(ctx context.Context, every time.Duration) {
	if len(s.agents) == 0 {
		return
	}
	for {
		select {
		case <-time.After(every):
			s.publish(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (s *lifeServer) handler(site http.Handler) http.Handler {
	if site == nil {
		return &s.server
	}
	mux := http.NewServeMux()
	mux.Handle("/igor/", &s.server)
	mux.Handle("/ipfs/", &s.server)
	mux.Handle("/", site)
	return mux
}

// announce says what is served, and where.
func (s *lifeServer) announce(cmd *cobra.Command, url string, withSite, asJSON bool) error {
	type life struct {
		DID  string `json:"did"`
		Head string `json:"head"`
		Tick string `json:"tick"`
	}
	served := struct {
		URL   string `json:"url"`
		Lives []life `json:"lives"`
	}{URL: url, Lives: []life{}}
	for _, t := range s.server.Trees {
		agents, err := t.Agents()
		if err != nil {
			return err
		}
		for _, a := range agents {
			if h, err := t.Head(a); err == nil {
				served.Lives = append(served.Lives, life{a.DID(), h.Checkpoint.CID(), fmt.Sprint(h.Tick)})
			}
		}
	}
	if asJSON {
		return writeJSON(cmd.OutOrStdout(), served)
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "serving %s at %s\n", verifycli.Plural(len(served.Lives), "life"), url)
	for i, l := range served.Lives {
		if i == 20 {
			fmt.Fprintf(out, "and %d more\n", len(served.Lives)-i)
			break
		}
		fmt.Fprintf(out, "        %s, tick %s\n", l.DID, l.Tick)
	}
	if len(served.Lives) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(out, "verify  igor verify %s --from %s\n", served.Lives[0].DID, url)
	if withSite && err == nil {
		_, err = fmt.Fprintf(out, "or      %sload.html?did=%s&from=%s\n", url, served.Lives[0].DID, url)
	}
	return err
}

const (
	maxConnections = 512
	writePatience  = 30 * time.Second // for a client to take a piece of an answer
)

// limitConnections accepts so many connections at the same time; more wait.
func limitConnections(l net.Listener) net.Listener {
	return &limitedListener{l, make(chan struct{}, maxConnections)}
}

type limitedListener struct {
	net.Listener
	open chan struct{}
}

func (l *limitedListener) Accept() (net.Conn, error) {
	l.open <- struct{}{}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.open
		return nil, err
	}
	return &limitedConn{Conn: c, done: sync.OnceFunc(func() { <-l.open })}, nil
}

type limitedConn struct {
	net.Conn
	done func()
}

func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.done()
	return err
}

// patient gives a client time for each piece of an answer, and not for all of it.
func patient(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.NoBody
		h.ServeHTTP(&patientWriter{w, http.NewResponseController(w)}, r)
	})
}

type patientWriter struct {
	http.ResponseWriter
	control *http.ResponseController
}

func (w *patientWriter) Write(b []byte) (int, error) {
	w.control.SetWriteDeadline(time.Now().Add(writePatience))
	return w.ResponseWriter.Write(b)
}
