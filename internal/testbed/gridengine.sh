# Boots a private Grid Engine below $DIR, without Debian's questions: one
# qmaster and one execd on this host, queue all.q, parallel environment smp.
set -eu
LIB=/usr/lib/gridengine SHARE=/usr/share/gridengine HOST=$(hostname)
PATH=$LIB:/usr/sbin:$PATH
getent hosts "$HOST" >/dev/null || echo "127.0.0.1 $HOST" >>/etc/hosts
mkdir -p "$SGE_ROOT/bin" "$SGE_ROOT/lib" "$SGE_ROOT/utilbin" "$SGE_ROOT/default/common" \
	"$DIR/spool/qmaster/job_scripts" "$DIR/spool/db" "$DIR/spool/execd"
ln -sfn $SHARE/util "$SGE_ROOT/util"
for d in bin lib utilbin; do ln -sfn $LIB "$SGE_ROOT/$d/$SGE_ARCH"; done
cat >"$SGE_ROOT/default/common/bootstrap" <<EOF
admin_user              sgeadmin
default_domain          none
ignore_fqdn             true
spooling_method         berkeleydb
spooling_lib            libspoolb
spooling_params         $DIR/spool/db
binary_path             /usr/sbin
qmaster_spool_dir       $DIR/spool/qmaster
security_mode           none
listener_threads        2
worker_threads          2
scheduler_threads       1
EOF
echo "$HOST" >"$SGE_ROOT/default/common/act_qmaster"
# A daemon maps its address back to a name, and 127.0.0.1 is localhost first.
echo "$HOST localhost" >"$SGE_ROOT/default/common/host_aliases"
sed -e "s|^execd_spool_dir.*|execd_spool_dir $DIR/spool/execd|" -e 's/^min_uid.*/min_uid 0/' -e 's/^min_gid.*/min_gid 0/' \
	-e 's/^load_report_time.*/load_report_time 00:00:02/' -e 's|^mailer.*|mailer /bin/true|' \
	$SHARE/default-configuration >"$DIR/conf"
chown -R sgeadmin: "$SGE_ROOT" "$DIR/spool"
su -s /bin/sh sgeadmin -c "set -e
	export SGE_ROOT=$SGE_ROOT SGE_CELL=default SGE_QMASTER_PORT=$SGE_QMASTER_PORT SGE_EXECD_PORT=$SGE_EXECD_PORT
	$LIB/spoolinit berkeleydb libspoolb $DIR/spool/db init
	$LIB/spooldefaults configuration $DIR/conf
	$LIB/spooldefaults complexes $SHARE/util/resources/centry
	$LIB/spooldefaults usersets $SHARE/util/resources/usersets
	$LIB/spooldefaults managers sgeadmin
	$LIB/spooldefaults managers root"
sge_qmaster
await() {
	n=0
	until "$@" >/dev/null 2>&1; do
		n=$((n + 1)); [ $n -lt 200 ] || { echo "timed out: $*"; cat "$DIR"/spool/qmaster/messages; exit 1; }
		sleep 0.1
	done
}
await timeout 5 qconf -sh
qconf -sh | grep -qx "$HOST" || qconf -ah "$HOST"
qconf -ss 2>/dev/null | grep -qx "$HOST" || qconf -as "$HOST"
printf 'hostname %s\nload_scaling NONE\ncomplex_values NONE\nuser_lists NONE\nxuser_lists NONE\nprojects NONE\nxprojects NONE\nusage_scaling NONE\nreport_variables NONE\n' "$HOST" >"$DIR/host"
qconf -Ae "$DIR/host"
sge_execd
printf 'pe_name smp\nslots 999\nuser_lists NONE\nxuser_lists NONE\nstart_proc_args NONE\nstop_proc_args NONE\nallocation_rule $pe_slots\ncontrol_slaves FALSE\njob_is_first_task TRUE\nurgency_slots min\naccounting_summary FALSE\nqsort_args NONE\n' >"$DIR/pe"
qconf -Ap "$DIR/pe"
printf 'group_name @allhosts\nhostlist %s\n' "$HOST" >"$DIR/hosts"
qconf -Ahgrp "$DIR/hosts"
# The template queue, without load limits, which a busy machine would reach.
qconf -sq | sed -e 's/^qname.*/qname all.q/' -e 's/^hostlist.*/hostlist @allhosts/' -e "s/^slots .*/slots $SLOTS/" \
	-e 's/^pe_list.*/pe_list smp/' -e 's/^load_thresholds.*/load_thresholds NONE/' -e 's/^shell .*/shell \/bin\/sh/' \
	-e 's/^shell_start_mode.*/shell_start_mode unix_behavior/' -e 's/^rerun.*/rerun TRUE/' -e 's/^notify.*/notify 00:00:05/' >"$DIR/queue"
qconf -Aq "$DIR/queue"
qconf -ssconf | sed -e 's/^schedule_interval.*/schedule_interval 0:0:1/' -e 's/^flush_submit_sec.*/flush_submit_sec 1/' \
	-e 's/^flush_finish_sec.*/flush_finish_sec 1/' -e 's/^job_load_adjustments.*/job_load_adjustments NONE/' >"$DIR/sched"
qconf -Msconf "$DIR/sched"
await sh -c "qstat -f | grep '^all.q@' | awk '{ bad = NF > 5 || \$4 == \"-NA-\" } END { exit(NR == 0 || bad) }'"
