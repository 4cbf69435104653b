#!/bin/sh
# Installs what the tests need, checks the source, builds for every platform
# and runs all tests, last, so that the test runner has the last word.
set -eu
cd "$(dirname "$0")"

# What scripts start beside muster. As root on Debian it is installed.
packages=
for p in parallel:parallel curl:curl jq:jq zsh:zsh fish:fish setpriv:util-linux gcc:gcc awk:gawk find:findutils sbatch:slurm-client slurmctld:slurmctld slurmd:slurmd slurmrestd:slurmrestd munged:munge qconf:gridengine-client sge_qmaster:gridengine-master sge_execd:gridengine-exec sshd:openssh-server ssh:openssh-client sshpass:sshpass pgrep:procps script:bsdutils ip:iproute2 nft:nftables tcsh:tcsh openssl:openssl Rscript:r-base-core; do
	PATH=$PATH:/usr/sbin command -v "${p%%:*}" >/dev/null || packages="$packages ${p##*:}"
done
ls /usr/lib/*/slurm-wlm/auth_jwt.so >/dev/null 2>&1 || packages="$packages slurm-wlm-jwt-plugin"
command -v go >/dev/null || packages="$packages golang-go"
if [ -n "$packages" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -q
	# shellcheck disable=SC2086 # a list of words
	apt-get install -q -y --no-install-recommends $packages libc6-dev ca-certificates
elif [ -n "$packages" ]; then
	echo "test.sh: not installed:$packages; tests that need them are skipped" >&2
fi

# Slurm's own qsub, which reads #PBS lines, cannot be installed beside Grid
# Engine's: its package is unpacked where only its test looks.
wrapper=/usr/local/lib/slurm-wlm-torque
if [ ! -x $wrapper/usr/bin/qsub ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	apt-get install -q -y --no-install-recommends libslurm-perl libslurmdb-perl
	dir=$(mktemp -d)
	(cd "$dir" && apt-get download -q slurm-wlm-torque && dpkg -x slurm-wlm-torque_*.deb $wrapper)
	rm -rf "$dir"
	for p in sbatch scancel squeue scontrol; do ln -sf "$(command -v $p)" $wrapper/usr/bin/; done
fi

unformatted=$(gofmt -l .)
if [ -n "$unformatted" ]; then
	echo "test.sh: gofmt would change: $unformatted" >&2
	exit 1
fi
go mod tidy -diff
for platform in linux/amd64 linux/arm64 darwin/arm64; do
	echo "building for $platform"
	CGO_ENABLED=0 GOOS=${platform%/*} GOARCH=${platform#*/} go build -o /dev/null .
	CGO_ENABLED=0 GOOS=${platform%/*} GOARCH=${platform#*/} go vet ./...
done
go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...

go test -race -parallel 3 -timeout 18m ./...
