package natsconn

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestURLsAreNormalised(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"nats://nats-srv:4222", "nats://nats-srv:4222"},
		{"http://nats-srv:4222", "nats://nats-srv:4222"},
		{"HTTP://nats-srv/", "nats://nats-srv:4222"},
		{"nats-srv:5222", "nats://nats-srv:5222"},
		{"nats-srv", "nats://nats-srv:4222"},
		{"127.0.0.1:", "nats://127.0.0.1:4222"},
		{"[::1]:4222", "nats://[::1]:4222"},
		{"nats://[fe80::1%25eth0]", "nats://[fe80::1%25eth0]:4222"},
		{"tls://user:pa%2Fss@nats_1.example.org", "tls://user:pa%2Fss@nats_1.example.org:4222"},
		{"nats://token@host", "nats://token@host:4222"},
		{"nats://user:p@ss@host", "nats://user:p@ss@host:4222"},
		{"ws://host", "ws://host:80"},
		{"wss://host/nats", "wss://host:443/nats"},
		{" nats://a , b:1,http://c ", "nats://a:4222 nats://b:1 nats://c:4222"},
	} {
		got, err := ParseURLs(tc.in)
		if err != nil {
			t.Errorf("ParseURLs(%q): %v", tc.in, err)
			continue
		}
		if want := strings.Fields(tc.want); !slices.Equal(got, want) {
			t.Errorf("ParseURLs(%q) = %q, want %q", tc.in, got, want)
		}
	}
}

func TestARefusedURLIsNamedByItsPositionAndTheRule(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want string
		rule error
	}{
		{"", "it is empty", errEmpty},
		{" ", "it is empty", errEmpty},
		{"nats://a,", "URL 2 of 2: ", errEmpty},
		{"ftp://user:sesame@host", "URL 1 of 1: ", errScheme},
		{"://user:sesame@host", "URL 1 of 1: ", errScheme},
		{"user:sesame@host:4222", "URL 1 of 1: ", errBareUser},
		{"nats%3A%2F%2Fuser%3Asesame%40host", "URL 1 of 1: ", errHost},
		{"nats://a,nats://user:ses,ame@host,c", "URL 3 of 4: ", errBareUser},
		{"nats://@host", "URL 1 of 1: ", errEmptyUser},
		{"nats://user:ses%ame@host", "URL 1 of 1: ", errUser},
		{"nats://user:ses ame@host", "URL 1 of 1: ", errUser},
		{"nats://user:sesame@", "URL 1 of 1: ", errHost},
		{"nats://user:sesame", "URL 1 of 1: ", errPort},
		{"nats://host:0", "URL 1 of 1: ", errPort},
		{"nats://host:65536", "URL 1 of 1: ", errPort},
		{"nats://host:+1", "URL 1 of 1: ", errPort},
		{"nats://ho st", "URL 1 of 1: ", errHost},
		{"nats://::1", "URL 1 of 1: ", errHost},
		{"nats://[::1", "URL 1 of 1: ", errHost},
		{"nats://[127.0.0.1]", "URL 1 of 1: ", errHost},
		{"nats://user:12/sesame@host", "URL 1 of 1: ", errPath},
		{"nats://user:12?sesame@host", "URL 1 of 1: ", errPath},
		{"wss://user:12/sesame@host", "URL 1 of 1: ", errPath},
		{"nats://host/path", "URL 1 of 1: ", errPath},
		{"nats://a,ws://b", "URL 2 of 2: ", errMixed},
		{"ws://b/%zz", "URL 1 of 1: ", errUnparseable},
	} {
		urls, err := ParseURLs(tc.in)
		if err == nil {
			t.Errorf("ParseURLs(%q) = %q, want %q", tc.in, urls, tc.rule)
			continue
		}
		if !errors.Is(err, tc.rule) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("ParseURLs(%q): %v, want %s%v", tc.in, err, tc.want, tc.rule)
		}
		if strings.Contains(err.Error(), "ses") || strings.Contains(err.Error(), "ame@") {
			t.Errorf("ParseURLs(%q): the error has a part of the password: %v", tc.in, err)
		}
	}
}

func TestEveryRefusedURLIsReported(t *testing.T) {
	_, err := ParseURLs("ftp://a,nats://b,nats://c:x")
	if want := "URL 1 of 3: " + errScheme.Error() + "; URL 3 of 3: " + errPort.Error(); err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
}

func TestRedactRemovesCredentials(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"", ""},
		{"no URL here", "no URL here"},
		{"nats://host:4222: refused", "nats://host:4222: refused"},
		{"nats://[::1]:4222", "nats://[::1]:4222"},
		{"dial nats://user:sesame@host:4222: refused", "dial nats://xxxxx@host:4222: refused"},
		{"nats://sesame@host", "nats://xxxxx@host"},
		{"nats://user:sesa@me@host", "nats://xxxxx@host"},
		{"nats://user:ses/a?m#e, @host", "nats://xxxxx@host"},
		{"nats://u:sesame@a:1,tls://v:sesame@b:2", "nats://xxxxx@a:1,tls://xxxxx@b:2"},
		{`parse "nats://user:ses%zzame@host": invalid`, `parse "nats://xxxxx@host": invalid`},
		{"NATS%3A%2F%2Fuser%3asesame%40host", "NATS%3A%2F%2Fxxxxx%40host"},
		{"nats%253A%252F%252Fuser%253Asesame%2540host", "nats%253A%252F%252Fxxxxx%2540host"},
		{"user:sesame@host:4222", "xxxxx@host:4222"},
		{"nats:/user:sesame@host", "xxxxx@host"},
		{"stan://user:sesame@host", "xxxxx@host"},
		{"nats://user:sesame", "nats://xxxxx"},
		{`at "nats://user:sesame": bad`, `at "nats://xxxxx": bad`},
	} {
		if got := Redact(tc.in); got != tc.want {
			t.Errorf("Redact(%q) = %q, want %q", tc.in, got, tc.want)
		}
	}
}

