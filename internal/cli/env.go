package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
)

func envFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "env", Usage: "give tasks the variable `NAME[=VALUE]`; without a value the one that it has here, which no list of processes shows"}
}

func envFileFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "env-file", Usage: "give tasks the variables in `FILE`, which has NAME=VALUE or NAME on each line; --env wins"}
}

// taskEnv is the environment that --env-file and --env give to tasks. A variable
// without a value has the one that it has in muster's own.
func taskEnv(c *cli.Context) ([]string, error) {
	var env []string
	add := func(option, kv string) error {
		name, _, set := strings.Cut(kv, "=")
		if name == "" || strings.ContainsRune(kv, 0) {
			return fmt.Errorf("%s: a variable is NAME or NAME=VALUE", option)
		}
		if !set {
			v, ok := os.LookupEnv(name)
			if !ok {
				return fmt.Errorf("%s %s: it is not set here; give it a value with %[1]s %[2]s=VALUE", option, name)
			}
			kv = name + "=" + v
		}
		env = append(env, kv)
		return nil
	}
	for _, file := range c.StringSlice("env-file") {
		text, err := readEnvFile(file)
		if err != nil {
			return nil, fmt.Errorf("--env-file: %w", err)
		}
		for i, line := range bytes.Split(text, []byte("\n")) {
			line = bytes.TrimSuffix(line, []byte("\r"))
			if len(line) == 0 || line[0] == '#' {
				continue
			}
			if err := add(fmt.Sprintf("--env-file %s, line %d:", file, i+1), string(line)); err != nil {
				return nil, err
			}
		}
	}
	for _, kv := range c.StringSlice("env") {
		if err := add("--env", kv); err != nil {
			return nil, err
		}
	}
	return env, nil
}

// maxEnvFile bounds a file of variables, in bytes: no program takes more (execve(2)).
const maxEnvFile = 2 << 20

func readEnvFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxEnvFile+1))
	if err == nil && len(text) > maxEnvFile {
		err = fmt.Errorf("%s has more than %d bytes", path, maxEnvFile)
	}
	return text, err
}
