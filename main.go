// Command muster gets work onto other people's machines, and every answer back.
package main

import (
	"os"

	"muster/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args, os.Stdin, os.Stdout, os.Stderr)) }
