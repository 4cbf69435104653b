package testbed_test

import "testing"

func TestDoublePBSArray(t *testing.T) {
	t.Parallel()
	json := "qstat -t -f -F json '0[].server'"
	newDouble(t, "pbs").ask(
		asked{`hold '#PBS -N six -J 1-6'; qsub <script`, 0, `0\[\].server`, ""},
		asked{`until_ 'test $(` + json + ` | grep -o "job_state.:.R" | wc -l) = 4'`, 0, "", ""},
		asked{json, 0, `.*"0\[1\].server":{[^}]*"exec_host":"node/0"[^}]*"job_state":"R".*"0\[5\].server":{[^}]*"comment":"Not Running: [^}]*"job_state":"Q".*"0\[\].server":{[^}]*"job_state":"B".*`, ""},
		asked{"qstat -f -F json '0[].server' | grep -o '\"0[^\"]*'", 0, `"0\[\].server`, ""},
		asked{"qstat -f -F json '0[3]' | grep -o '\"0[^\"]*' | sort -u", 0, "\"0\\[3\\].server\n\"0\\[\\].server", ""}, // array_id is the second
		asked{"qstat 0.server", 153, "", "qstat: Unknown Job Id 0.server"},
		// Of those it knows it tells.
		asked{"qstat -f -F json 99 '0[].server'", 153, `.*"0\[\].server":.*`, "qstat: Unknown Job Id 99.server"},
		asked{"qstat -f -F json 99", 153, `{"pbs_server":"server".*}`, "qstat: Unknown Job Id 99.server"},
		asked{"qstat -t | sed 1,2d | cut -d' ' -f1 | tr '\\n' ' '", 0, `0\[\].server 0\[1\].server .* 7000.server `, ""},
		asked{"qstat -u alice | grep -c server", 0, "2", ""}, // the server's line and the job's
		asked{"qdel 99", 153, "", "qdel: Unknown Job Id 99.server"},
		asked{"qdel 7000", 159, "", "qdel: Unauthorized Request  7000.server"},
		asked{"qdel '0[2]' '0[6].server'", 0, "", ""},
		asked{`until_ "qstat -f '0[2]' | grep 'job_state = X'"`, 0, "", ""},
		asked{"qstat -f '0[2]' '0[6]' | grep -E 'state|Exit' | tr -d ' \\n'", 0, "job_state=XExit_status=271substate=91job_state=XExit_status=271substate=91", ""},
		asked{"qdel '0[2]'", 55, "", `qdel: Request invalid for finished array subjob 0\[2\].server`},
		asked{"qselect -N six; qselect -N five; qselect -u alice", 0, "0\\[\\].server\n7000.server", ""},
		asked{`touch go; until_ 'test -z "$(qselect -N six)"'`, 0, "", ""},
		asked{"qstat '0[].server'", 35, "", `qstat: 0\[\].server Job has finished, use -x or -H to obtain historical job information`},
		asked{"qstat -x -t -f '0[].server' | grep -E 'job_state' | sort -u", 0, "    job_state = F", ""},
		asked{"qdel '0[]'", 35, "", `qdel: Job has finished 0\[\].server`},
		asked{"qstat | grep -c 0.server", 0, "1", ""}, // theirs
		asked{"DOUBLE_HISTORY=off qstat -x '0[].server'", 153, "", `qstat: Unknown Job Id 0\[\].server`},
		asked{"grep PBS_ARRAY_ ran.3 | sort", 0, `PBS_ARRAY_ID=0\[\].server` + "\nPBS_ARRAY_INDEX=3", ""},
		asked{"cat six.o0.3 six.e0.3", 0, "said 3\ncomplained 3", ""},
	)
}

