// Package fromnode is the Go code of docs/from-node.md: a tickets service in
// small, with its tests, as somebody would write it who comes from the Node
// package. A test of package docs holds the page's fragments to the regions
// that are marked here, so all of it compiles, and what can run does.
package fromnode
