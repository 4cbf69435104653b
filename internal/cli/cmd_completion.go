package cli

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"muster/internal/config"
)

// completions are small: they complete commands, options and files; what stands
// in the app's tables is written into them when they are printed.
var completions = map[string]string{
	"bash": `# bash completion for muster: source <(muster completion bash)
_muster() {
  local cur=${COMP_WORDS[COMP_CWORD]} i cmd=
  for ((i = 1; i < COMP_CWORD; i++)); do
    case ${COMP_WORDS[i]} in --) compopt -o default; return;; -*) ;; *) cmd=${COMP_WORDS[i]}; break;; esac
  done
  local words
  case ${COMP_WORDS[COMP_CWORD-1]} in
VALUES  esac
  case $cmd in
    '') words="COMMANDS" ;;
CASES  esac
  if [[ $cur == -* || -z $cmd || $cmd == completion || $cmd == config ]]; then COMPREPLY=($(compgen -W "$words" -- "$cur")); else compopt -o default; fi
}
complete -F _muster muster
`,
	"zsh": `#compdef muster
# zsh completion for muster: source <(muster completion zsh)
_muster() {
  case ${words[CURRENT-1]} in
VALUES  esac
  case ${${(z)BUFFER}[2]} in
CASES    *) compadd -- COMMANDS; return ;;
  esac
  if [[ $PREFIX == -* || ${${(z)BUFFER}[2]} == (completion|config) ]]; then compadd -- ${=opts}; else _files; fi
}
compdef _muster muster
`,
	"fish": `# fish completion for muster: muster completion fish | source
complete -c muster -n __fish_use_subcommand -f -a "COMMANDS"
CASESVALUES`,
}

func newCompletion(s streams) *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print a completion script for a shell",
		UsageText: "muster completion bash|zsh|fish",
		Description: `A line in the shell's own file, ~/.bashrc, ~/.zshrc or ~/.config/fish/config.fish,
has every shell complete commands, options and their values: profiles and launchers of
the config, ids, runs.

   source <(muster completion bash)
   source <(muster completion zsh)
   muster completion fish | source`,
		Action: func(c *cli.Context) error {
			name, err := subcommand("completion", c.Args().Slice(), subcommands["completion"])
			if err != nil {
				return err
			}
			if c.Args().Len() > 1 {
				return tooMany("completion", c.Args().Get(1), "it is for one shell")
			}
			text := completions[name]
			_, err = fmt.Fprint(s.out, fillCompletion(c.App, name, text))
			return err
		},
	}
}

func fillCompletion(app *cli.App, sh, text string) string {
	var names []string
	var cases strings.Builder
	for _, cmd := range app.Commands {
		if cmd.Hidden {
			continue
		}
		names = append(names, cmd.Name)
		words := strings.Join(optionWords(cmd), " ")
		switch sh {
		case "bash":
			fmt.Fprintf(&cases, "    %s) words=\"%s\" ;;\n", cmd.Name, words)
		case "zsh":
			fmt.Fprintf(&cases, "    %s) local opts=\"%s\" ;;\n", cmd.Name, words)
		case "fish":
			for _, w := range strings.Fields(words) {
				fmt.Fprintf(&cases, "complete -c muster -n '__fish_seen_subcommand_from %s' %s\n", cmd.Name, fishOption(w))
			}
		}
	}
	return strings.NewReplacer("COMMANDS", strings.Join(names, " "), "CASES", cases.String(), "VALUES", valueCases(sh)).Replace(text)
}

// valueCases complete the values of options that have few, or such as are common.
func valueCases(sh string) string {
	var b strings.Builder
	values := func(flag, commands, words string) {
		switch sh {
		case "bash":
			fmt.Fprintf(&b, "    --%s) COMPREPLY=($(compgen -W \"%s\" -- \"$cur\")); return;;\n", flag, words)
		case "zsh":
			fmt.Fprintf(&b, "    --%s) compadd -- %s; return ;;\n", flag, words)
		case "fish":
			fmt.Fprintf(&b, "complete -c muster -n '__fish_seen_subcommand_from %s' -l %s -x -a \"%s\"\n", commands, flag, words)
		}
	}
	for _, f := range profileFields() {
		if len(f.OneOf) > 0 {
			values(flagOf(f), "up with", strings.Join(f.OneOf, " "))
		}
	}
	values("launcher", "launch", config.Local+" "+byHand) // the others are the config's
	values("valid", "launch join", "1h 8h 24h 168h")
	return b.String()
}

func fishOption(w string) string {
	switch {
	case strings.HasPrefix(w, "--"):
		return "-l " + w[2:]
	case strings.HasPrefix(w, "-"):
		return "-s " + w[1:]
	}
	return "-f -a " + w
}

func optionWords(cmd *cli.Command) []string {
	if cmd.Name == "completion" {
		return []string{"bash", "zsh", "fish"}
	}
	words := []string{"--help"}
	if cmd.Name == "config" {
		words = append(words, "check", "show")
	}
	for _, f := range cmd.Flags {
		for _, n := range f.Names() {
			if len(n) == 1 {
				words = append(words, "-"+n)
			} else if n != "help" {
				words = append(words, "--"+n)
			}
		}
	}
	return words
}