func TestDoublePBSJob(t *testing.T) {
	t.Parallel()
	newDouble(t, "pbs").ask(
		asked{"touch go; mkdir -p sub", 0, "", ""},
		// Options that take no value take none.
		asked{"hold '#PBS -V -l nodes=1:ppn=2 -N 12' '#PBS -joe -o out -A nobody'; cd sub; qsub ../script", 0, "0.server", ""},
		asked{"qstat -x -f -F json 0", 0, `.*"Job_Name":12,.*`, ""},
		asked{"until_ 'test -e sub/out'; cat sub/out", 0, "said\ncomplained", ""},
		asked{"grep -E '^(MINE|PBS_O_WORKDIR)=' ran. | sed 's|=.*/|=|' | sort", 0, "MINE=1\nPBS_O_WORKDIR=sub", ""},
		// Without -V it has nothing of the submitter's, and starts at home.
		asked{"rm ran.; hold; cd sub; qsub ../script", 0, "1.server", ""},
		asked{"until_ 'test -e sub/script.o1'; grep -c ^MINE= ran.; test $(tail -n 1 ran.) = $HOME", 0, "0", ""},
		asked{"rm ran.; hold; qsub -v MINE,A=b -z <script; until_ 'test -e STDIN.e2'; grep -E '^(A|MINE)=' ran. | sort", 0, "A=b\nMINE=1", ""},
		// The prefix of directives.
		asked{"hold '#X -N else' '#PBS -N mine'; PBS_DPREFIX='#X' qsub script; qselect -x -N else", 0, "3.server\n3.server", ""},
		asked{"qsub -C '#PBS' script; qselect -x -N mine", 0, "4.server\n4.server", ""},
		asked{"qsub -N cmd -C '#PBS' script; qselect -x -N cmd", 0, "5.server\n5.server", ""},
		// -k: straight to its place.
		asked{"rm go; printf 'echo early; exec sleep 100' | qsub -S /bin/sh -k oed -j oe -o early; until_ 'grep early early'; qdel 6", 0, "6.server", ""},
		asked{"echo true | qsub -h; qstat -f 7 | grep job_state", 0, "7.server\n    job_state = H", ""},
		asked{"qdel 7; qstat 7", 35, "", "qstat: 7.server Job has finished.*"},
		asked{"printf '#!/bin/sh\nexec sleep 100\n' | qsub -l walltime=1 -joe -o late; until_ 'test -s late'; cat late", 0, "8.server\n=>> PBS: job killed: walltime 1 exceeded limit 1", ""},
		asked{`until_ "qstat -x -f 8 | grep 'job_state = F'"; qstat -x -f 8 | grep Exit`, 0, "    Exit_status = -29", ""},
		asked{"preload own R; qstat -u $(id -un) | grep -c own", 0, "7001.server\n1", ""},
		asked{"preload 'own job'", 2, "", "usage: preload .*"},
	)
}

// TestDoublePBSOutput: output is copied when a job has ended, which is in state E
// until it is; a folder that is missing costs some tries, and the output stays.
func TestDoublePBSOutput(t *testing.T) {
	t.Parallel()
	newDouble(t, "pbs", "DOUBLE_COPY_TIME=20s").ask(
		asked{"touch go; hold '#PBS -j oe -o missing/out'; qsub script", 0, "0.server", ""},
		asked{"until_ \"qstat -f 0 | grep 'job_state = E'\"; qstat -f 0 | grep -c Exit_status; ls undelivered", 2, "1", "ls: .*"},
		asked{"qdel 0", 168, "", "qdel: Request invalid for state of job 0.server"},
		asked{"DOUBLE_COPY_TIME=10ms qsub script; until_ \"qstat -x -f 1 | grep 'job_state = F'\"; cat undelivered/1.server.OU", 0, "1.server\nsaid\ncomplained", ""},
		asked{"cut -d';' -f2- server.log", 0, "Job;1.server;Post job file processing error; job 1.server on host node, .*missing/out: .*", ""},
		asked{"qstat -f 0 | grep 'job_state = E'", 0, " *job_state = E", ""},
		asked{"mkdir missing; until_ \"qstat -x -f 0 | grep 'job_state = F'\"; cat missing/out; ls undelivered", 0, "said\ncomplained\n1.server.OU", ""},
	)
}

