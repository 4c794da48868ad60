package natsconn

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// authority makes certificates as PEM files.
type authority struct {
	dir  string
	file string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{dir: t.TempDir()}
	a.cert = &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.file, _ = a.issue(t, "ca", a.cert)
	return a
}

// issue writes a certificate and its key. The first one signs itself and the
// others.
func (a *authority) issue(t *testing.T, name string, c *x509.Certificate) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if a.key == nil {
		a.key = key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(file, kind string, b []byte) string {
		path := filepath.Join(a.dir, file)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write(name+".pem", "CERTIFICATE", der), write(name+".key", "PRIVATE KEY", keyDER)
}

func (a *authority) leaf(t *testing.T, name string) (certFile, keyFile string) {
	return a.issue(t, name, &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name},
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}})
}

func TestTLSFilesForceTLS(t *testing.T) {
	ca := newAuthority(t)
	serverCert, serverKey := ca.leaf(t, "server")
	clientCert, clientKey := ca.leaf(t, "client")
	pair, err := tls.LoadX509KeyPair(serverCert, serverKey)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pemCA, _ := os.ReadFile(ca.file)
	pool.AppendCertsFromPEM(pemCA)
	s := runServer(t, func(o *server.Options) {
		o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
		o.TLSTimeout = 5
	})
	full := Config{URLs: []string{"nats://" + s.Addr().String()}, TLSCA: ca.file, TLSCert: clientCert, TLSKey: clientKey}
	nc, err := Dial(t.Context(), full)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nc.TLSConnectionState(); err != nil {
		t.Errorf("the connection has no TLS: %v", err)
	}
	nc.Close()

	noCert := full
	noCert.TLSCert, noCert.TLSKey = "", ""
	if nc, err := Dial(t.Context(), noCert); err == nil {
		nc.Close()
		t.Error("it connected without the client's certificate")
	}

	plain := full
	plain.URLs = []string{runServer(t, nil).ClientURL()}
	for name, c := range map[string]Config{
		"all":         plain,
		"only the CA": {URLs: plain.URLs, TLSCA: ca.file},
		"only a cert": {URLs: plain.URLs, TLSCert: clientCert, TLSKey: clientKey},
	} {
		nc, err := Dial(t.Context(), c)
		if !errors.Is(err, nats.ErrSecureConnWanted) {
			t.Errorf("%s: to a server without TLS: error = %v, want nats.ErrSecureConnWanted", name, err)
		}
		if err == nil {
			nc.Close()
		}
	}
}
