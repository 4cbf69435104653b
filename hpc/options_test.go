package hpc

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// TestNormal: what leaves raw options, what stays of them, and that words within
// values are no options.
func TestNormal(t *testing.T) {
	for _, c := range []struct{ dialect, options, name, array, left string }{
		{"slurm", "#SBATCH --account=proj42", "", "", "#SBATCH --account=proj42"},
		{"slurm", "#SBATCH --partition=gpu-a100", "", "", "#SBATCH --partition=gpu-a100"},
		{"slurm", `#SBATCH --comment="a -a 1-3 -J x"`, "", "", `#SBATCH --comment="a -a 1-3 -J x"`},
		{"slurm", `#SBATCH --comment "-a 1-3" -C 'x  y'`, "", "", `#SBATCH --comment "-a 1-3" -C 'x  y'`},
		{"slurm", `#SBATCH --comment=\"-a -a 7`, "", "7", `#SBATCH --comment=\"-a`},
		{"slurm", "#SBATCH -C ib # -a 1-3", "", "", "#SBATCH -C ib # -a 1-3"},
		{"slurm", "#SBATCH -a 1-3 # three", "", "1-3", "#SBATCH # three"},
		{"slurm", "#SBATCH --array=1-9%2 --mem 4G", "", "1-9%2", "#SBATCH --mem 4G"},
		{"slurm", "#SBATCH --array 1-9%2\t--mem 4G", "", "1-9%2", "#SBATCH --mem 4G"},
		{"slurm", "#SBATCH -a1-9 -Jmy-job", "my-job", "1-9", ""},
		{"slurm", "#SBATCH --arr 1-9 --job-na=x", "x", "1-9", ""},
		{"slurm", `#SBATCH -J "x y" -n 1`, "x y", "", "#SBATCH -n 1"},
		{"slurm", `#SBATCH --job-name='it'\''s'`, "it's", "", ""},
		{"slurm", "#SBATCH -HJ held -n 1", "held", "", "#SBATCH -H -n 1"},
		{"slurm", `#SBATCH "-HJ" held -n 1`, "held", "", "#SBATCH -H -n 1"},
		{"slurm", "#SBATCH -J one\n#SBATCH -J two\n\nulimit -n 9", "two", "", "\nulimit -n 9"},
		{"slurm", "#SBATCH --exclusive -a 2-3", "", "2-3", "#SBATCH --exclusive"},
		{"slurm", "#SBATCH --unheard -a 2-3", "", "2-3", "#SBATCH --unheard"},
		{"slurm", "#SBATCH --unheard-of x -a 2-3", "", "2-3", "#SBATCH --unheard-of x"},
		{"slurm", "#SBATCH\t--mem=1G  \n  #SBATCH   -C  a|b", "", "", "#SBATCH\t--mem=1G  \n#SBATCH   -C  a|b"},
		{"slurm", "#SBATCHING is fun -a 3\n# comment -a 3", "", "", "#SBATCHING is fun -a 3\n# comment -a 3"},
		{"pbs", "#PBS -N my-Job", "my-Job", "", ""},
		{"pbs", "#PBS -V -J 1-4%2 -l nodes=1:ppn=4", "", "1-4%2", "#PBS -V -l nodes=1:ppn=4"},
		{"pbs", "#PBS -z -hVJ 1-4 -q x", "", "1-4", "#PBS -z -hV -q x"},
		{"pbs", "#PBS -I -X -f -N n", "n", "", "#PBS -I -X -f"},
		{"pbs", `#PBS -v A="b -J 1-4"`, "", "", `#PBS -v A="b -J 1-4"`},
		{"pbs", "#PBS -q x comment -J 1-4", "", "", "#PBS -q x comment -J 1-4"}, // qsub stops there
		{"torque", "#PBS -t 1,5%1 -V -N n", "n", "1,5%1", "#PBS -V"},
		{"torque", "#PBS -l nodes=node-t 1", "", "", "#PBS -l nodes=node-t 1"},
		{"sge", "#$ -V -t 1-6:2 -tc 2 -N n -cwd", "n", "1-6:2%2", "#$ -V -cwd"},
		{"sge", "#$ -tc 2\n#$ -t 1-6", "", "1-6%2", ""},
		{"sge", "#$ -pe mpi -t 1-3", "", "", "#$ -pe mpi -t 1-3"}, // -t is a value of -pe
		{"sge", "#$ -l h='a -t 1|b' -t 4-5", "", "4-5", "#$ -l h='a -t 1|b'"},
		{"sge", "#$ -q all.q # -t 1-3", "", "", "#$ -q all.q # -t 1-3"},
		{"sge", "#$-N near", "near", "", ""},
		{"sge", "#$ -ac a=1 -N x -unheard y z -t 2-3", "x", "2-3", "#$ -ac a=1 -unheard y z"},
		{"lsf", "#BSUB -J name", "name", "", ""},
		{"lsf", `#BSUB -J "name[1-9]%2" -R "span[hosts=1]"`, "name", "1-9%2", `#BSUB -R "span[hosts=1]"`},
		{"lsf", `#BSUB -J "[1-9:2]"`, "", "1-9:2", ""},
		{"lsf", "#BSUB -J x[1,4] -n 2", "x", "1,4", "#BSUB -n 2"},
		{"lsf", `#BSUB -Jd "a -J b[1-3]" -x`, "", "", `#BSUB -Jd "a -J b[1-3]" -x`},
		{"lsf", "#BSUB -q night # -J x", "", "", "#BSUB -q night # -J x"},
	} {
		d := Dialects[c.dialect]
		j, err := d.Normal(Job{Options: c.options})
		array := ""
		if j.Array != nil {
			array = j.Array.String()
		}
		if err != nil || j.Name != c.name || array != c.array || j.Options != c.left {
			t.Errorf("%s: %q is %v, name %q, array %q, left %q; want name %q, array %q, left %q", c.dialect, c.options, err, j.Name, array, j.Options, c.name, c.array, c.left)
		}
	}
	for _, c := range []struct{ dialect, options, want string }{
		{"slurm", "\n#SBATCH --comment=\"open", "options, line 2: a quote is not closed"},
		{"pbs", "#PBS -N 'open", "options, line 1: a quote is not closed"},
		{"slurm", "#SBATCH -a x", "is no array"},
		{"sge", "#$ -tc many", `-tc "many" is no number`},
		{"lsf", `#BSUB -J "a[3-1]"`, "is no array"},
		{"lsf", "#SBATCH -a 1", "is a line for another scheduler"},
		{"slurm", "#SBATCH -C a\x00", "NUL"},
	} {
		_, err := Dialects[c.dialect].Normal(Job{Options: c.options})
		var f *FieldError
		if !errors.As(err, &f) || f.Field != "options" || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %q is %v, want %q", c.dialect, c.options, err, c.want)
		}
	}
}