func TestDoubleTorque(t *testing.T) {
	t.Parallel()
	rows := `sed 's/<Job>/\n/g' | grep -o '<Job_Id>.*</Job_Name>\|<job_state>.' | sed 's/<[^>]*>/ /g' | tr -d '\n'`
	newDouble(t, "torque", "DOUBLE_KEEP_COMPLETED=1h").ask(
		asked{"hold '#PBS -N odd|<name>' '#PBS -t 2,7-8%2' '#PBS -o out -joe'; qsub script", 0, `1\[\].server`, ""},
		asked{`until_ "qstat -x -t '1[].server' | grep '<job_state>R<.*<job_state>R<.*<job_state>Q<'"`, 0, "", ""},
		asked{"qstat -t -x '1[].server' | " + rows, 0, ` 1\[2\].server  odd\|&lt;name&gt;-2  R 1\[7\].server  odd\|&lt;name&gt;-7  R 1\[8\].server  odd\|&lt;name&gt;-8  Q`, ""},
		asked{"qstat -x '1[].server' | " + rows, 0, ` 1\[\].server  odd\|&lt;name&gt;  R`, ""},
		asked{"qstat -t -x 99 1.server", 153, "", "qstat: Unknown Job Id Error 99.server\nqstat: Unknown Job Id Error 1.server"},
		asked{"qstat | sed 1,2d | cut -d' ' -f1 | tr '\\n' ' '", 0, `1\[\].server 7000.server `, ""},
		asked{"preload waits; qselect; PBS_QSTAT_EXECONLY= qselect", 0, "7001.server\n1\\[\\].server\n7000.server\n7001.server\n1\\[\\].server\n7000.server", ""},
		asked{"PBS_QSTAT_EXECONLY=1 qstat | grep -c 7001; PBS_QSTAT_EXECONLY=1 qstat 7001 | grep -c 7001", 0, "0\n1", ""},
		asked{"qdel -t 8 '1[].server'; qdel 7000", 159, "", "qdel: Unauthorized Request  7000.server"},
		asked{"qstat -t -x '1[8].server' | grep -o '<job_state>.*</exit_status>'", 0, "<job_state>C<.*<exit_status>271</exit_status>", ""},
		asked{"PBS_QSTAT_NO_COMPLETE=1 qstat -t -x '1[].server' | grep -c '1\\[8\\]'", 1, "0", ""},
		// Each element is forgotten by itself, and then the array.
		asked{"DOUBLE_KEEP_COMPLETED=0s qstat '1[8].server'", 153, "", `qstat: Unknown Job Id Error 1\[8\].server`},
		asked{"DOUBLE_KEEP_COMPLETED=0s qstat -t -x '1[].server' | grep -o '<Job_Id>[^<]*' | tr -d '\\n'", 0, `<Job_Id>1\[2\].server<Job_Id>1\[7\].server`, ""},
		asked{`touch go; until_ 'test -e out-2 -a -e out-7'; until_ "qstat -t -x '1[].server' | grep '<job_state>C<.*<job_state>C<.*<job_state>C<'"; cat out-7`, 0, "said 7\ncomplained 7", ""},
		asked{"qdel '1[].server'; qdel '1[7]'", 168, "", `qdel: Request invalid for state of job MSG=invalid state for job - COMPLETE 1\[7\].server`},
		asked{"DOUBLE_KEEP_COMPLETED=0s qstat '1[].server'", 153, "", `qstat: Unknown Job Id Error 1\[\].server`},
		asked{"grep -E '^(PBS_ARRAYID|MINE|PBS_JOBID)=' ran.7 | sort", 0, "PBS_ARRAYID=7\nPBS_JOBID=1\\[7\\].server", ""},
		asked{`printf '#!/bin/sh\r\n' | qsub; echo true | qsub -t 4; preload 'a b'`, 2, "2.server\n3\\[\\].server", "usage: preload .*"},
	)
}

