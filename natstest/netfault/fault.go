package netfault

import "time"

// Direction is one of the two ways that bytes go, or both.
type Direction uint8

// The directions.
const (
	ToServer Direction = 1 << iota // from the client to the server
	ToClient                       // from the server to the client
	Both     = ToServer | ToClient
)

// Cut resets all connections, and each new one right after it was made, until
// [Proxy.Heal]. The port stays the proxy's: a dial may still succeed, and then
// the connection fails at the first read or write.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.door = shut
	p.resetAll()
}

// Break resets the present connections. New ones are not affected.
func (p *Proxy) Break() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resetAll()
}

// BreakClients resets the clients' halves of the present connections. The
// server is not told: it has connections that are silent, as after a client's
// machine lost its power. [Proxy.Heal] resets them. New connections are not
// affected.
func (p *Proxy) BreakClients() { p.breakHalves(client) }

// BreakServers is BreakClients the other way round: the server knows that the
// present connections are gone, and the clients do not.
func (p *Proxy) BreakServers() { p.breakHalves(server) }

func (p *Proxy) breakHalves(s side) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.resetHalf(s)
	}
}

// BlackHole forwards nothing more in a direction, on present connections and
// new ones, until [Proxy.Heal]. Nothing is lost for good: as TCP does, which
// sends again what gets no answer, the proxy holds back what it was sent, ends
// of connections included, and forwards it once it is healed. At most 1 MiB is
// held per connection; then the sender's own buffers fill, and its writes
// block.
//
// A new connection is still accepted, and the server still hears of it: see
// [Proxy.Mute].
func (p *Proxy) BlackHole(d Direction) {
	p.change(d, func(s *path) { s.held = true })
}

// Delay forwards everything in a direction that much later, on present
// connections and new ones, until [Proxy.Heal] or another Delay. It is latency:
// what is sent at once arrives at once. At most 1 MiB is under way per
// connection.
func (p *Proxy) Delay(d Direction, by time.Duration) {
	p.change(d, func(s *path) { s.delay = by })
}

// Mute accepts new connections, and neither reads from them nor writes to them
// nor connects to the server, until [Proxy.Heal], which resets them. Present
// ones are not affected.
func (p *Proxy) Mute() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.door = silent
}

// Heal makes everything healthy: new connections are forwarded, what was held
// back or delayed goes on at once. Connections that cannot be healed are reset:
// those that lost one half, and those that were made while the proxy was mute.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.door = open
	p.paths = [2]path{}
	p.announce()
	for c := range p.conns {
		if c.muted || c.isBroken(server) || c.isBroken(client) {
			c.reset()
		}
	}
}

// change is called without mu.
func (p *Proxy) change(d Direction, f func(*path)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.paths {
		if d&(1<<i) != 0 {
			f(&p.paths[i])
		}
	}
	p.announce()
}

// announce wakes who waits for a path. It is called with mu.
func (p *Proxy) announce() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// path returns the present state of the way to a side, and a channel that is
// closed when it may be another.
func (p *Proxy) path(to side) (path, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.paths[to], p.changed
}

// resetAll is called with mu.
func (p *Proxy) resetAll() {
	for c := range p.conns {
		c.reset()
	}
}
