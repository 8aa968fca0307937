package mqtt

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// roots reads the authorities that we trust; nil stands for those of the system. A
// damaged certificate beside good ones is a warning, because the broker's may be
// signed by another; a file without a good one is an error.
func (t TLS) roots(ctx context.Context) (pool *x509.CertPool, warnings []string, err error) {
	if t.CA == "" {
		return nil, nil, nil
	}
	file, err := readFile(ctx, t.CA)
	if err != nil {
		return nil, nil, fmt.Errorf("mqtt.tls.ca: %w", err)
	}
	certs, damaged := parseCertificates(t.CA, file.text)
	if len(certs) == 0 {
		return nil, nil, fmt.Errorf("mqtt.tls.ca: %w", errors.Join(damaged...))
	}
	pool = x509.NewCertPool()
	for _, c := range certs {
		pool.AddCert(c)
	}
	for _, d := range damaged {
		warnings = append(warnings, fmt.Sprintf("mqtt.tls.ca: %v, and is not trusted", d))
	}
	return pool, warnings, nil
}

// explainUntrusted adds the warnings of roots to an error that says that the
// broker's certificate is signed by an unknown authority: it may be one of those
// that could not be read. It returns other errors unchanged.
func (t TLS) explainUntrusted(ctx context.Context, err error) error {
	var unknown x509.UnknownAuthorityError
	if !errors.As(err, &unknown) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if _, warnings, _ := t.roots(ctx); len(warnings) > 0 {
		return fmt.Errorf("%w: %s", err, strings.Join(warnings, "; "))
	}
	return err
}

// pair reads our certificate with its chain, and the key. Errors name the key of the
// configuration, the file and how to mend it. A key that every user of the machine
// can read is refused, see readSecret, as is an encrypted one.
func (t TLS) pair(ctx context.Context) (tls.Certificate, error) {
	file, err := readFile(ctx, t.Cert)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("mqtt.tls.cert: %w", err)
	}
	certs, damaged := parseCertificates(t.Cert, file.text)
	if len(damaged) > 0 {
		return tls.Certificate{}, fmt.Errorf("mqtt.tls.cert: %w", errors.Join(damaged...))
	}
	key, err := readSecret(ctx, t.Key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("mqtt.tls.key: %w", err)
	}
	key, err = keyInPEM(key)
	switch {
	case err != nil:
		return tls.Certificate{}, fmt.Errorf("mqtt.tls.key: %s %w", t.Key, err)
	case encrypted(key):
		return tls.Certificate{},
			fmt.Errorf("mqtt.tls.key: %s is encrypted, and nobody is there to type its password: openssl pkey -in "+
				"%[1]s -out PLAIN.key", t.Key)
	}
	pair, err := pairOf(certs, key)
	if err != nil {
		return pair, fmt.Errorf("mqtt.tls.cert and key: %s and %s: %w", t.Cert, t.Key, err)
	}
	return pair, nil
}

// pairOf finds the certificate of a key and orders the others after it: each authority
// follows the certificate that it has signed, as RFC 8446, section 4.4.2, requires. A file
// may have them in any order. Certificates outside the chain stay in the order of the file.
// The error has the reason for each certificate.
func pairOf(certs []*x509.Certificate, key []byte) (pair tls.Certificate, err error) {
	for i, c := range certs {
		leaf := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
		found, failed := tls.X509KeyPair(leaf, key)
		if failed != nil {
			err = errors.Join(err, failed)
			continue
		}
		for last, rest := c, slices.Delete(slices.Clone(certs), i, i+1); len(rest) > 0; {
			next := max(0, slices.IndexFunc(rest, func(c *x509.Certificate) bool {
				return bytes.Equal(c.RawSubject,
					last.RawIssuer)
			}))
			last = rest[next]
			found.Certificate = append(found.Certificate, last.Raw)
			rest = slices.Delete(rest, next, next+1)
		}
		return found, nil
	}
	return pair, err
}

// pemBegin begins the first line of a PEM block, after five dashes. It does not include the
// dashes, so that a block with too few of them is found and reported as damaged.
const pemBegin = "BEGIN "

