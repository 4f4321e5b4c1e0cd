// Package rig runs a real `postroad serve` as a child process for the programs that prove the platform: it writes the
// configuration, starts, stops and kills the process, applies state, and asks the platform what it knows through the
// same doors everybody uses.
//
// Its door is New; then Start, Apply, and Stop or Kill. A killed platform is started again on the same data and ports.
//
// # Not here
//
// The practice internet mail goes to: internal/practice. Real mail servers: test/interop. What is proven: test/crash,
// test/proof and test/interop.
package rig