// TestNormalKeepsWhatOptionsDoNotSay: a name or an array of the settings stays if
// the options have the other.
func TestNormalKeepsWhatOptionsDoNotSay(t *testing.T) {
	array := &Array{Spans: []Span{{1, 3, 1}}, Throttle: 2}
	for _, c := range []struct{ dialect, options, name, array string }{
		{"lsf", "#BSUB -J mine", "mine", "1-3%2"}, {"lsf", `#BSUB -J "[4-5]"`, "config", "4-5"}, {"slurm", "#SBATCH -J mine", "mine", "1-3%2"},
		{"sge", "#$ -t 4-5", "config", "4-5%2"}, {"sge", "#$ -tc 9", "config", "1-3%9"}, {"sge", "#$ -tc 0", "config", "1-3"}, {"slurm", "#SBATCH -a 4-5", "config", "4-5"},
	} {
		j, err := Dialects[c.dialect].Normal(Job{Name: "config", Array: array, Options: c.options})
		if err != nil || j.Name != c.name || j.Array.String() != c.array {
			t.Errorf("%s: %q makes name %q and array %v, %v", c.dialect, c.options, j.Name, j.Array, err)
		}
	}
	if array.String() != "1-3%2" {
		t.Errorf("the caller's array became %v", array)
	}
}

// FuzzNormal: Normal has nothing left to do for what it returns, and what it
// leaves is read as the same options, in their order.
func FuzzNormal(f *testing.F) {
	f.Add("slurm", "  #SBATCH --constraint=ib\n\n#SBATCH -a 1-3 # x\n#SBATCH -HJ \"a b\" --comment='x\\' y'")
	f.Add("pbs", "#PBS -l select=1:ncpus=3 -J 1-4%2 -V")
	f.Add("torque", "#PBS -VN x -t 1,2")
	f.Add("sge", "#$-t 1-3 -tc 2 word\n#$ -l h='a|b'")
	f.Add("lsf", `#BSUB -J "x[1-3]%2" -R "span[hosts=1]"`)
	f.Add("sge", "#$ -x  \n#$ -t 1") // the blanks at the end of a line stay
	f.Fuzz(func(t *testing.T, dialect, options string) {
		d := Dialects[dialect]
		if d == nil {
			return
		}
		j, err := d.Normal(Job{Options: options})
		if err != nil {
			return
		}
		again, err := d.Normal(j)
		if err != nil || again.Options != j.Options || again.Name != j.Name || (again.Array == nil) != (j.Array == nil) {
			t.Fatalf("%q is %q, %q, %v, and then %q, %q, %v; %v", options, j.Options, j.Name, j.Array, again.Options, again.Name, again.Array, err)
		}
		said := func(text string) (list []string) {
			lines, err := d.parse(text)
			if err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			for _, l := range lines {
				for _, o := range l.options {
					if !o.has(setsArray) && !o.has(setsName) && !o.has(setsThrottle) {
						list = append(list, o.key)
						if o.sets != nil { // a stray word may go to an option that is not known
							list = append(list, o.value)
						}
					}
				}
			}
			return list
		}
		if before, after := said(options), said(j.Options); !slices.Equal(before, after) {
			t.Errorf("%q says %q, and what is left of it, %q, says %q", options, before, j.Options, after)
		}
	})
}