func TestARedactedErrorIsStillTheErrorItHides(t *testing.T) {
	reason := errors.New("a reason")
	plain := redactError(reason, nil)
	if plain != reason {
		t.Errorf("an error without credentials became %#v", plain)
	}
	wrapped := &url.Error{Op: "parse", URL: "nats://user:sesame@host", Err: reason}
	err := redactError(wrapped, nil)
	if strings.Contains(err.Error(), "sesame") || !errors.Is(err, reason) {
		t.Errorf("error = %v, is the reason: %v", err, errors.Is(err, reason))
	}
	var hidden *url.Error
	if errors.As(err, &hidden) {
		t.Errorf("the error with the password can be had: %v", hidden)
	}
	known := secrets([]string{"nats://user:se%2Fsame@host", "nats://t0ken@host", "nats://u:abc@host", "%"})
	for _, text := range []string{"got se%2Fsame", "got se/same", "got t0ken"} {
		if got := redactError(errors.New(text), known).Error(); got != "got xxxxx" {
			t.Errorf("%q became %q", text, got)
		}
	}
	if redactError(nil, known) != nil {
		t.Error("nil became an error")
	}
}

// rules are all that an error may say after its position.
var rules = []error{errEmpty, errScheme, errBareUser, errEmptyUser, errUser, errHost, errPort, errPath, errMixed, errUnparseable}

func FuzzParseURLs(f *testing.F) {
	for _, s := range []string{
		"nats://host:4222", "http://nats-srv:4222", "nats://user:password@host", "nats://t0ken@host",
		"nats://user:p%40ss@a,tls://user:p%2Css@b:1", "user:password@host", "nats://user:pass,word@host",
		"nats%3A%2F%2Fuser%3Apassword%40host", "ws://[::1]:80/path", "nats://user:pass%zzword@host", "://@", "nats://[fe80::1%25eth0]",
		"nats://user:pass\x00word@host", "nats://u:p@h?x#y",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		urls, err := ParseURLs(s)
		if err == nil {
			again, err := ParseURLs(strings.Join(urls, ","))
			if err != nil || !slices.Equal(urls, again) {
				t.Fatalf("%q: %q is not a fixed point: %q, %v", s, urls, again, err)
			}
			for _, one := range urls {
				u, err := url.Parse(one)
				if err != nil || u.Port() == "" || u.Hostname() == "" {
					t.Fatalf("%q: the client cannot use %q: %v", s, one, err)
				}
				if hidden := Redact(one); u.User != nil && hidden != u.Scheme+"://xxxxx@"+u.Host+u.EscapedPath() {
					t.Fatalf("Redact(%q) = %q", one, hidden)
				}
			}
			return
		}
		for part := range strings.SplitSeq(err.Error(), "; ") {
			position, rule, found := strings.Cut(part, ": ")
			if !found {
				rule = part
			} else if strings.Map(dropDigits, position) != "URL  of " {
				t.Fatalf("ParseURLs(%q): %q is no position", s, position)
			}
			if !slices.ContainsFunc(rules, func(e error) bool { return e.Error() == rule }) {
				t.Fatalf("ParseURLs(%q): %q is no rule", s, rule)
			}
		}
	})
}

func dropDigits(r rune) rune {
	if '0' <= r && r <= '9' {
		return -1
	}
	return r
}

func FuzzRedact(f *testing.F) {
	f.Add("nats://", "user", "password", "host:4222")
	f.Add("dial tls://", "", "t0ken/with slash", "host: refused")
	f.Add("nats%3A%2F%2F", "user", "p@ss,word", "host")
	f.Add("", "user", "p:/?#w", "host")
	f.Fuzz(func(t *testing.T, before, user, secret, after string) {
		secret = "se" + secret + "same"
		switch {
		case urlStart.MatchString(user + secret):
			t.Skip("a password with the start of a URL cannot be told from a list of URLs")
		case strings.Contains(before+user+after, secret):
			t.Skip("the secret stands outside of the credentials as well")
		}
		text := before + user + ":" + secret + "@" + after
		if got := Redact(text); strings.Contains(got, secret) {
			t.Fatalf("Redact(%q) = %q", text, got)
		}
		encoded := url.QueryEscape("nats://" + user + ":" + secret + "@host")
		if got := Redact(encoded); strings.Contains(got, url.QueryEscape(secret)) {
			t.Fatalf("Redact(%q) = %q", encoded, got)
		}
	})
}
