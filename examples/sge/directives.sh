#$ -l hostname=!node7
export OMP_PROC_BIND=${OMP_PROC_BIND:-close}
