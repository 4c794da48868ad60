// Package auth tells who sends a request.
//
// A user is a JWT that the auth service has signed, as a bearer token or in
// the session cookie that the tutorial's Node service sets. Both carry the same
// token, so that a browser that logged in at the Node service stays logged in.
package auth

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// User is who sent a request.
type User struct {
	ID    string
	Email string
}

// Auth checks and signs tokens with one key. Its methods may be called
// concurrently.
type Auth struct {
	key    []byte
	parser *jwt.Parser
}

// New returns an Auth for the HS256 key that the auth service signs with.
func New(key string) *Auth {
	return &Auth{
		key: []byte(key),
		// Without this a token could choose how it is checked.
		parser: jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()})),
	}
}

// claims is what the auth service writes. It sets no end; one that is there is
// kept to.
type claims struct {
	UserID string `json:"id"`
	Email  string `json:"email"`
	jwt.RegisteredClaims
}

// Sign returns a token for u.
func (a *Auth) Sign(u User) (string, error) {
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{UserID: u.ID, Email: u.Email}).SignedString(a.key)
	if err != nil {
		return "", fmt.Errorf("auth: sign a token: %w", err)
	}
	return token, nil
}

// ErrNoToken means that a request has neither a bearer token nor a session cookie.
var ErrNoToken = errors.New("auth: no token in the request")

// User returns who sent r. A bearer token counts before a cookie. The error
// says why there is no user, and has nothing of the token in it.
func (a *Auth) User(r *http.Request) (User, error) {
	token, ok := bearer(r)
	if !ok {
		token, ok = fromCookie(r)
	}
	if !ok {
		return User{}, ErrNoToken
	}
	var c claims
	if _, err := a.parser.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return a.key, nil }); err != nil {
		return User{}, fmt.Errorf("auth: invalid token: %w", err)
	}
	if c.UserID == "" {
		return User{}, errors.New(`auth: the token has no claim "id"`)
	}
	return User{ID: c.UserID, Email: c.Email}, nil
}

func bearer(r *http.Request) (token string, ok bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	return token, strings.EqualFold(scheme, "Bearer") && token != ""
}

// The names that cookie-session has had: the first until its version 1.
var cookieNames = [...]string{"express:sess", "session"}

// fromCookie finds the token in the session cookie. [http.Request.Cookie]
// cannot: a colon is not allowed in a cookie's name, and net/http drops what
// has one.
func fromCookie(r *http.Request) (token string, ok bool) {
	for _, line := range r.Header["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
			for _, want := range cookieNames {
				if name != want {
					continue
				}
				if token, ok := fromSession(value); ok {
					return token, true
				}
			}
		}
	}
	return "", false
}

// session is what the cookie has in base64.
type session struct {
	JWT string `json:"jwt"`
}

func fromSession(value string) (token string, ok bool) {
	value = strings.TrimRight(strings.Trim(value, `"`), "=") // some clients drop the padding
	data, err := base64.RawStdEncoding.DecodeString(value)
	if err != nil {
		return "", false
	}
	var s session
	if err := json.Unmarshal(data, &s); err != nil {
		return "", false
	}
	return s.JWT, s.JWT != ""
}

// Cookie returns the session cookie for a token, as the auth service sets it,
// for the Cookie header of a request.
func Cookie(token string) string {
	data, err := json.Marshal(session{JWT: token})
	if err != nil {
		panic(err) // a string has JSON
	}
	return cookieNames[0] + "=" + base64.StdEncoding.EncodeToString(data)
}