func TestDoubleLSF(t *testing.T) {
	t.Parallel()
	newDouble(t, "lsf").ask(
		// A file is a command: nobody reads its directives.
		asked{"touch go; hold '#BSUB -J never' '#BSUB -o never'; chmod +x script; bsub ./script", 0, "Job <101> is submitted to default queue <normal>.", ""},
		asked{"until_ 'bjobs 101 | grep DONE'; bjobs -w 101 | sed 1d; ls never", 2, `101 +\S+ +DONE  normal     login       node        ./script   Nov 24 12:00`, "ls: .*"},
		// All of the submitter's environment, where it was submitted.
		asked{"mkdir sub; cd sub; (cd ..; hold '#BSUB -J \"my sim\"' '#BSUB -o ../out.%J'); BSUB_QUIET=1 bsub <../script", 0, "", ""},
		asked{"until_ 'test -s out.102'; grep -E '^(MINE|LSB_JOBINDEX|LSB_JOBNAME)=' ran.0 | sort; tail -n 1 ran.0", 0, "LSB_JOBINDEX=0\nLSB_JOBNAME=my sim\nMINE=1\n.*/sub", ""},
		asked{"cat out.102", 0, "Sender: LSF System .*Subject: Job 102: <my sim> in cluster <cluster1> Done\n.*said 0\ncomplained 0", ""},
		asked{`rm go; hold '#BSUB -J "long name here[1-9:4]%2" -n 2 -W 0:30 -M 1g' "#BSUB -R 'rusage[mem=1]'"; bsub -q normal <script`, 0, "Job <103> is submitted to queue <normal>.", ""},
		asked{`until_ "bjobs -w 103 | grep 'RUN.*\\[5\\]'"; bjobs -w 103 | sed '1d;s/ *Nov.*//'`, 0, `103 +\S+ +RUN   normal     login       node        long name here\[1\]\n103 +\S+ +RUN .*long name here\[5\]\n103 +\S+ +PEND  normal     login       -           long name here\[9\]`, ""},
		asked{"bjobs | sed '1d;s/ *Nov.*//' | head -n 1", 0, `103 .* \*e here\[1\]`, ""},
		asked{"bjobs -w 999 103 888 | wc -l; bjobs 999 103 >out", 255, "4", "Job <999> is not found\nJob <888> is not found\nJob <999> is not found"},
		asked{"LSB_BJOBS_FORMAT='jobid stat:5 delimiter=\",\"' bjobs -a -w", 0, "JOBID,STAT\n101,DONE\n102,DONE\n103,RUN\n103,RUN\n103,PEND", ""},
		asked{"bjobs -noheader -o 'jobid jobindex stat exec_host exit_code' '103[9]'", 0, "103 9 PEND - -", ""},
		asked{"bjobs -o 'jobid jobindex stat' -json '103[9]' | tr -d ' \\n'", 0, `{"COMMAND":"bjobs","JOBS":1,"RECORDS":\[{"JOBID":"103","JOBINDEX":"9","STAT":"PEND"}\]}`, ""},
		asked{"bjobs -a -u alice | sed 1d; bjobs -w -u all | grep -c theirs", 0, "7000 .*theirs .*\n1", ""},
		asked{"bkill 999 7000", 255, "", "Job <999>: No matching job found\nJob <7000>: User permission denied"},
		asked{"bkill", 255, "", "Job ID required.*"},
		asked{"bkill '103[9]'; bjobs -l '103[9]' | sed ':a;N;$!ba;s/\\n {21}//g' -E", 0, `Job <103\[9\]> is being terminated\n\nJob <103\[9\]>, Job Name <long name here\[9\]>, User <[^>]*>, Project <default>, Status <EXIT>, .*TERM_OWNER: job killed by owner.`, ""},
		asked{"preload 'a|b c\nd' R; bjobs -w", 0, "7001\n.*RUN +normal     login       node        a\\|b c\nd +Nov.*", ""},
		asked{"bkill 0", 0, "Job <103> is being terminated\nJob <7001> is being terminated", ""},
		asked{"until_ '! bjobs'; bkill 0", 255, "", "No matching job found"},
		asked{"bkill 103", 255, "", "Job <103>: Job has already finished"},
		asked{"bjobs -a -w | sed 1d | grep -c EXIT", 0, "4", ""},
		asked{"DOUBLE_CLEAN_PERIOD=0s bjobs 103", 255, "", "Job <103> is not found"},
		asked{"DOUBLE_CLEAN_PERIOD=0s bjobs -a", 255, "", "No job found"},
	)
}
