package cli

import (
	"strings"
	"testing"
)

// TestComplete: what the shells are told; testdata/script/completion.txtar asks by them.
func TestComplete(t *testing.T) {
	ownWorld(t)
	for line, want := range map[string]string{
		"ru":                         "run",
		"slo":                        "", // hidden
		"nothing ":                   "",
		"--vers":                     "--version",
		"run --t":                    "--timeout",
		"run -":                      "-k", // among others
		"run --timeout ":             "10m",
		"run --timeout=":             "--timeout=10m",
		"run --cleanup=":             "", // it is up's
		"up --cleanup=f":             "--cleanup=false",
		"run --env MUSTER_ST":        "MUSTER_STATE",
		"run -a ":                    ":files",
		"run --arg-file=x":           ":files",
		"run --results ":             ":folders",
		"run ":                       ":command 1",
		"run -k ":                    ":command 2",
		"run -k -- ":                 ":command 3",
		"run -k -- git -":            ":command 3",
		"run git --":                 ":command 1",
		"run ::: ":                   ":files",
		"run ::: -":                  ":files",
		"run ::: a b -- ":            ":command 5",
		"run -kn 4 --progress al":    "always",
		"run -n":                     "-n",
		"--log-level debug submit ":  ":command 3",
		"everywhere -- mod":          ":command 2",
		"wait -- --":                 "", // an id is to come
		"tls pin ":                   ":files",
		"tls check ":                 "",
		"share p":                    "put",
		"share put ":                 "", // a name of one's own
		"share put x ":               ":files",
		"share rm ":                  "", // nobody is up
		"run --share x=":             ":files",
		"tls check --cert ":          ":files",
		"help com":                   "completion",
		"help run ":                  "",
		"config check ":              "",
		"config check --js":          "--json",
		"worker --autoexit ":         "finish",
		"worker --output=e":          "--output=echo",
		"url --family ipv":           "ipv4",
		"run --run ":                 "", // a name of one's own
		"status --run ":              "", // none is under way
		"submit --dispatcher= -p ":   "",
		"launch --launcher no":       "none",
		"up --launcher no":           "",
		"doctor --wait 3":            "30s",
		"completion ba":              "bash",
		"completion bash ":           "",
		"up -p x --scheduling round": "round-robin",
	} {
		found := complete(testApp(), strings.Split(line, " "))
		has := want == "" && len(found) == 0
		for _, c := range found {
			has = has || c.word == want
		}
		if !has {
			t.Errorf("%q is completed by %q, want %q", line, found, want)
		}
	}
}

// FuzzComplete: nothing panics, and all that is found goes on with what is there.
func FuzzComplete(f *testing.F) {
	for _, line := range []string{"", " ", "-", "-- ", "= ", "--= ", "run -= -kn4=5 --progress==", "::: run ::: ", "run -k=x -n", "help  join", "--log-level", "status -", "tls pin -- -"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		words := strings.Split(line, " ")
		current := words[len(words)-1]
		for _, c := range complete(testApp(), words) {
			if !strings.HasPrefix(c.word, current) && !strings.HasPrefix(c.word, ":") {
				t.Errorf("%q is completed by %q", line, c.word)
			}
		}
	})
}
