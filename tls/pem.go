package tls

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"
)

// Text is a text of a config and, if it is all of a file, that file's path: then it is
// read again when the file changes.
type Text struct {
	Text string `json:"text,omitempty"`
	Path string `json:"path,omitempty"`
}

// named names the text in errors.
func (t Text) named(what string) string {
	if t.Path != "" {
		return what + " (" + t.Path + ")"
	}
	return what
}

// Secret is a text that prints as [redacted].
type Secret string

// Format keeps every verb of fmt from printing the secret.
func (Secret) Format(f fmt.State, _ rune) { f.Write([]byte("[redacted]")) }

// maxPEM bounds a file of certificates, such as all that a system trusts.
const maxPEM = 4 << 20

// pipeWait is how long somebody may take to write into a pipe that is read.
const pipeWait = 10 * time.Second

// readPEM reads a file that is named by what. It waits for nobody but who has a pipe open
// to write into it, as a shell's <(COMMAND) has, and not for long: others wait for what it
// reads, as handshakes do for a certificate.
func readPEM(what, path string) (Text, error) {
	t := Text{Path: path}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return t, fmt.Errorf("read %s: %w%s", what, err, unreadable(err))
	}
	defer f.Close()
	b, err := readFile(f)
	if err != nil {
		return t, fmt.Errorf("read %s: %w", what, err)
	}
	t.Text = string(b)
	return t, nil
}

func readFile(f *os.File) ([]byte, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	pipe := st.Mode()&fs.ModeNamedPipe != 0
	if pipe {
		err = f.SetReadDeadline(time.Now().Add(pipeWait))
	} else if !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file", f.Name())
	}
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	switch {
	case err != nil:
		return nil, err
	case len(b) > maxPEM:
		return nil, fmt.Errorf("%s has more than %d bytes", f.Name(), maxPEM)
	case len(b) == 0 && pipe:
		return nil, fmt.Errorf("%s is a pipe into which nobody has written", f.Name())
	}
	return b, nil
}

func unreadable(err error) string {
	if errors.Is(err, fs.ErrPermission) {
		return "; the user who runs muster has to be able to read it: chown it, or setfacl -m u:USER:r"
	}
	return ""
}

// guardKey refuses a key's file that others can read, or that others can write.
func guardKey(path string) error {
	if path == "" {
		return nil
	}
	st, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("read key: %w%s", err, unreadable(err))
	}
	if mode := st.Mode().Perm(); mode&0o027 != 0 {
		return fmt.Errorf("key (%s): others can read or change it (mode %04o), and whoever has it can pose as this dispatcher: chmod 600 it, and make a new key if others have used this machine", path, mode)
	}
	return nil
}

// guardTrust refuses a file that everybody can change, though it says who is trusted.
func guardTrust(what string, t Text) error {
	if t.Path == "" {
		return nil
	}
	if st, err := os.Stat(t.Path); err == nil && st.Mode().IsRegular() && st.Mode().Perm()&0o002 != 0 {
		return fmt.Errorf("%s: everybody can change it (mode %04o), and so decide who is trusted: chmod o-w it", t.named(what), st.Mode().Perm())
	}
	return nil
}

// parseCertificates reads all certificates of a text, in their order; there is one at
// least.
func parseCertificates(what string, text Text) ([]*x509.Certificate, error) {
	if err := damaged(what, text); err != nil {
		return nil, err
	}
	var list []*x509.Certificate
	for _, b := range blocks(text.Text) {
		if b.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: certificate %d of it cannot be read: %w", text.named(what), len(list)+1, err)
		}
		list = append(list, c)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s holds no certificate in PEM, which stands between -----BEGIN CERTIFICATE----- and -----END CERTIFICATE-----: `openssl x509 -inform der -in FILE` makes PEM of DER, `openssl pkcs12 -in FILE` of PKCS#12", text.named(what))
	}
	return list, nil
}

