package interop

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// A lacking file system shows a folder, and lacks what some real ones do.
type lacking struct {
	links    bool // exFAT, FAT, SMB, Android: there are no hard links
	dirSync  bool // SMB before Linux 4.17, WSL 1, some FUSE: fsync of a folder is EINVAL
	whole    bool // FUSE with direct_io, some network ones: reads give less than was asked for
	locks    bool // NFS without lockd: flock is ENOLCK
	setModes bool // exFAT, SMB: chmod is EPERM
	modes    bool // NTFS, SMB: whatever is asked for, everybody may read it
}

type node struct {
	*fs.LoopbackNode
	lacks *lacking
}

func (n *node) WrapChild(_ context.Context, child fs.InodeEmbedder) fs.InodeEmbedder {
	return &node{child.(*fs.LoopbackNode), n.lacks}
}

func (n *node) Link(ctx context.Context, target fs.InodeEmbedder, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if n.lacks.links {
		return nil, syscall.EPERM
	}
	return n.LoopbackNode.Link(ctx, target, name, out)
}

func (n *node) OpendirHandle(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	f, options, errno := n.LoopbackNode.OpendirHandle(ctx, flags)
	if errno == 0 && n.lacks.dirSync {
		return &unsynced{f.(fs.DirStream)}, options, 0
	}
	return f, options, errno
}

// An unsynced folder cannot be synced.
type unsynced struct{ fs.DirStream }

func (u *unsynced) Readdirent(context.Context) (*fuse.DirEntry, syscall.Errno) {
	if !u.HasNext() {
		return nil, 0
	}
	e, errno := u.Next()
	return &e, errno
}

func (u *unsynced) Releasedir(context.Context, uint32) { u.Close() }

func (u *unsynced) Fsyncdir(context.Context, uint32) syscall.Errno { return syscall.EINVAL }

func (n *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	f, options, errno := n.LoopbackNode.Open(ctx, flags)
	if errno == 0 && n.lacks.whole {
		return f, options | fuse.FOPEN_DIRECT_IO, 0
	}
	return f, options, errno
}

func (n *node) Read(ctx context.Context, f fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if n.lacks.whole && len(dest) > 100 {
		dest = dest[:100]
	}
	return f.(fs.FileReader).Read(ctx, dest, off)
}

func (n *node) Setattr(ctx context.Context, f fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if _, ok := in.GetMode(); ok && n.lacks.setModes {
		return syscall.EPERM
	}
	return n.LoopbackNode.Setattr(ctx, f, in, out)
}

func (n *node) shown(a *fuse.Attr, errno syscall.Errno) syscall.Errno {
	if n.lacks.modes {
		a.Mode |= 0o777
	}
	return errno
}

func (n *node) Getattr(ctx context.Context, f fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return n.shown(&out.Attr, n.LoopbackNode.Getattr(ctx, f, out))
}

func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	child, errno := n.LoopbackNode.Lookup(ctx, name, out)
	return child, n.shown(&out.Attr, errno)
}

func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	child, f, flags, errno := n.LoopbackNode.Create(ctx, name, flags, mode, out)
	return child, f, flags, n.shown(&out.Attr, errno)
}

func (n *node) Setlk(_ context.Context, _ fs.FileHandle, _ uint64, _ *fuse.FileLock, _ uint32) syscall.Errno {
	if n.lacks.locks {
		return syscall.ENOLCK
	}
	return 0
}

func (n *node) Setlkw(ctx context.Context, f fs.FileHandle, owner uint64, lk *fuse.FileLock, flags uint32) syscall.Errno {
	return n.Setlk(ctx, f, owner, lk, flags)
}

// mount gives a folder that lacks something.
func mount(t *testing.T, lacks *lacking) string {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil || os.Getuid() != 0 {
		t.Skip("needs root and /dev/fuse, to mount a file system")
	}
	back, at := t.TempDir(), t.TempDir()
	var st syscall.Stat_t
	if err := syscall.Stat(back, &st); err != nil {
		t.Fatal(err)
	}
	root := &fs.LoopbackRoot{Path: back, Dev: st.Dev}
	top := &node{&fs.LoopbackNode{RootData: root}, lacks}
	root.RootNode = top
	server, err := fs.Mount(at, top, &fs.Options{NullPermissions: true, MountOptions: fuse.MountOptions{DirectMountStrict: true, EnableLocks: true}})
	if err != nil {
		t.Skipf("no FUSE file system can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := server.Unmount(); err != nil {
			t.Error(err)
		}
	})
	return at
}

// program builds a command of this repository.
func program(t *testing.T, name string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	build := exec.Command("go", "build", "-buildvcs=false", "-o", file, "./cmd/"+name)
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return file
}

// TestFileSystems runs igor where something is lacking that most file systems have.
func TestFileSystems(t *testing.T) {
	igor, verify := program(t, "igor"), program(t, "igor-verify")
	counter, err := filepath.Abs("../../cmd/igor/testdata/agents/counter.wasm")
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	say := func(exit int, args ...string) string {
		t.Helper()
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CACHE_HOME=", "XDG_CONFIG_HOME=")
		out, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != exit {
			t.Fatalf("%s: exit code %d, want %d\n%s", strings.Join(args[1:], " "), got, exit, out)
		}
		return string(out)
	}
	contains := func(t *testing.T, out string, wants ...string) {
		t.Helper()
		for _, want := range wants {
			if !strings.Contains(out, want) {
				t.Errorf("%q is not in\n%s", want, out)
			}
		}
	}
	run := func(dir string) []string {
		return []string{igor, "run", counter, "--dir", dir, "--ticks", "4", "--checkpoint-every", "1", "--tick-interval", "0", "--quiet"}
	}
	resume := func(dir string) []string {
		return []string{igor, "resume", dir, "--ticks", "2", "--checkpoint-every", "1", "--tick-interval", "0", "--quiet"}
	}
	good := filepath.Join(t.TempDir(), "good")
	say(0, run(good)...)
	const notSupported = 78 // docs/operating.md: an agent cannot live there

	t.Run("no hard links", func(t *testing.T) {
		at := mount(t, &lacking{links: true})
		contains(t, say(notSupported, run(filepath.Join(at, "agent"))...), "its file system has no hard links", "hint: ")
		if left, err := os.ReadDir(at); err != nil || len(left) > 0 {
			t.Errorf("%v is left there, %v", left, err)
		}
		copied := filepath.Join(at, "copied")
		if err := os.CopyFS(copied, os.DirFS(good)); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(copied, "key"), 0o600); err != nil {
			t.Fatal(err)
		}
		contains(t, say(notSupported, resume(copied)...), "its file system has no hard links", "hint: ")
		contains(t, say(0, verify, copied), "verified: unbroken, but self-asserted, 5 checkpoints")
		// A history fits on every stick, and never replaces a file there.
		car := filepath.Join(at, "life.car")
		say(0, igor, "history", "export", good, "-o", car)
		contains(t, say(0, verify, car), "verified: unbroken, but self-asserted, 5 checkpoints")
		contains(t, say(1, igor, "history", "export", good, "-o", car), "is there already")
	})
	t.Run("no fsync of folders", func(t *testing.T) {
		dir := filepath.Join(mount(t, &lacking{dirSync: true}), "agent")
		contains(t, say(0, run(dir)...), "this file system cannot make names durable")
		say(0, resume(dir)...)
		contains(t, say(0, verify, dir), "verified: unbroken, but self-asserted, 7 checkpoints")
	})
	t.Run("short reads", func(t *testing.T) {
		dir := filepath.Join(mount(t, &lacking{whole: true}), "agent")
		say(0, run(dir)...)
		say(0, resume(dir)...)
		contains(t, say(0, verify, dir), "verified: unbroken, but self-asserted, 7 checkpoints")
		contains(t, say(0, igor, "replay", dir), "replayed: 7 intervals")
		car := filepath.Join(filepath.Dir(dir), "life.car")
		say(0, igor, "history", "export", dir, "-o", car)
		contains(t, say(0, verify, car), "verified: unbroken, but self-asserted, 7 checkpoints")
	})
	t.Run("no locks", func(t *testing.T) {
		dir := filepath.Join(mount(t, &lacking{locks: true}), "agent")
		contains(t, say(notSupported, run(dir)...), "its file system has no locks", "hint: ")
	})
	t.Run("modes that cannot be set", func(t *testing.T) {
		at := mount(t, &lacking{setModes: true})
		car := filepath.Join(at, "life.car")
		say(0, igor, "history", "export", good, "-o", car)
		contains(t, say(0, verify, car), "verified: unbroken, but self-asserted, 5 checkpoints")
		dir := filepath.Join(at, "agent") // they are right from the start
		say(0, run(dir)...)
		say(0, resume(dir)...)
		contains(t, say(0, verify, dir), "verified: unbroken, but self-asserted, 7 checkpoints")
	})
	t.Run("no modes", func(t *testing.T) {
		at := mount(t, &lacking{modes: true})
		contains(t, say(notSupported, run(filepath.Join(at, "agent"))...), "its file system has no modes: everybody here could read its key (mode 0777)", "hint: ", "file_mode=0600")
		if left, err := os.ReadDir(at); err != nil || len(left) > 0 {
			t.Errorf("%v is left there, %v", left, err)
		}
		copied := filepath.Join(at, "copied")
		if err := os.CopyFS(copied, os.DirFS(good)); err != nil {
			t.Fatal(err)
		}
		contains(t, say(77, resume(copied)...), "can be read by others (mode 0777)", "hint: ")
		contains(t, say(0, verify, copied), "verified: unbroken, but self-asserted, 5 checkpoints")
	})
	t.Run("a mount point", func(t *testing.T) {
		if os.Getuid() != 0 {
			t.Skip("needs root, to mount a file system")
		}
		volume := t.TempDir()
		if err := syscall.Mount("none", volume, "tmpfs", 0, ""); err != nil {
			t.Skipf("no tmpfs can be mounted here: %v", err)
		}
		defer syscall.Unmount(volume, 0)
		contains(t, say(1, run(volume)...), volume+" is a mount point", "hint: name a folder in it, such as --dir "+filepath.Join(volume, "agent"))
		if err := os.Mkdir(filepath.Join(volume, "lost+found"), 0o700); err != nil {
			t.Fatal(err)
		}
		contains(t, say(1, run(volume)...), volume+" is a mount point")
		say(0, run(filepath.Join(volume, "agent"))...)
	})
}
