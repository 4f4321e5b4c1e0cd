// Package peer starts other people's mail software for the interop tests: name server, mail transfer agents, SASL,
// each as a child process with a configuration, queue and log of its own in the test's folder, on loopback, and ended
// by its pid. test/interop/run.sh brings the programs to the machine.
//
// Its doors are the functions StartNSD, StartPostfix, StartExim, StartOpenSMTPD, StartDovecot, and the two peers that
// run within the test: NewSink, where every transfer agent finally hands its mail, and NewGreylist.
//
// # Not here
//
// Postroad itself: test/rig. A practice internet without other software: internal/practice.
package peer
