// Package storetest is the contract of package store as tests: every adapter runs Run and passes. It also makes mail
// for the tests of others (Mail).
//
// # Not here
//
// What is special to one adapter: its own tests.
package storetest
