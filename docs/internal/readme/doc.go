// Package readme is the Go code of the README. A test of package docs holds
// the README's fragments to the regions that are marked here, so all of it
// compiles, and what can run does.
package readme
