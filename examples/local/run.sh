#!/bin/sh
# Hashes every file of the Go source tree with muster and with xargs, and
# checks that both say the same. muster has to be on the PATH.
set -eu
source=${1:-$(go env GOROOT)/src}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

find "$source" -type f | sort >"$out/files"
muster run -k -a "$out/files" -- sha256sum {} >"$out/muster"
xargs -d '\n' -n 64 sha256sum <"$out/files" >"$out/xargs"
cmp "$out/muster" "$out/xargs"
echo "$(wc -l <"$out/files") files, the same sums from both"
