package remote

import (
	"fmt"
	"strings"
)

// wayText is a function of a shell, way FOLDER LAST DEPTH, which says who beside the
// user and root could write in a folder there, or put another in its place, as
// owner.Way does here. LAST is 1 for the folder that is asked about and empty for one
// on the way. It prints nothing if nobody could, nor of what is not there yet.
const wayText = `me=$(id -u); mine=; test "$(id -gn)" = "$(id -un)" && mine=$(id -g); ` +
	`way() ( last=$2; n=$3; test "$n" -lt 40 || { echo "$1: too many links"; exit 1; }; set -f; IFS=/; set -- ${1#/}; IFS=" "; k=$#; i=0; at=; ` +
	`for w in "$@"; do i=$((i + 1)); test -n "$w" || continue; at=$at/$w; l=$(LC_ALL=C ls -ldn "$at" 2>/dev/null) || exit 0; set -- $l; ` +
	`f=; test $i = $k && f=$last; ` +
	`case $3 in 0|$me) ;; *) echo "$at belongs to user $3"; exit 1;; esac; ` +
	`case $1 in l*) t=$(readlink "$at"); case $t in /*) ;; *) t=${at%/*}/$t;; esac; way "$t" "$f" $((n + 1)) || exit 1; continue;; esac; ` +
	`case $1 in ?????????[tT]*) test -n "$f" || continue;; esac; ` + // sticky
	`case $1 in ????????w*) ;; *+|?????-*) test "${1#?????w}" = "$1" && continue;; ?????w*) test "$4" = "$mine" && continue;; esac; ` +
	`echo "others can write to $at ($1)"; exit 1; done ); `

// openTo is what a script prints before what way has said of a folder.
const openTo = "open: "

// guard is the part of a script that ends it if the folder whose path is in the
// variable d is open to others.
const guard = wayText + `u=$(way "$d" 1 0) || { echo "` + openTo + `$u"; exit 0; }; `

// guarded is the error of a script that guard has ended.
func (p *place) guarded(text string) error {
	who, open := strings.CutPrefix(text, openTo)
	if !open {
		return nil
	}
	return fmt.Errorf("muster's folder there, %s, is not safe: %s, and so could have another program run as you; chmod go-w that if it is yours, or `state = \"/a/folder/of/yours\"` in the launcher names another place", p.state, oneLine(who))
}
