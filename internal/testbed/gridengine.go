package testbed

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

//go:embed gridengine.sh
var gridEngineScript string

// StartGridEngine boots Grid Engine with one node below dir, which must be
// absolute and whose parents others may traverse.
func StartGridEngine(dir string, slots int) (*Cluster, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	arch := map[string]string{"amd64": "lx-amd64", "arm64": "lx-arm64"}[runtime.GOARCH]
	// The programs themselves: Debian's in /usr/bin are wrappers around them.
	c := &Cluster{Dir: dir, Env: []string{"SGE_ROOT=" + dir + "/root", "SGE_CELL=default", "SGE_ARCH=" + arch,
		"SGE_QMASTER_PORT=" + strconv.Itoa(ports[0]), "SGE_EXECD_PORT=" + strconv.Itoa(ports[1]),
		"PATH=/usr/lib/gridengine:" + os.Getenv("PATH")}}
	c.stop = append(c.stop, c.stopGridEngine)
	cmd := exec.Command("sh", "-c", gridEngineScript)
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.Env = append(cmd.Env, "DIR="+dir, "SLOTS="+strconv.Itoa(slots))
	log, err := os.Create(filepath.Join(dir, "boot.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log // a file: the daemons keep it open
	if err := cmd.Run(); err != nil {
		b, _ := os.ReadFile(log.Name())
		c.Stop()
		return nil, fmt.Errorf("boot Grid Engine: %w\n%s", err, b)
	}
	return c, nil
}

func (c *Cluster) stopGridEngine() {
	c.Output("qdel", "-u", "*")
	paths, _ := filepath.Glob(c.Dir + "/spool/execd/*/execd.pid")
	for _, p := range append(paths, c.Dir+"/spool/qmaster/qmaster.pid") {
		b, _ := os.ReadFile(p)
		if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			syscall.Kill(pid, syscall.SIGKILL) // in order it takes 9 s, and its files go anyway
		}
	}
	endAll(c.Env[0], func(environ string) bool { return strings.Contains(environ, "\x00JOB_ID=") })
}