// damaged says that a text begins more blocks of PEM than can be read, which are passed
// over where nothing else is amiss with it.
func damaged(what string, text Text) error {
	if begun, whole := strings.Count(text.Text, "-----BEGIN "), len(blocks(text.Text)); begun > whole {
		return fmt.Errorf("%s begins %d blocks of PEM, and %d can be read: each -----BEGIN and each -----END is a line of its own, and base64 is between them", text.named(what), begun, whole)
	}
	return nil
}

// blocks are the PEM blocks of a text, which a byte order mark may precede.
func blocks(text string) (list []*pem.Block) {
	for rest := []byte(strings.TrimPrefix(text, "\ufeff")); ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			return list
		}
		list = append(list, b)
	}
}

// keyBlock is the first private key of a text; nil without one.
func keyBlock(text string) *pem.Block {
	for _, b := range blocks(text) {
		if b.Type == "PRIVATE KEY" || strings.HasSuffix(b.Type, " PRIVATE KEY") {
			return b
		}
	}
	return nil
}

// ErrPassphrase says that a key is encrypted and no passphrase is there.
var ErrPassphrase = errors.New("the key is encrypted, and there is no passphrase: passphrase = exec([...]) in the tls block has a command print it; without that, muster asks at a terminal")

// errWrong says that a key is not opened by a passphrase.
var errWrong = errors.New("the passphrase does not open it")

func isEncrypted(b *pem.Block) bool {
	//lint:ignore SA1019 keys in this form are about, and reading one tells nobody anything
	return b.Type == encryptedType || x509.IsEncryptedPEMBlock(b)
}

// parseKey reads the first private key of a text. Errors repeat nothing of it.
func parseKey(text Text, passphrase Secret) (crypto.Signer, error) {
	if err := damaged("key", text); err != nil {
		return nil, err
	}
	b := keyBlock(text.Text)
	if b == nil {
		return nil, fmt.Errorf("%s holds no private key in PEM, which stands between -----BEGIN PRIVATE KEY----- and -----END PRIVATE KEY-----: `openssl pkey -inform der -in FILE` makes PEM of DER, `openssl pkcs12 -in FILE` of PKCS#12", text.named("key"))
	}
	der := b.Bytes
	if isEncrypted(b) {
		if passphrase == "" {
			return nil, fmt.Errorf("%s: %w", text.named("key"), ErrPassphrase)
		}
		var err error
		if der, err = decrypt(b, string(passphrase)); err != nil {
			return nil, fmt.Errorf("%s: %w", text.named("key"), err)
		}
	}
	var key any
	var err error
	switch b.Type {
	case "PRIVATE KEY", encryptedType:
		key, err = x509.ParsePKCS8PrivateKey(der)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(der)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(der)
	default:
		return nil, fmt.Errorf("%s: a key of the form %q is not known here: `openssl pkey -in FILE` makes PKCS#8 of most forms, `ssh-keygen -p -m PKCS8 -f FILE` of OpenSSH's", text.named("key"), b.Type)
	}
	if err != nil && isEncrypted(b) {
		return nil, fmt.Errorf("%s: %w", text.named("key"), errWrong)
	}
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", text.named("key"), err)
	}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		return key, nil
	case *ecdsa.PrivateKey:
		return key, nil
	case ed25519.PrivateKey:
		return key, nil
	}
	return nil, fmt.Errorf("%s: TLS 1.3 signs with RSA, ECDSA and Ed25519, and this is a %T", text.named("key"), key)
}

func decrypt(b *pem.Block, passphrase string) ([]byte, error) {
	if b.Type == encryptedType {
		return decryptPKCS8(b.Bytes, passphrase)
	}
	//lint:ignore SA1019 as above
	der, err := x509.DecryptPEMBlock(b, []byte(passphrase))
	if errors.Is(err, x509.IncorrectPasswordError) {
		return nil, errWrong
	}
	if err != nil {
		return nil, fmt.Errorf("%w; "+convert, err)
	}
	return der, nil
}
