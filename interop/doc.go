// Package interop holds the proof that Go and Node services can be mixed on
// one NATS Streaming cluster. It has nothing to import: its tests install the
// npm package @ducnguyen96/ticketing-common and let that package's own
// Publisher and Listener exchange every event of the catalogue with ours.
//
// The tests need node, npm and the npm registry (or npm's cache). Without them
// they are skipped and say why; with CI=true or TICKETING_REQUIRE_INTEROP=1
// they fail instead.
package interop
