package acme

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/given"
)

// LetsEncrypt and LetsEncryptStaging are the directories of Let's Encrypt: the second
// is for trying things out, with wide limits and certificates that no browser trusts.
const (
	LetsEncrypt        = certmagic.LetsEncryptProductionCA
	LetsEncryptStaging = certmagic.LetsEncryptStagingCA
)

// A Storage keeps accounts, keys, certificates and the challenges that are under way:
// see [Folder] and package redisstorage. certmagic's documentation says what one has to
// do. Who can read it can be the shop.
type Storage = certmagic.Storage

// KeyInfo is what a [Storage] knows of a key.
type KeyInfo = certmagic.KeyInfo

// Folder returns a storage of files below dir, which is made, for this user alone, when
// something is first kept. Several gateways may share it through a network's file
// system.
func Folder(dir string) Storage { return &certmagic.FileStorage{Path: dir} }

// Options for [New]. Hosts and Storage are required.
type Options struct {
	// Hosts are the names for which certificates are issued, such as shop.example,
	// one for each. Each must lead to gateways of this Storage, at the ports 80 or
	// 443. There are no wildcards, which need DNS: have a certificate of your own for
	// these, in edge.Options.Certificates.
	Hosts []string
	// Storage is where all is kept that is issued, so that a restart orders nothing.
	// Gateways that share one have one certificate for each host, which one of them
	// orders, and answer each other's challenges.
	Storage Storage
	// Directory is the authority's, a URL of https; empty means [LetsEncrypt].
	Directory string
	// Email is where the authority writes to; empty is allowed.
	Email string
	// KeyID and MACKey are those of an account that the authority has given, as some
	// want it (external account binding, RFC 8555, section 7.3.4): both or none.
	KeyID, MACKey string
	// Roots verify the authority's own certificate; nil means the system's.
	Roots *x509.CertPool
	// HTTPPort and TLSPort are where this machine's gateway listens, behind what leads
	// the ports 80 and 443 to it; zero means 80 and 443. While a challenge is under
	// way they are bound by the library where nobody listens. Negative means that no
	// challenge of the kind is used; at least one must be.
	HTTPPort, TLSPort int
	// Check is how often certificates are looked at, each of which is renewed when a
	// third of its time is left, or when the authority says (RFC 9773). Zero means
	// 10 minutes.
	Check time.Duration
	// Logger gets a line for each certificate that was issued, and for each attempt
	// that failed, with its cause; nil means slog.Default().
	Logger *slog.Logger
}

// Check says what is wrong with the options, as [New] does, and makes nothing.
func Check(opts Options) error {
	_, err := opts.withDefaults()
	return err
}

// withDefaults returns a checked copy that shares no list with o.
func (o Options) withDefaults() (Options, error) {
	o.Directory = cmp.Or(o.Directory, LetsEncrypt)
	o.HTTPPort, o.TLSPort = cmp.Or(o.HTTPPort, 80), cmp.Or(o.TLSPort, 443)
	o.Check = cmp.Or(o.Check, 10*time.Minute)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	if given.Nil(o.Storage) {
		return o, errors.New("acme: no Storage: want acme.Folder(\"/var/lib/shop/acme\"), or one that gateways share")
	}
	if len(o.Hosts) == 0 {
		return o, errors.New("acme: no Hosts: want the names that visitors ask for, such as shop.example")
	}
	hosts := make([]string, len(o.Hosts))
	for i, host := range o.Hosts {
		name, err := hostname(host)
		if err != nil {
			return o, err
		}
		if slices.Contains(hosts[:i], name) {
			return o, fmt.Errorf("acme: Hosts: %q is there twice", host)
		}
		hosts[i] = name
	}
	o.Hosts = hosts
	if u, err := url.Parse(o.Directory); err != nil || u.Scheme != "https" || u.Host == "" {
		return o, fmt.Errorf("acme: Directory %q: want the URL of an authority's directory, such as %s", o.Directory, LetsEncrypt)
	}
	if (o.KeyID == "") != (o.MACKey == "") {
		return o, errors.New("acme: KeyID without MACKey, or the other way round: want both, as the authority has given them, or none")
	}
	if o.HTTPPort > 65535 || o.TLSPort > 65535 || o.HTTPPort < 0 && o.TLSPort < 0 {
		return o, fmt.Errorf("acme: HTTPPort %d and TLSPort %d: want ports up to 65535, at least one of which is not negative", o.HTTPPort, o.TLSPort)
	}
	if o.Check < 0 {
		return o, fmt.Errorf("acme: Check of %s: want a time such as 10m", o.Check)
	}
	return o, nil
}

// hostname returns the name for which a certificate may be issued.
func hostname(host string) (string, error) {
	name := fields.Hostname(host)
	switch {
	case strings.Contains(host, "*"):
		return "", fmt.Errorf("acme: Hosts: %q is a wildcard, which needs DNS: want single names here, and a certificate of your own for the rest", host)
	case net.ParseIP(strings.Trim(name, "[]")) != nil:
		return "", fmt.Errorf("acme: Hosts: %q is an address: want a name such as shop.example", host)
	case !fields.Host(name) || name != strings.ToLower(host) || !strings.Contains(name, ".") || len(name) > 253 || !certmagic.SubjectQualifiesForPublicCert(name) && !certmagic.SubjectIsInternal(name):
		return "", fmt.Errorf("acme: Hosts: %q is no name: want one without scheme and port, such as shop.example", host)
	}
	return name, nil
}
