package cli

import "github.com/urfave/cli/v2"

// completions ask `muster complete` at each TAB: the program that is being typed, so that
// it knows its own options.
var completions = map[string]string{
	"bash": `# bash completion for muster: source <(muster completion bash)
_muster() {
  local line what w i n=0 join= cur strip words=()
  # bash has made words of their own of = and :, which are put together again.
  for ((i = 1; i <= COMP_CWORD; i++)); do
    w=${COMP_WORDS[i]}
    if ((n > 0)) && [[ $join || $w == : || $w == =* ]]; then
      words[n-1]+=$w
      [[ $w == : || $w == = ]] && join=1 || join=
    else
      words[n++]=$w
    fi
  done
  cur=${words[n-1]}
  strip=${cur%"${cur##*[=:]}"} # bash puts what is found behind it
  COMPREPLY=()
  while IFS=$'\t' read -r line what; do
    case $line in
      :files) compopt -o default ;;
      :folders) compopt -o dirnames ;;
      ":command "*)
        if ((n == COMP_CWORD)) && declare -F _command_offset >/dev/null; then
          _command_offset $((${line#:command } + 1))
          return
        fi
        compopt -o default
        ((${line#:command } + 1 == n)) && while IFS= read -r w; do COMPREPLY+=("$w"); done < <(compgen -c -- "$cur") ;;
      ?*) COMPREPLY+=("${line#"$strip"}") ;;
    esac
  done < <("${1/#\~\//$HOME/}" complete -- "${words[@]}" 2>/dev/null)
}
complete -F _muster muster
`,
	"zsh": `#compdef muster
# zsh completion for muster: source <(muster completion zsh)
_muster() {
  local line what
  local -a found
  while IFS=$'\t' read -r line what; do
    case $line in
      :files) compset -P '--*='; _files ;;
      :folders) compset -P '--*='; _files -/ ;;
      ":command "*)
        local -i first=$(( ${line#:command } + 2 ))
        shift $((first - 1)) words
        (( CURRENT -= first - 1 ))
        _normal ;;
      ?*) found+=("${line//:/\\:}${what:+:$what}") ;;
    esac
  done < <("${words[1]/#\~\//$HOME/}" complete -- "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)
  if (( $#found )); then _describe muster found; fi
}
if [[ ${funcstack[1]} == _muster ]]; then _muster "$@"; else compdef _muster muster; fi
`,
	"fish": `# fish completion for muster: muster completion fish | source
function __muster_complete
    set -l words (commandline -opc)
    set -l program (string replace -r '^~/' "$HOME/" -- $words[1])
    set -e words[1]
    set -l current (commandline -ct)
    for line in ($program complete -- $words "$current" 2>/dev/null)
        set -l found (string split -m 1 \t -- $line)
        switch $found[1]
            case ':files' ':folders'
                set -l before (string match -r '^--[^=]*=' -- $current)
                for path in (complete -C "'' "(string escape -- (string replace -r '^--[^=]*=' '' -- $current)))
                    if test $found[1] = :files; or string match -q '*/*' -- (string split -m 1 \t -- $path)[1]
                        echo "$before$path"
                    end
                end
            case ':command *'
                for i in (seq (string replace ':command ' '' -- $found[1]))
                    set -e words[1]
                end
                complete -C (string join ' ' -- (string escape -- $words) (string escape -n -- "$current"))
            case '*'
                echo $line
        end
    end
end
complete -c muster -f -a '(__muster_complete)'
`,
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
			return show(s.out, completions[name])
		},
	}
}
