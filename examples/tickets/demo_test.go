package main

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/auth"
)

// tryIt is the environment of somebody who has set nothing.
func tryIt(backend string) map[string]string {
	return map[string]string{"PORT": "0", "NATS_BACKEND": backend}
}

func TestEveryPrintedCurlLineDoesWhatItsCommentSays(t *testing.T) {
	for _, backend := range []string{"jetstream", "stan"} {
		t.Run(backend, func(t *testing.T) {
			out, stop := inProcess(t, tryIt(backend))
			eventually(t, "all lines are printed", func() bool { return strings.Contains(out.String(), "/readyz\n") })
			lines := regexp.MustCompile(`# (.+): (\d{3})(.*)\n(curl .+)\n`).FindAllStringSubmatch(out.String(), -1)
			if len(lines) != 12 {
				t.Fatalf("%d lines in\n%s", len(lines), out)
			}
			for _, line := range lines {
				status, body := curl(t, line[4])
				if status != line[2] {
					t.Errorf("%s: status %s%s, want %s: %s", line[1], status, line[3], line[2], body)
				}
			}
			for _, printed := range []string{
				"broker:  " + backend + " on nats://127.0.0.1:",
				"event:   ticket:created {",
				"event:   ticket:updated {",
				"event:   order:created {",
				"event:   order:cancelled {",
				`"title":"Concert","price":25,"userId":"demo","version":3}`, // free again
			} {
				if !within(patience, func() bool { return strings.Contains(out.String(), printed) }) {
					t.Errorf("%q is missing in\n%s", printed, out)
				}
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A token may contain anything that looks like part of a URL.
func TestThePrintedTokenIsTheOneThatWasMade(t *testing.T) {
	const token = "eyJURL.aIDb.ticketID"
	bearers := 0
	for _, line := range demoLines("http://127.0.0.1:3000", "T1", token) {
		_, bearer, found := strings.Cut(line.does, "Bearer ")
		if !found {
			continue
		}
		bearers++
		if !strings.HasPrefix(bearer, token+"' ") {
			t.Errorf("%s: %s", line.says, line.does)
		}
	}
	if bearers != 4 {
		t.Errorf("%d lines bear a token, want 4", bearers)
	}
}

func TestWithoutATokenTheLinesNameTheShellsVariable(t *testing.T) {
	lines := demoLines("http://127.0.0.1:3000", "T1", "")
	if len(lines) != 11 {
		t.Errorf("%d lines, want all but the cookie's", len(lines))
	}
	variables := 0
	for _, line := range lines {
		if strings.Contains(line.does, "Cookie:") {
			t.Errorf("a cookie without a token: %s", line.does)
		}
		if strings.Contains(line.does, `"Authorization: Bearer $TOKEN" `) {
			variables++
		}
	}
	if variables != 4 {
		t.Errorf("%d lines name $TOKEN, want 4", variables)
	}
}

// curl does what the curl of a shell does with such a line.
func curl(t *testing.T, line string) (status, body string) {
	t.Helper()
	words := regexp.MustCompile(`'[^']*'|\S+`).FindAllString(line, -1)
	method, url, data := "", "", ""
	header := http.Header{}
	for i := 1; i < len(words); i++ {
		value := func() string {
			i++
			return strings.Trim(words[i], "'")
		}
		switch words[i] {
		case "-i":
		case "-X":
			method = value()
		case "-H":
			name, v, _ := strings.Cut(value(), ": ")
			header.Add(name, v)
		case "-d":
			data = value()
		default:
			url = words[i]
		}
	}
	if method == "" {
		method = http.MethodGet
		if data != "" {
			method = http.MethodPost
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header
	transport := new(http.Transport)
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.Status[:3], string(b)
}

func TestWithAKeyOfYourOwnNoTokenIsPrinted(t *testing.T) {
	env := tryIt("")
	env["JWT_KEY"], env["LOG_LEVEL"] = jwtKey, "info"
	out, _ := inProcess(t, env)
	c := newClient(t, out.url())
	if status, _, err := c.create("mine"); err != nil || status != http.StatusCreated {
		t.Errorf("status %d, error %v", status, err)
	}
	for _, printed := range []string{"a token to try", "eyJ", "event:"} {
		if strings.Contains(out.String(), printed) {
			t.Errorf("%q is in\n%s", printed, out)
		}
	}
	for _, path := range []string{"/demo/tickets/T0/order"} {
		if status, _, err := c.do(http.MethodPost, path, ""); err != nil || status != http.StatusNotFound {
			t.Errorf("order of an unknown ticket: status %d, error %v", status, err)
		}
	}
}

// White space is a part of the key, as it is for the auth service.
func TestATokenOfTheAuthServiceIsTakenWhateverItsKeyIs(t *testing.T) {
	for _, key := range []string{"asdf\n", " "} {
		env := tryIt("")
		env["JWT_KEY"], env["LOG_LEVEL"] = key, "info"
		out, _ := inProcess(t, env)
		c := newClient(t, out.url())
		var err error
		if c.token, err = auth.New(key).Sign(demoUser); err != nil {
			t.Fatal(err)
		}
		if status, _, err := c.create("mine"); err != nil || status != http.StatusCreated {
			t.Errorf("key %q: status %d, error %v", key, status, err)
		}
		if strings.Contains(out.String(), "a random key") {
			t.Errorf("key %q: printed\n%s", key, out)
		}
	}
}

func TestAnEmptyKeyIsNoneAndSoIsSaid(t *testing.T) {
	env := tryIt("")
	env["JWT_KEY"] = ""
	if out, _ := inProcess(t, env); !strings.Contains(out.String(), "a random key, because JWT_KEY is not set; a token to try: eyJ") {
		t.Errorf("printed\n%s", out)
	}
}

func TestTheDemoOrdersAreNotThereWithARealBroker(t *testing.T) {
	b := brokers["jetstream"](t)
	env := b.environment("")
	env["LOG_LEVEL"] = "debug"
	out, _ := inProcess(t, env)
	c := newClient(t, out.url())
	_, ticket, err := c.create("mine")
	if err != nil {
		t.Fatal(err)
	}
	if status, _, err := c.do(http.MethodPost, "/demo/tickets/"+ticket.ID+"/order", ""); err != nil || status != http.StatusNotFound {
		t.Errorf("status %d, error %v", status, err)
	}
	eventually(t, "the event is in the log", func() bool {
		return strings.Contains(out.String(), `msg="event stored" subject=ticket:created`) &&
			strings.Contains(out.String(), ticket.ID)
	})
	if !strings.Contains(out.String(), "in memory") {
		t.Errorf("nothing says that tickets are not kept\n%s", out)
	}
}
