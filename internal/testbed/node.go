package testbed

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// node is one machine of a Network: the namespaces of a process that does
// nothing but keep them. Its standard input ends with the test, however that
// ends: then it kills what else is in the node, and goes.
type node struct {
	dir, name string
	holder    *exec.Cmd
	stdin     io.Closer
	env       []string
}

// holderScript makes a machine of fresh namespaces: $1 is its name, $2 its
// /etc/hosts, $3 the folder with its accounts. Without a name server the resolver
// asks this machine (resolv.conf(5)), which refuses at once.
const holderScript = `set -e
ip link set lo up
hostname "$1"
echo 0 >/proc/sys/net/ipv4/ip_forward
mount --bind "$2" /etc/hosts
[ ! -e /etc/resolv.conf ] || mount --bind /dev/null /etc/resolv.conf
for f in passwd shadow group; do mount --bind "$3/$f" "/etc/$f"; done
echo up
while read -r _; do :; done
ns=$(readlink /proc/$$/ns/net)
for p in /proc/[0-9]*; do
	[ "$(readlink "$p/ns/net")" != "$ns" ] || [ "$p" = /proc/$$ ] || kill -KILL "${p#/proc/}"
done 2>/dev/null
`

func startNode(dir, name, hosts string, a *accounts) (*node, error) {
	file := filepath.Join(dir, "hosts-"+name)
	if err := os.WriteFile(file, []byte(hosts), 0o644); err != nil {
		return nil, err
	}
	d := &node{dir: dir, name: name, env: []string{"HOME=" + a.home}}
	d.holder = exec.Command("unshare", "--net", "--mount", "--uts", "sh", "-c", holderScript, "sh", name, file, a.dir)
	d.holder.Env, d.holder.Dir = system(), "/"
	var stderr strings.Builder
	d.holder.Stderr = &stderr
	stdin, err := d.holder.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := d.holder.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := d.holder.Start(); err != nil {
		return nil, err
	}
	d.stdin = stdin
	if line, _ := bufio.NewReader(stdout).ReadString('\n'); line != "up\n" {
		d.end()
		return nil, fmt.Errorf("make namespaces for %s: %s", name, strings.TrimSpace(stderr.String()))
	}
	return d, d.writeEntry()
}

// system is the environment with the programs of the system's own folders.
func system() []string {
	return append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin", "LC_ALL=C")
}

func (d *node) pid() int { return d.holder.Process.Pid }

func (d *node) end() {
	d.holder.Process.Kill()
	d.holder.Wait()
	d.stdin.Close()
}

// entry is the program that runs its arguments in the node, in the directory
// where it was called.
func (d *node) entry() string { return filepath.Join(d.dir, "bin", "in-"+d.name) }

// writeEntry writes the program. nsenter and each sh become the next by exec, so
// that it stays one process, which signals reach. nsenter leaves the directory.
func (d *node) writeEntry() error {
	text := "#!/bin/sh\n"
	for _, kv := range d.env {
		name, value, _ := strings.Cut(kv, "=")
		text += "export " + name + "='" + strings.ReplaceAll(value, "'", `'\''`) + "'\n"
	}
	text += fmt.Sprintf("exec nsenter -t %d -n -m -u -- sh -c 'cd \"$0\" && exec \"$@\"' \"$PWD\" \"$@\"\n", d.pid())
	if err := os.WriteFile(d.entry()+".new", []byte(text), 0o755); err != nil {
		return err
	}
	return os.Rename(d.entry()+".new", d.entry())
}

// inside runs a program of the system's in some of the node's namespaces.
func (d *node) inside(namespaces, stdin string, argv ...string) error {
	cmd := exec.Command("nsenter", slices.Concat([]string{"-t", strconv.Itoa(d.pid()), namespaces, "--"}, argv)...)
	cmd.Env, cmd.Stdin = system(), strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s on node %s: %w: %s%s", strings.Join(argv, " "), d.name, err, out, stdin)
	}
	return nil
}

func (d *node) ip(lines ...string) error {
	return d.inside("-n", strings.Join(lines, "\n")+"\n", "ip", "-batch", "-")
}

func (d *node) nft(rules string) error { return d.inside("-n", rules, "nft", "-f", "-") }

// Command returns a command that runs in a node, in the directory of the caller,
// with the caller's environment and the node's own HOME.
func (n *Network) Command(name string, argv ...string) *exec.Cmd {
	return exec.Command("sh", append([]string{n.node(name).entry()}, argv...)...)
}

// Setenv gives variables, NAME=VALUE, to the commands that run in a node from
// now on, and to the sessions of an sshd that is started there later.
func (n *Network) Setenv(name string, kv ...string) error {
	d := n.node(name)
	d.env = append(d.env, kv...)
	return d.writeEntry()
}

// Hide covers a folder with an empty one, on one node.
func (n *Network) Hide(name, path string) error {
	return n.node(name).inside("-m", "", "mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", path)
}

// Tmpfs mounts a file system of so many bytes on a folder of a node, which is
// made if it is not there. From noexec nothing can be executed.
func (n *Network) Tmpfs(name, path string, size int64, noexec bool) error {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	options := fmt.Sprintf("mode=01777,size=%d", size)
	if noexec {
		options += ",noexec"
	}
	return n.node(name).inside("-m", "", "mount", "-t", "tmpfs", "-o", options, "tmpfs", path)
}

// Bind has a node see file from at the place of file to.
func (n *Network) Bind(name, from, to string) error {
	return n.node(name).inside("-m", "", "mount", "--bind", from, to)
}

// Do calls f in a node's network: what it dials or listens on, with an IP
// address, is there. f must not leave it to another goroutine.
func (n *Network) Do(name string, f func() error) error {
	return inNetOf(n.node(name).pid(), f)
}

// Listeners are the TCP ports on which anything in a node listens, at any
// address, sorted.
func (n *Network) Listeners(name string) ([]int, error) {
	var ports []int
	for _, file := range []string{"tcp", "tcp6"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", n.node(name).pid(), file))
		if errors.Is(err, os.ErrNotExist) && file == "tcp6" {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(b)) {
			if port, ok := listening(line); ok {
				ports = append(ports, port)
			}
		}
	}
	slices.Sort(ports)
	return slices.Compact(ports), nil
}

// listening reads a line of /proc/net/tcp (proc_net_tcp.rst of the kernel).
func listening(line string) (port int, ok bool) {
	f := strings.Fields(line)
	if len(f) < 4 || f[3] != "0A" { // TCP_LISTEN
		return 0, false
	}
	_, hex, _ := strings.Cut(f[1], ":")
	p, err := strconv.ParseUint(hex, 16, 16)
	return int(p), err == nil
}

// endInside kills every process that is in the network of a node, but for those
// that hold it, until there is none.
func endInside(nodes map[string]*node) {
	inside, spared := map[string]bool{}, map[int]bool{os.Getpid(): true}
	own, _ := os.Readlink("/proc/thread-self/ns/net")
	for _, d := range nodes {
		if ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", d.pid())); err == nil && own != "" && ns != own {
			inside[ns], spared[d.pid()] = true, true
		}
	}
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		found := false
		paths, _ := filepath.Glob("/proc/[0-9]*/ns/net")
		for _, p := range paths {
			pid, _ := strconv.Atoi(strings.Split(p, "/")[2])
			// A zombie has no namespaces any more.
			if ns, err := os.Readlink(p); err == nil && inside[ns] && !spared[pid] {
				syscall.Kill(pid, syscall.SIGKILL)
				found = true
			}
		}
		if !found {
			return
		}
	}
}
