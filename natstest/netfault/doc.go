// Package netfault is a TCP proxy for tests of what a service does when the
// network fails. It stands before one server, and its methods break the path to
// it:
//
//	p := netfault.Run(t, server.URL())
//	svc := connect(t, p.URL())
//	p.Cut()
//	// What does svc do now?
//	p.Heal()
//	// Does it go on?
//
// What each fault stands for:
//
//   - [Proxy.Break]: a connection is lost, the next works: a load balancer or a
//     server restarted.
//   - [Proxy.Cut]: the server is down, or cannot be reached, and says so.
//   - [Proxy.BlackHole]: packets vanish, in one direction or both, and nobody
//     is told: a firewall, a route, a machine without power.
//   - [Proxy.Delay]: a path that is long or busy.
//   - [Proxy.BreakClients], [Proxy.BreakServers]: one end is gone and the other
//     was not told: half-open connections.
//   - [Proxy.Mute]: new connections are accepted and nothing is said on them: a
//     process that hangs, a port that somebody else has.
//
// [Proxy.Heal] ends all of them. The proxy knows nothing of the protocol that
// it carries; TLS goes through it as well.
//
// A server that tells its clients of other servers, as those of a NATS cluster do
// (connect_urls), shows them a way around the proxy: a client that is cut off
// reconnects there, and a test that it survives a cut passes without one. The
// clusters of package natsserver do not tell; another's has to be told not to
// (no_advertise), or the client to stay with the addresses that it has
// ([nats.IgnoreDiscoveredServers]).
//
// [nats.IgnoreDiscoveredServers]: https://pkg.go.dev/github.com/nats-io/nats.go#IgnoreDiscoveredServers
package netfault
