package auth_test

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/auth"
)

const key = "the key of the auth service"

func token(t *testing.T, method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
	t.Helper()
	s, err := jwt.NewWithClaims(method, claims).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func cookie(name, session string) string {
	return name + "=" + base64.StdEncoding.EncodeToString([]byte(session))
}

func TestAUserIsWhoTheTokenSays(t *testing.T) {
	a := auth.New(key)
	ann := auth.User{ID: "ann", Email: "ann@example.com"}
	signed, err := a.Sign(ann)
	if err != nil {
		t.Fatal(err)
	}
	bobs := token(t, jwt.SigningMethodHS256, []byte(key), jwt.MapClaims{"id": "bob", "email": "bob@example.com", "iat": 1})
	bob := auth.User{ID: "bob", Email: "bob@example.com"}

	for name, test := range map[string]struct {
		header http.Header
		want   auth.User
	}{
		"a bearer token":                  {http.Header{"Authorization": {"Bearer " + signed}}, ann},
		"a scheme in lower case":          {http.Header{"Authorization": {"bearer  " + signed}}, ann},
		"the cookie that we print":        {http.Header{"Cookie": {auth.Cookie(signed)}}, ann},
		"the tutorial's cookie":           {http.Header{"Cookie": {cookie("express:sess", `{"jwt":"`+bobs+`"}`)}}, bob},
		"its name since cookie-session 2": {http.Header{"Cookie": {cookie("session", `{"jwt":"`+bobs+`"}`)}}, bob},
		"among other cookies":             {http.Header{"Cookie": {"a=1; " + auth.Cookie(signed) + "; b=2"}}, ann},
		"in a second header":              {http.Header{"Cookie": {"a=1", auth.Cookie(signed)}}, ann},
		"without padding":                 {http.Header{"Cookie": {strings.TrimRight(auth.Cookie(signed), "=")}}, ann},
		"behind a cookie of that name":    {http.Header{"Cookie": {"session=other; " + auth.Cookie(signed)}}, ann},
		"bearer before cookie":            {http.Header{"Authorization": {"Bearer " + bobs}, "Cookie": {auth.Cookie(signed)}}, bob},
		"a token that has not expired": {http.Header{"Authorization": {"Bearer " + token(t, jwt.SigningMethodHS256, []byte(key),
			jwt.MapClaims{"id": "ann", "email": "ann@example.com", "exp": time.Now().Add(time.Hour).Unix()})}}, ann},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header = test.header
			if got, err := a.User(r); err != nil || got != test.want {
				t.Errorf("user %+v, error %v; want %+v", got, err, test.want)
			}
		})
	}
}

func TestNobodyIsAUserWithoutATokenOfTheKey(t *testing.T) {
	a := auth.New(key)
	claims := jwt.MapClaims{"id": "ann", "email": "ann@example.com"}
	for name, test := range map[string]struct {
		header  http.Header
		noToken bool
	}{
		"nothing":                {http.Header{}, true},
		"another scheme":         {http.Header{"Authorization": {"Basic YTpi"}}, true},
		"an empty bearer":        {http.Header{"Authorization": {"Bearer "}}, true},
		"a cookie not in base64": {http.Header{"Cookie": {"express:sess=!"}}, true},
		"a cookie not in JSON":   {http.Header{"Cookie": {cookie("express:sess", "jwt")}}, true},
		"a session logged out":   {http.Header{"Cookie": {cookie("express:sess", `{}`)}}, true},
		"garbage":                {http.Header{"Authorization": {"Bearer garbage"}}, false},
		"another key":            {bearer(token(t, jwt.SigningMethodHS256, []byte("another"), claims)), false},
		"another method":         {bearer(token(t, jwt.SigningMethodHS512, []byte(key), claims)), false},
		"no signature":           {bearer(token(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, claims)), false},
		"an expired token":       {bearer(token(t, jwt.SigningMethodHS256, []byte(key), jwt.MapClaims{"id": "ann", "exp": 1})), false},
		"no id":                  {bearer(token(t, jwt.SigningMethodHS256, []byte(key), jwt.MapClaims{"email": "ann@example.com"})), false},
		"an id of another type":  {bearer(token(t, jwt.SigningMethodHS256, []byte(key), jwt.MapClaims{"id": 7})), false},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header = test.header
			got, err := a.User(r)
			if err == nil || errors.Is(err, auth.ErrNoToken) != test.noToken || got != (auth.User{}) {
				t.Errorf("user %+v, error %v", got, err)
			}
		})
	}
}

func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }
