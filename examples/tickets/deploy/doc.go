// Package deploy has the Kubernetes manifests of the tickets service and of the
// two brokers. There is no code in it but the tests, which hold the manifests
// to what the service and natswrap read.
package deploy
