package tls

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"hash"
)

// encryptedType is the type of a PEM block that is a PKCS#8 key under a passphrase.
const encryptedType = "ENCRYPTED PRIVATE KEY"

// convert is what helps with a key that is encrypted in another way.
const convert = "`openssl pkcs8 -topk8 -v2 aes-256-cbc -in FILE -out NEW` encrypts it in a way that is known here"

// maxIterations bounds what a passphrase costs: 2 million are about a second.
const maxIterations = 2_000_000

// What is known of RFC 8018: PBES2 with PBKDF2, as OpenSSL writes it.
var (
	oidPBES2  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}

	pseudorandom = map[string]func() hash.Hash{
		"1.2.840.113549.2.7": sha1.New, "1.2.840.113549.2.9": sha256.New,
		"1.2.840.113549.2.10": sha512.New384, "1.2.840.113549.2.11": sha512.New,
	}
	ciphers = map[string]blockCipher{
		"2.16.840.1.101.3.4.1.2": {16, aes.NewCipher}, "2.16.840.1.101.3.4.1.22": {24, aes.NewCipher},
		"2.16.840.1.101.3.4.1.42": {32, aes.NewCipher}, "1.2.840.113549.3.7": {24, des.NewTripleDESCipher},
	}
)

// blockCipher is used with CBC.
type blockCipher struct {
	key int // bytes of its key
	of  func(key []byte) (cipher.Block, error)
}

var errDamaged = errors.New("the encrypted key is damaged")

// decryptPKCS8 returns what an EncryptedPrivateKeyInfo (RFC 5208, section 6) holds. A
// wrong passphrase may go unnoticed, and gives rubbish then.
func decryptPKCS8(der []byte, passphrase string) ([]byte, error) {
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}
	var scheme struct{ KDF, Cipher pkix.AlgorithmIdentifier }
	var kdf struct {
		Salt       []byte
		Iterations int
		KeyLength  int                      `asn1:"optional"`
		PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
	}
	var iv []byte
	if _, err := asn1.Unmarshal(der, &info); err != nil {
		return nil, errDamaged
	}
	if !info.Algorithm.Algorithm.Equal(oidPBES2) {
		return nil, fmt.Errorf("it is encrypted by %v, which is not known here: "+convert, info.Algorithm.Algorithm)
	}
	if _, err := asn1.Unmarshal(info.Algorithm.Parameters.FullBytes, &scheme); err != nil {
		return nil, errDamaged
	}
	prf, c := pseudorandom["1.2.840.113549.2.7"], ciphers[scheme.Cipher.Algorithm.String()]
	if !scheme.KDF.Algorithm.Equal(oidPBKDF2) || c.of == nil {
		return nil, fmt.Errorf("it is encrypted by %v and %v, which are not both known here: "+convert, scheme.KDF.Algorithm, scheme.Cipher.Algorithm)
	}
	_, errKDF := asn1.Unmarshal(scheme.KDF.Parameters.FullBytes, &kdf)
	_, errIV := asn1.Unmarshal(scheme.Cipher.Parameters.FullBytes, &iv)
	if errKDF != nil || errIV != nil {
		return nil, errDamaged
	}
	if len(kdf.PRF.Algorithm) > 0 {
		prf = pseudorandom[kdf.PRF.Algorithm.String()]
	}
	if prf == nil || kdf.Iterations < 1 || kdf.Iterations > maxIterations {
		return nil, fmt.Errorf("its key derivation, %d times %v, is not one that is known here: "+convert, kdf.Iterations, kdf.PRF.Algorithm)
	}
	key, err := pbkdf2.Key(prf, passphrase, kdf.Salt, kdf.Iterations, c.key)
	if err != nil {
		return nil, err
	}
	block, err := c.of(key)
	if err != nil {
		return nil, err
	}
	n := block.BlockSize()
	if len(iv) != n || len(info.Data) == 0 || len(info.Data)%n != 0 {
		return nil, errDamaged
	}
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(info.Data, info.Data)
	// RFC 8018, section 6.2: the last byte says how many are padding.
	pad := int(info.Data[len(info.Data)-1])
	if pad < 1 || pad > n {
		return nil, errWrong
	}
	return info.Data[:len(info.Data)-pad], nil
}