// parseCertificates reads the certificates of a file: any number in PEM form, or in
// DER form. For a block that should be a certificate and cannot be read, damaged has an
// error with the file and line; the blocks after it are still read. At least one of certs
// and damaged is not empty. pem.Decode alone would skip damaged blocks silently.
func parseCertificates(name string, text []byte) (certs []*x509.Certificate, damaged []error) {
	text, err := plainText(text)
	if err != nil {
		return nil, []error{fmt.Errorf("%s %w", name, err)}
	}
	if certs, err := x509.ParseCertificates(text); err == nil && len(certs) > 0 {
		return certs, nil
	}
	line := 1
	for {
		begin := nextBlock(text)
		line += bytes.Count(text[:begin], []byte("\n"))
		if text = text[begin:]; len(text) == 0 {
			break
		}
		size := bytes.Index(text, []byte(pemBegin)) + 1
		size += nextBlock(text[size:])
		cert, err := parseBlock(text[:size])
		switch {
		case err != nil:
			damaged = append(damaged, fmt.Errorf("%s:%d: the certificate that begins here %w", name, line, err))
		case cert != nil:
			certs = append(certs, cert)
		}
		line += bytes.Count(text[:size], []byte("\n"))
		text = text[size:]
	}
	if len(certs)+len(damaged) == 0 {
		damaged = append(damaged, fmt.Errorf("%s holds no certificate in PEM or DER form", name))
	}
	return certs, damaged
}

// nextBlock returns the offset at which the next block begins, or the length of the
// text.
func nextBlock(text []byte) int {
	at := bytes.Index(text, []byte(pemBegin))
	if at < 0 {
		return len(text)
	}
	return len(bytes.TrimRight(text[:at], "-"))
}

// parseBlock parses one block in PEM form. It returns nil and no error for anything but a
// certificate, such as a key or a comment. The error is the end of a sentence about the
// certificate.
func parseBlock(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	switch {
	case block == nil && bytes.HasPrefix(bytes.TrimLeft(text, "-"), []byte(pemBegin+"CERTIFICATE-")):
		return nil, errors.New("is damaged: its lines cannot be decoded, or are indented")
	case block == nil:
		return nil, nil
	case block.Type == "TRUSTED CERTIFICATE":
		return nil, errors.New("is in a form of OpenSSL's own: openssl x509 -in FILE -out FILE.pem")
	case block.Type == "PKCS7":
		return nil, errors.New("is a PKCS #7 bundle: openssl pkcs7 -print_certs -in FILE -out FILE.pem")
	case block.Type != "CERTIFICATE":
		return nil, nil
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("is damaged: %w", err)
	}
	return cert, nil
}

// keyInPEM returns a key in PEM form, as crypto/tls wants it; the file may have it in
// DER form. crypto/tls tries all formats of keys on a block of this type.
func keyInPEM(key []byte) ([]byte, error) {
	const sequence = 0x30 // the tag that every key in DER form begins with: X.690, section 8.9
	if len(key) > 0 && key[0] == sequence {
		return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), nil
	}
	return plainText(key)
}

// encrypted reports whether a key in PEM form needs a password: PKCS #8 says so
// in its type, the older form in a header (RFC 1421, section 4.6.1.1).
func encrypted(key []byte) bool {
	for block, rest := pem.Decode(key); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
			return true
		}
	}
	return false
}

// Check reads every file that a connection needs: that of the password, and those of TLS.
// It keeps nothing; each connection reads them again. The error joins everything that would
// prevent a connection. Warnings are for a person and prevent none, such as a damaged
// certificate among good ones. It returns after limits.Connect at the latest, also if a
// read hangs.
func (b Broker) Check(ctx context.Context) (warnings []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, b.limits().Connect)
	defer cancel()
	_, warning, failed := b.Password.read(ctx)
	if warning != "" {
		warnings = append(warnings, warning)
	}
	err = failed
	if _, more, failed := b.TLS.roots(ctx); failed != nil {
		err = errors.Join(err, failed)
	} else {
		warnings = append(warnings, more...)
	}
	if b.TLS.Cert != "" {
		_, failed := b.TLS.pair(ctx)
		err = errors.Join(err, failed)
	}
	return warnings, err
}
