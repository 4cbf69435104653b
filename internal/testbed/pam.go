package testbed

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// codeModule is a PAM module that asks for a code, its only argument, as those
// for one-time passwords do. None that Debian installs by itself asks for
// anything after the password. It declares what it uses (security/pam_ext.h,
// pam_modules.h), for no header to be needed.
const codeModule = `
struct pam_handle;
int pam_prompt(struct pam_handle *, int style, char **answer, const char *format, ...);
int strcmp(const char *, const char *);
void free(void *);

enum { PAM_SUCCESS = 0, PAM_AUTH_ERR = 7, PAM_PROMPT_ECHO_ON = 2 };

int pam_sm_authenticate(struct pam_handle *h, int flags, int argc, const char **argv)
{
	char *answer = 0;
	int ok;

	if (argc != 1 || pam_prompt(h, PAM_PROMPT_ECHO_ON, &answer, "%s", "Verification code: ") != PAM_SUCCESS || !answer)
		return PAM_AUTH_ERR;
	ok = strcmp(answer, argv[0]) == 0;
	free(answer);
	return ok ? PAM_SUCCESS : PAM_AUTH_ERR;
}

int pam_sm_setcred(struct pam_handle *h, int flags, int argc, const char **argv)
{
	return PAM_SUCCESS;
}
`

// pam gives the server's node a PAM service of its own for sshd: the password,
// and then the code if one is asked for. The machine's stays as it is.
func (s *SSHD) pam() error {
	if s.o.Net == nil {
		if s.o.Code != "" {
			return errors.New("an sshd that asks for a code needs a network, to have a PAM service of its own")
		}
		return nil
	}
	service := "auth required pam_unix.so nodelay\n"
	if s.o.Code != "" {
		if err := compile(codeModule, s.path("pam_code.so")); err != nil {
			return err
		}
		service += fmt.Sprintf("auth required %s %s\n", s.path("pam_code.so"), s.o.Code)
	}
	service += "account required pam_unix.so\nsession required pam_permit.so\n"
	if err := os.WriteFile(s.path("pam"), []byte(service), 0o600); err != nil {
		return err
	}
	return s.o.Net.Bind(s.o.NS, s.path("pam"), "/etc/pam.d/sshd")
}

// compile makes a shared object of a C program that includes nothing.
func compile(program, to string) error {
	cmd := exec.Command("gcc", "-shared", "-fPIC", "-nostdlib", "-x", "c", "-o", to, "-")
	cmd.Stdin = strings.NewReader(program)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("compile a PAM module: %w: %s", err, out)
	}
	return nil
}
