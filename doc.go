// Package ticketing is the typed front of a service's events.
package ticketing
