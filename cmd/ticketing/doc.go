// Ticketing is for whoever is on call: it looks at dead letters and at outboxes,
// replays and discards, listens to live events, publishes one, and says what is
// wrong with a configuration.
//
//	ticketing dead list|show|replay|discard
//	ticketing outbox stats|parked|requeue|discard
//	ticketing listen <subject>
//	ticketing publish <subject> <json|->
//	ticketing doctor
//	ticketing --version
//
// It takes the services' own environment variables, NATS_URL and so on. With
// --json it prints one JSON object a line. What came over the network is
// printed without control characters. Its exit status is
//
//	0    done
//	1    it failed; doctor: something is wrong
//	2    wrong arguments or configuration
//	3    no server answers
//	4    the server refuses the credentials, or does not permit it
//	5    there is nothing of that name
//	130  interrupted; not listen without --count, which ends so
package main
