package natsconn

import (
	"errors"
	"net/url"
	"regexp"
	"strings"
)

const redacted = "xxxxx"

// What begins a URL, and what ends its credentials. Both may be
// percent-encoded, and more than once.
var (
	urlStart = regexp.MustCompile(`(?i)\b(?:nats|tls|wss?|https?)(?:://|%(?:25)*3a%(?:25)*2f%(?:25)*2f)`)
	userEnd  = regexp.MustCompile(`(?i)@|%(?:25)*40`)
)

// Redact removes credentials from the URLs in a text, also from those that do
// not parse: whatever stands between the start of a URL, or of the text, and
// the last '@' before the next URL is replaced. It rather takes too much than
// leaves a part of a password that has an '@', a slash, a comma or a space.
func Redact(s string) string {
	starts := urlStart.FindAllStringIndex(s, -1)
	if len(starts) == 0 {
		return redactPart(s)
	}
	var b strings.Builder
	b.WriteString(redactPart(s[:starts[0][0]]))
	for i, at := range starts {
		end := len(s)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		b.WriteString(s[at[0]:at[1]])
		b.WriteString(redactURL(s[at[1]:end]))
	}
	return b.String()
}

// redactURL redacts what follows a URL's scheme.
func redactURL(s string) string {
	if userEnd.MatchString(s) {
		return redactPart(s)
	}
	// A URL that lost its host still has a password: nats://user:password.
	authority, rest := s, ""
	if i := strings.IndexAny(s, "/?# \t\r\n\"'`,;<>()"); i >= 0 {
		authority, rest = s[:i], s[i:]
	}
	i := strings.LastIndexByte(authority, ':')
	if i < 0 || i < strings.LastIndexByte(authority, ']') || strings.Trim(authority[i+1:], "0123456789") == "" {
		return s
	}
	return redacted + rest
}

// redactPart replaces what stands before the last '@'.
func redactPart(s string) string {
	ends := userEnd.FindAllStringIndex(s, -1)
	if len(ends) == 0 {
		return s
	}
	return redacted + s[ends[len(ends)-1][0]:]
}

// secrets returns what must not be in an error about urls, as it is written
// there and decoded.
func secrets(urls []string) []string {
	const shortest = 4 // less than that stands in any text by chance
	var found []string
	for _, s := range urls {
		u, err := url.Parse(s)
		if err != nil || u.User == nil {
			continue
		}
		raw := u.User.String()
		decoded, isPassword := u.User.Password()
		if isPassword {
			_, raw, _ = strings.Cut(raw, ":")
		} else {
			decoded = u.User.Username()
		}
		for _, secret := range []string{raw, decoded} {
			if len(secret) >= shortest {
				found = append(found, secret)
			}
		}
	}
	return found
}

// redactError returns err, or an error with the redacted text where err's text
// has credentials.
func redactError(err error, secrets []string) error {
	if err == nil {
		return nil
	}
	before := err.Error()
	text := before
	for _, secret := range secrets {
		text = strings.ReplaceAll(text, secret, redacted)
	}
	if text = Redact(text); text == before {
		return err
	}
	return &redactedError{text, err}
}

// redactedError can be tested for what it hides, and not unwrapped to it.
type redactedError struct {
	text string
	err  error
}

func (e *redactedError) Error() string        { return e.text }
func (e *redactedError) Is(target error) bool { return errors.Is(e.err, target) }
