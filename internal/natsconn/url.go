package natsconn

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// The rules that a URL may break. They are constants, so that an error about a
// URL cannot have any part of it.
var (
	errEmpty       = errors.New("it is empty")
	errScheme      = errors.New("its scheme is not nats, tls, ws, wss or http")
	errBareUser    = errors.New("a URL with credentials needs its scheme, as in nats:// (a comma in a password is written %2C)")
	errEmptyUser   = errors.New("there is nothing before the '@'")
	errUser        = errors.New("its credentials have a character that must be percent-encoded, as '/' in %2F, '#' in %23 and '%' in %25")
	errHost        = errors.New("its host is missing or is not a name, an IPv4 address or an IPv6 address in brackets")
	errPort        = errors.New("its port is not a number from 1 to 65535")
	errPath        = errors.New("something follows the port (a '/', '?' or '#' in a password is written %2F, %3F or %23)")
	errMixed       = errors.New("ws and wss cannot stand beside other schemes")
	errUnparseable = errors.New("it is not a URL")
)

// defaultPorts has the schemes that are understood. The client would take
// http for something else; the Node package's manifests write it and mean
// nats.
var defaultPorts = map[string]string{"nats": "4222", "tls": "4222", "http": "4222", "ws": "80", "wss": "443"}

// ParseURLs splits a comma separated list of server URLs and normalises them
// to scheme://[credentials@]host:port, with a path where WebSocket has one.
// The schemes are nats, tls, ws and wss; http means nats, and host:port alone
// does too. An error names the position and the rule, and has no part of the
// value.
func ParseURLs(list string) ([]string, error) {
	if strings.TrimSpace(list) == "" {
		return nil, errEmpty
	}
	entries := strings.Split(list, ",")
	urls := make([]string, len(entries))
	var errs []error
	for i, entry := range entries {
		var err error
		urls[i], err = parseURL(strings.TrimSpace(entry))
		if err == nil && len(errs) == 0 && isWebSocket(urls[i]) != isWebSocket(urls[0]) {
			err = errMixed
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("URL %d of %d: %w", i+1, len(entries), err))
		}
	}
	if len(errs) > 0 {
		return nil, joinLine(errs)
	}
	return urls, nil
}

func isWebSocket(u string) bool { return strings.HasPrefix(u, "ws") }

// joinLine is errors.Join on one line.
func joinLine(errs []error) error {
	err := errs[0]
	for _, e := range errs[1:] {
		err = fmt.Errorf("%w; %w", err, e)
	}
	return err
}

// parseURL normalises one URL. It is stricter than url.Parse, whose errors
// quote the value.
func parseURL(s string) (string, error) {
	if s == "" {
		return "", errEmpty
	}
	scheme, rest, found := strings.Cut(s, "://")
	if !found {
		if strings.Contains(s, "@") {
			return "", errBareUser
		}
		scheme, rest = "nats", s
	}
	scheme = strings.ToLower(scheme)
	port, ok := defaultPorts[scheme]
	if !ok {
		return "", errScheme
	}
	if scheme == "http" {
		scheme = "nats"
	}

	authority, path := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	if path == "/" {
		path = ""
	}
	if path != "" && (scheme == "nats" || scheme == "tls" || strings.ContainsAny(path, "?#@")) {
		return "", errPath
	}

	user := ""
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		user, authority = authority[:i+1], authority[i+1:]
		if user == "@" {
			return "", errEmptyUser
		}
		if _, err := url.Parse("nats://" + user + "host"); err != nil {
			return "", errUser
		}
	}

	host := authority
	if i := strings.LastIndexByte(authority, ':'); i > strings.LastIndexByte(authority, ']') {
		host = authority[:i]
		if p := authority[i+1:]; p != "" {
			n, err := strconv.ParseUint(p, 10, 16)
			if err != nil || n == 0 {
				return "", errPort
			}
			port = p
		}
	}
	if !validHost(host) {
		return "", errHost
	}

	normalised := scheme + "://" + user + host + ":" + port + path
	if _, err := url.Parse(normalised); err != nil {
		return "", errUnparseable
	}
	return normalised, nil
}

// validHost reports whether h is a name, an IPv4 address, or an IPv6 address in
// brackets (a zone is written %25eth0).
func validHost(h string) bool {
	if v6, ok := strings.CutPrefix(h, "["); ok {
		v6, ok = strings.CutSuffix(v6, "]")
		addr, err := netip.ParseAddr(strings.Replace(v6, "%25", "%", 1))
		return ok && err == nil && addr.Is6()
	}
	for _, r := range h {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '.', r == '_':
		default:
			return false
		}
	}
	return h != ""
}
